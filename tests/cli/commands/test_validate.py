"""`aspd validate`: findings with their place, and a record drawn in the terminal."""

import json
import re
import struct
from pathlib import Path

import pytest

from tests import make
from tests.transform import answers
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


def test_halves_of_surrogates_and_control_codes_are_findings(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"prompt": "q", "completion": "bad \\ud800"}\n'
        '{"prompt": "q", "completion": "a", "id": "\\ud800"}\n'
        '{"prompt": "q", "completion": [{"role": "\\u009b\\ud800", "content": 5}]}\n'
        '{"prompt": [{"role": "\\u009b", "content": [5]}], "completion": "a"}\n'
        '{"prompt": "q", "completion": "<|title|>\\u001b]0;own\\u0007<|para|>"}\n'
    )
    for flags in ((), ("--json",)):
        result = cli("validate", path, *flags)
        assert result.exit_code == 3
        assert len(result.stdout.splitlines()) == 5
        assert not set("\x1b\x07\ud800") & set(result.stdout)
        assert flags or "\x9b" not in result.stdout


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
    assert "forced tokens underlined" in drawn
    assert "█" in drawn
    assert re.search(r"<\|title\|>@\d+\s+\S+?@\d+\s", drawn)
    bare = cli("validate", path, "--show", "2").stdout
    assert "attention mask: rows are tokens" in bare


def test_a_picture_of_the_mask_is_written(cli: Cli, tmp_path: Path) -> None:
    path, png = write(tmp_path / "a.jsonl", GOOD), tmp_path / "mask.png"
    assert cli("validate", path, "--show", "1", "--png", png).exit_code == 0
    data = png.read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert width > 1000
    assert height > 700
    assert cli("validate", path, "--show", "1", "--png", png).exit_code == 0
    photo = data.replace(b"Software\0aspd", b"Software\0gimp")
    png.write_bytes(photo)
    refused = cli("validate", path, "--show", "1", "--png", png)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert f"{png} was not made by aspd, and --png would replace it" in refused.stderr
    assert png.read_bytes() == photo


def test_plain_texts_are_compared_with_the_raw_answers_by_id(cli: Cli, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw.jsonl", tmp_path / "out.jsonl"
    texts = [answers.TIPS, answers.SECTIONS, "Only prose."]
    rows = ({"id": f"n{n}", "question": "q", "answer": text} for n, text in enumerate(texts))
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli("transform", raw, out, "--set", "transform.min_tokens=10").exit_code == 0
    assert cli("validate", out, "--against", raw).exit_code == 0
    lines = out.read_text().splitlines()
    for kept, words in (
        ([0, 1], "source: lost: line 3 of "),
        ([0, 1, 1, 2], "line 3: doubled: the id 'n1' comes once more"),
        ([2, 0, 1], "line 1: order: out of order: it is line 3 of "),
    ):
        out.write_text("".join(f"{lines[at]}\n" for at in kept))
        result = cli("validate", out, "--against", raw)
        assert result.exit_code == 3
        assert words in result.stdout
    changed, lost = lines[0].replace("Dim the", "Dim  the"), lines[2].replace('"n2"', '"n9"')
    nameless = json.loads(lines[1])
    del nameless["id"]
    out.write_text("\n".join([changed, json.dumps(nameless), lost]))
    result = cli("validate", out, "--against", raw)
    assert result.exit_code == 3
    assert "line 1: raw: the plain text differs from the source answer" in result.stdout
    assert "line 2: raw: the record has no id" in result.stdout
    assert "line 3: raw: there is no source answer with the id 'n9'" in result.stdout
    missing = cli("validate", out, "--against", tmp_path / "none")
    assert missing.exit_code == 1
    assert "--against: cannot read" in missing.stderr


def test_what_transform_has_written_is_clean_by_its_own_settings(cli: Cli, tmp_path: Path) -> None:
    """A title list that is short by one tokenizer is long by another."""
    make.tokenizer("qwen", "chatml").save_pretrained(tmp_path / "tokenizer")
    raw, out = tmp_path / "raw.jsonl", tmp_path / "out.jsonl"
    texts = [text for text, _ in answers.PARALLEL.values()] + list(answers.SERIAL.values())
    rows = ({"id": n, "question": "q", "answer": text} for n, text in enumerate(texts))
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ("--set", "transform.min_tokens=10", "--set", "transform.min_speedup=1.05")
    tokens = ("--set", f"model.tokenizer={tmp_path / 'tokenizer'}", "--limit", "20")
    assert cli("transform", raw, out, *settings, *tokens).exit_code == 0
    result = cli("validate", out, "--against", raw)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"tokens by the tokenizer of {tmp_path / 'tokenizer'}" in result.stderr
    assert f"settings of {out}.recipe.yaml" in result.stderr
    cut = cli("validate", out, "--set", "generation.max_title_tokens=1")
    assert (cut.exit_code, " budget: the title has " in cut.stdout) == (3, True)


def test_fix_writes_a_new_file_and_says_what_it_did(cli: Cli, tmp_path: Path) -> None:
    bad = GOOD.replace("The fjord", "Then the fjord")
    path, new = write(tmp_path / "a.jsonl", GOOD, bad, "<|para|>"), tmp_path / "new.jsonl"
    before = path.read_bytes()
    result = cli("validate", path, "--fix", new)
    assert result.exit_code == 0
    assert "line 2: fixed: flattened 1 of 1 blocks: the branch begins with 'then'" in result.stdout
    assert "line 3: fixed: dropped: <|para|> without a title list before it" in result.stdout
    end = f"{new}: 2 records, 1 of them flattened; 1 dropped; 0 findings left\n"
    assert result.stderr.endswith(end)
    assert path.read_bytes() == before
    assert cli("validate", new).exit_code == 0
    assert cli("validate", path, "--fix", new).exit_code == 0, "what it made it may replace"
    mine = tmp_path / "mine.jsonl"
    mine.write_text("precious")
    for place, words in ((mine, "was not made by `aspd validate --fix`"), (path, "the same file")):
        refused = cli("validate", path, "--fix", place)
        assert refused.exit_code == 2
        assert words in refused.stderr
    assert (path.read_bytes(), mine.read_text()) == (before, "precious")
    assert cli("validate", path, "--fix", new, "--show", "1").exit_code == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "a.jsonl", "mine.jsonl", "new.jsonl", "new.jsonl.recipe.yaml",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["FILE", "--png", "x.png"], 2, "give its line with --show"),
        (["FILE", "--show", "1", "--png", "/proc/none/x.png"], 1, "cannot write /proc/none/x.png"),
        (["missing"], 1, "cannot read missing"),
        (["EMPTY"], 1, "is empty"),
        (["FILE", "--show", "9"], 1, "has no record on line 9"),
        (["FILE", "--tokenizer", "/no/such"], 1, "cannot load a tokenizer from /no/such"),
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
