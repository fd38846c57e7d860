"""`aspd transform --from-model`: the embedded model's own answers as data, judged and resumed."""

import json
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.files import EMBEDDED_MODEL
from tests.cli.conftest import Cli
from tests.endpoint_server import Reply, serve

MODEL = EMBEDDED_MODEL / "adapter"
PROMPTS = (
    {"id": "things", "prompt": "Describe the tiger, Saturn and cheese in one sentence each."},
    {"id": "none", "text": "no prompt"},
    {"id": "steps", "prompt": "Start with 10, then times 3, then minus 4. What is the result?"},
)
LOW = ("--set", "transform.min_tokens=5", "--set", "transform.min_speedup=1.0")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_own_answers_become_data_once_each_and_are_not_decoded_twice(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    run = ("transform", "--from-model", MODEL, source, out, *LOW)
    result = cli(*run)
    assert result.exit_code == 3, result.stderr  # one line holds no prompt
    assert "own answers of" in result.stderr
    things, steps = rows(out)
    assert (things["id"], things["aspd"]["status"]) == ("things", "parallel")
    assert things["prompt"] == [{"role": "user", "content": PROMPTS[0]["prompt"]}]
    assert things["completion"][0]["content"].count("<|title|>") == 3
    assert (steps["id"], steps["aspd"]["reason"]) == ("steps", "the model wrote no block")
    assert [row["line"] for row in rows(tmp_path / "out.jsonl.rejected.jsonl")] == [2]
    assert cli("validate", out, "--quiet").exit_code == 0
    report = json.loads((tmp_path / "out.jsonl.report.json").read_text())
    assert (report["back_end"], report["parallel"], report["rejected"]) == ("model", 1, 1)

    def script(body: dict[str, Any]) -> Reply:
        assert "<parts>" in body["messages"][0]["content"]
        return json.dumps({"reason": "so", "dependent": [3]})

    answers = tmp_path / "out.jsonl.answers.jsonl"
    before, first = answers.read_bytes(), out.read_bytes()
    with serve(script) as server:
        judge = ("--set", f"transform.judge={{model: j, base_url: '{server.url}'}}")
        result = cli(*run, *judge, "--fresh")
        assert result.exit_code == 3, result.stderr
        assert "judges, 3 of 3 votes" in result.stderr
        assert len(server.requests) == 1, "only what the rules leave is judged"
    judged = rows(out)[0]
    assert judged["aspd"]["votes"]["independence"] == [[[3, 3, 0]]]
    assert judged["completion"][0]["content"].count("<|title|>") == 2
    assert answers.read_bytes() == before, "the model has answered once"
    assert out.read_bytes() != first


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--dry-run",), "leave out --from-model"),
        (("--limit", "3"), "give a shorter file"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    cli: Cli, source: Path, tmp_path: Path, given: tuple[str, ...], words: str
) -> None:
    result = cli("transform", "--from-model", MODEL, source, tmp_path / "o.jsonl", *given)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    to_stdout = cli("transform", "--from-model", MODEL, source, "-")
    assert to_stdout.exit_code == 2
    assert "keeps the model's answers beside OUT" in to_stdout.stderr
