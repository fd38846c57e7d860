"""The answers file of a bench: what a kill has torn is owed again, what is not ours stays."""

import json
from pathlib import Path

import pytest

from aspd_cli.errors import DataError
from aspd_cli.evaluate.judge.answers import KeptAnswers
from tests.evaluate.answers import answer

WHOLE = json.dumps({"digest": "a", **answer("parallel").as_dict()}).encode() + b"\n"


def test_a_torn_last_line_is_dropped_and_the_next_answer_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "bench.answers.jsonl"
    path.write_bytes(WHOLE + WHOLE[:-5])
    KeptAnswers(path).close()
    assert path.read_bytes() == WHOLE


def test_an_answer_of_another_version_is_owed_again(tmp_path: Path) -> None:
    path = tmp_path / "bench.answers.jsonl"
    path.write_bytes(b'{"digest": "b", "unknown": 1}\n' + WHOLE)
    KeptAnswers(path).close()
    assert path.read_bytes() == b'{"digest": "b", "unknown": 1}\n' + WHOLE


@pytest.mark.parametrize("line", [b'{"my": "notes"}', b"not JSON", b"[1]", b"\xff"])
def test_a_file_of_something_else_is_refused_and_left_as_it_was(
    tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "bench.answers.jsonl"
    path.write_bytes(WHOLE + line + b"\ntorn")
    with pytest.raises(DataError, match=r"jsonl:2 is not an answer of `aspd eval`: delete"):
        KeptAnswers(path)
    assert path.read_bytes() == WHOLE + line + b"\ntorn"
