"""One file is one thing to every command, whatever its name says."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest
from datasets import Dataset, DatasetDict
from pyarrow import ipc

from aspd_cli.errors import DataError
from aspd_cli.recipe.training import DataSection
from aspd_cli.train.data import place, records
from aspd_cli.transform.io.readers import read_values

ROWS = [
    {
        "prompt": [{"role": "user", "content": f"Question {n}?"}],
        "completion": [{"role": "assistant", "content": f"Answer {n}."}],
    }
    for n in range(3)
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path) -> Iterator[None]:
    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path / "cache"
    yield
    datasets.config.HF_DATASETS_CACHE = before


def lines(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def array(path: Path) -> None:
    path.write_text(json.dumps(ROWS))


def parquet(path: Path) -> None:
    Dataset.from_list(ROWS).to_parquet(path)


def arrow(path: Path) -> None:
    table = Dataset.from_list(ROWS).data.table
    with ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def stream(path: Path) -> None:
    table = Dataset.from_list(ROWS).data.table
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def gzipped(write: Callable[[Path], None]) -> Callable[[Path], None]:
    def pack(path: Path) -> None:
        write(path)
        path.write_bytes(gzip.compress(path.read_bytes()))

    return pack


def zstd(write: Callable[[Path], None]) -> Callable[[Path], None]:
    def pack(path: Path) -> None:
        write(path)
        path.write_bytes(pyarrow.compress(path.read_bytes(), "zstd", asbytes=True))

    return pack


def saved(path: Path) -> None:
    Dataset.from_list(ROWS).save_to_disk(path)


def saved_splits(path: Path) -> None:
    splits = {"train": Dataset.from_list(ROWS), "test": Dataset.from_list(ROWS[:1])}
    DatasetDict(splits).save_to_disk(path)


@pytest.mark.parametrize("name", ["data", "data.jsonl", "data.parquet", "data.gz"])
@pytest.mark.parametrize(
    "write",
    [
        *(lines, array, parquet, arrow, stream, gzipped(lines), gzipped(parquet), gzipped(stream)),
        *(zstd(lines), zstd(parquet)),
    ],
)
def test_a_file_is_what_its_first_bytes_say(
    write: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    assert [raw.value for raw in read_values(tmp_path / name)] == ROWS
    assert list(records(DataSection(), str(tmp_path / name))) == ROWS


@pytest.mark.parametrize("pack", [lambda write: write, gzipped, zstd])
@pytest.mark.parametrize("name", ["data", "data.csv", "data.zst"])
def test_a_table_is_read_by_its_columns(pack: Any, name: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"Question, {n}?", "completion": f"Answer\n{n}."} for n in range(3)]
    pack(lambda path: Dataset.from_list(rows).to_csv(path, sep=";"))(tmp_path / name)
    assert [raw.value for raw in read_values(tmp_path / name)] == rows
    assert list(records(DataSection(), str(tmp_path / name))) == rows


@pytest.mark.parametrize("write", [saved, saved_splits])
def test_a_dataset_that_was_saved_is_read(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "data")
    assert [raw.value for raw in read_values(tmp_path / "data")] == ROWS
    assert list(records(DataSection(), str(tmp_path / "data"))) == ROWS


def test_a_split_of_a_saved_dataset_is_named_as_on_the_hub(tmp_path: Path) -> None:
    saved_splits(tmp_path / "data")
    test, dev = f"{tmp_path / 'data'}:test", f"{tmp_path / 'data'}:dev"
    assert [raw.value for raw in read_values(Path(test))] == ROWS[:1]
    assert list(records(DataSection(), test)) == ROWS[:1]
    for read in (lambda: list(read_values(Path(dev))), lambda: records(DataSection(), dev)):
        with pytest.raises(DataError, match="it has no split dev, but train, test"):
            _: Any = read()


def test_a_record_of_a_gzipped_file_without_an_ending_has_its_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data"
    path.write_bytes(gzip.compress(b"\n" + json.dumps(ROWS[0]).encode() + b"\n{"))
    assert place(str(path), 0) == f"{path}:2"
    assert list(records(DataSection(), str(path))) == ROWS[:1]
    assert "data:3: not JSON" in caplog.text
