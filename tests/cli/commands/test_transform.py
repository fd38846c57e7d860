"""`aspd transform`: what it writes, what it says, and what it refuses to replace."""

import gzip
import json
from pathlib import Path

import pytest

from tests.transform import answers
from tests.transform.program import Cli, cli

__all__ = ["cli"]

LOW = ("--set", "transform.min_tokens=10")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    texts = [answers.TIPS, answers.SERIAL["recipe"], answers.SECTIONS]
    lines = (json.dumps({"instruction": "q", "output": text}) + "\n" for text in texts)
    path.write_text("".join(lines))
    return path


def statuses(out: Path) -> list[str]:
    return [json.loads(line)["aspd"]["status"] for line in out.read_text().splitlines()]


def test_it_says_which_back_end_and_tokenizer_and_ends_with_the_tables(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    result = cli("transform", source, out, *LOW)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert statuses(out) == ["parallel", "serial", "parallel"]
    for words in (
        "no endpoint configured: using the rules",
        "estimate",
        "independence",
        "PPD",
        "APE",
    ):
        assert words in result.stderr
    assert result.stderr.endswith(f"3 answers in {out}, 2 parallel\n")


def test_json_prints_the_report_and_quiet_nothing_else(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    result = cli("transform", source, out, *LOW, "--json", "--quiet")
    assert json.loads(result.stdout) == json.loads((tmp_path / "out.report.json").read_text())
    assert result.stderr == ""


def test_standard_input_is_read(cli: Cli, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    for data in (source.read_bytes(), gzip.compress(source.read_bytes())):
        assert cli("transform", "-", out, *LOW, input=data).exit_code == 0
        assert len(statuses(out)) == 3


def test_values_that_are_no_records_end_in_code_3(cli: Cli, source: Path, tmp_path: Path) -> None:
    with source.open("a") as file:
        file.write("{broken\n")
    result = cli("transform", source, tmp_path / "out.jsonl", *LOW)
    assert result.exit_code == 3
    assert "1 rejected, see" in result.stderr
    [reject] = (tmp_path / "out.rejected.jsonl").read_text().splitlines()
    assert json.loads(reject)["line"] == 4


def test_the_same_command_again_ends_with_the_same_file(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    assert cli("transform", source, out, *LOW).exit_code == 0
    first = out.read_bytes()
    assert cli("transform", source, out, *LOW).exit_code == 0
    assert out.read_bytes() == first


def test_another_recipe_is_refused_by_the_names_that_differ_until_fresh(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    cli("transform", source, out, *LOW)
    other = ("--set", "transform.min_tokens=8000", "--set", "transform.max_branches=3")
    refused = cli("transform", source, out, *other)
    assert refused.exit_code == 2
    assert "transform.max_branches (was " in refused.stderr
    assert "transform.min_tokens (was " in refused.stderr
    assert statuses(out) == ["parallel", "serial", "parallel"]
    assert cli("transform", source, out, *other, "--fresh").exit_code == 0
    assert statuses(out) == ["serial"] * 3


def test_a_file_of_somebody_else_is_not_replaced(cli: Cli, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "precious.jsonl"
    out.write_text("precious")
    result = cli("transform", source, out)
    assert result.exit_code == 2
    assert "was not made by `aspd transform`" in result.stderr
    assert out.read_text() == "precious"


BAD = [
    (["missing", "OUT"], 1, "No such file"),
    (["EMPTY", "OUT"], 1, "is empty"),
    (["ODD", "OUT"], 1, "unrecognised record format"),
    (["IN", "IN"], 2, "the same file"),
    (["IN", "OUT", "--set", "transform.min_token=3"], 2, "did you mean min_tokens?"),
    (["IN", "OUT", "--set", "transform.dialect=latin"], 2, "transform.dialect: must be"),
    (["IN", "OUT", "--recipe", "/no/such.yaml"], 2, "no recipe at /no/such.yaml"),
    (["IN", "/proc/none/out.jsonl"], 1, "cannot write"),
    (
        ["IN", "OUT", "--set", "model.tokenizer=/no/such"],
        1,
        "cannot load a tokenizer from /no/such",
    ),
    (["IN", "OUT", "--set", "transform.dialect=messages"], 3, ""),
]


@pytest.mark.parametrize(("args", "code", "words"), BAD, ids=[case[2] for case in BAD])
def test_bad_input_is_one_sentence_and_an_exit_code(
    cli: Cli, source: Path, tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "odd").write_text('{"text": "x"}\n')
    places = {
        "IN": str(source),
        "OUT": str(tmp_path / "out.jsonl"),
        "EMPTY": str(tmp_path / "empty"),
        "ODD": str(tmp_path / "odd"),
    }
    result = cli("transform", *(places.get(arg, arg) for arg in args), "--quiet")
    assert result.exit_code == code
    assert words in result.stderr
    assert result.stderr.count("\n") == (code != 3)
