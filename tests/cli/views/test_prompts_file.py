"""A file of prompts is read like any other file of records, whatever kind it is of."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from aspd_cli.cli.views.prompts_file import read_prompts
from aspd_cli.errors import DataError

ROWS = [{"prompt": "one", "id": "a"}, {"prompt": "two\u2028lines", "id": "b"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def as_parquet(path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(gzip.compress(LINES)),
        lambda path: path.write_text(json.dumps(ROWS)),
        lambda path: path.write_bytes(b"\xef\xbb\xbf" + LINES),
        as_parquet,
    ],
    ids=["gzip", "array", "byte order mark", "Parquet"],
)
def test_it_may_be_of_any_kind(tmp_path: Path, write: Callable[[Path], object]) -> None:
    plain, other = tmp_path / "plain", tmp_path / "other"
    plain.write_bytes(LINES)
    write(other)
    (one, no), (two, none) = read_prompts(plain), read_prompts(other)
    assert (no, none) == ([], [])
    assert [(r.index, r.id, r.prompt, r.digest) for r in one] == [
        (r.index, r.id, r.prompt, r.digest) for r in two
    ]
    assert [record.prompt for record in two] == ["one", "two\u2028lines"]


def test_gzip_data_that_end_too_early_keep_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "torn.gz"
    path.write_bytes(gzip.compress(LINES)[:-8])
    records, rejected = read_prompts(path)
    assert [record.prompt for record in records] == ["one", "two\u2028lines"]
    assert "unreadable, as is all that follows" in rejected[0].reason


def test_a_damaged_parquet_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match="cannot read the Parquet file"):
        read_prompts(tmp_path / "p")
