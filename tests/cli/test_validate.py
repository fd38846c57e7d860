"""`aspd validate`: findings with their place, and a record drawn in the terminal."""

import json
from pathlib import Path

import pytest

from tests import make
from tests.transform.program import Cli, cli

__all__ = ["cli"]

GOOD = (
    "Two cities: <|title|>Rome<|/title|><|title|>Oslo<|/title|><|para|>"
    "<|branch|>Rome: Ruins stand between cafes all over the town. <|/branch|>"
    "<|branch|>Oslo: The fjord begins right behind the opera.<|/branch|><|/para|>"
)


def write(path: Path, *answers: str) -> Path:
    rows = (
        {"prompt": f"q{n}", "completion": [{"role": "assistant", "content": answer}]}
        for n, answer in enumerate(answers)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_clean_data_end_in_code_0(cli: Cli, tmp_path: Path) -> None:
    result = cli("validate", write(tmp_path / "a.jsonl", GOOD, "Only serial text."))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.startswith("2 records, 1 parallel, 0 with findings: none")


def test_findings_have_line_kind_and_reason_and_end_in_code_3(cli: Cli, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD, GOOD.replace("<|/para|>", ""))
    result = cli("validate", path)
    assert result.exit_code == 3
    assert result.stdout.startswith("line 2, character ")
    assert "grammar: expected <|/para|>" in result.stdout
    assert "1 with findings: 1 grammar" in result.stderr
    [line] = cli("validate", path, "--json", "--quiet").stdout.splitlines()
    finding = json.loads(line)
    assert (finding["line"], finding["kind"]) == (2, "grammar")
    assert finding["offset"] == len(GOOD) - len("<|/para|>")


def test_standard_input_is_read(cli: Cli, tmp_path: Path) -> None:
    data = write(tmp_path / "a.jsonl", GOOD).read_bytes()
    assert cli("validate", "-", input=data).exit_code == 0


def test_show_draws_markup_tokens_and_mask(cli: Cli, tmp_path: Path) -> None:
    make.tokenizer("qwen", "chatml").save_pretrained(tmp_path / "tokenizer")
    path = write(tmp_path / "a.jsonl", "serial", GOOD)
    drawn = cli("validate", path, "--show", "2", "--tokenizer", tmp_path / "tokenizer").stdout
    assert "<|branch|>Oslo: The fjord" in drawn.replace("\n", "")
    assert "forced ones underlined" in drawn
    assert "█" in drawn
    bare = cli("validate", path, "--show", "2").stdout
    assert "who sees whom" in bare


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["missing"], 1, "cannot read missing"),
        (["EMPTY"], 1, "is empty"),
        (["FILE", "--show", "9"], 1, "has no record on line 9"),
        (["FILE", "--tokenizer", "/no/such"], 1, "there is no tokenizer in /no/such"),
    ],
)
def test_bad_input_is_one_sentence_and_an_exit_code(
    cli: Cli, tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    (tmp_path / "empty").write_text("")
    places = {"FILE": str(write(tmp_path / "a.jsonl", GOOD)), "EMPTY": str(tmp_path / "empty")}
    result = cli("validate", *(places.get(arg, arg) for arg in args))
    assert result.exit_code == code
    assert words in result.stderr
    assert result.stderr.startswith("aspd: error: ")
    assert result.stderr.count("\n") == 1
