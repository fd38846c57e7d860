"""`aspd transform --write-requests`, `--read-replies`: rounds of a batch end as calls would."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.endpoint_server import Script, serve
from tests.transform import answers, model
from tests.transform.program import Cli, cli

__all__ = ["cli"]

TEXTS = [text for text, _ in answers.PARALLEL.values()] + [answers.SERIAL["recipe"]]
URL = "http://127.0.0.1:9/v1"  # nobody listens there


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    rows = ({"instruction": f"q {n}", "output": text} for n, text in enumerate(TEXTS))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def flags(*more: str, url: str = URL) -> list[str]:
    fields = ["min_tokens=10", "endpoint.model=m", f"endpoint.base_url={url}", *more]
    return [part for field in fields for part in ("--set", f"transform.{field}")]


def batch(requests: Path, replies: Path, script: Script = model.script) -> int:
    """Does what a batch service does; returns how many requests there were."""
    lines = [json.loads(line) for line in requests.read_text().splitlines()]
    with replies.open("w") as file:
        for line in reversed(lines):  # in any order
            found = script(line["body"])
            assert isinstance(found, str | list)
            texts = [found] * line["body"].get("n", 1) if isinstance(found, str) else found
            choices = [{"index": n, "message": {"content": text}} for n, text in enumerate(texts)]
            body = {"choices": choices, "usage": {"prompt_tokens": 50, "completion_tokens": 9}}
            response = {"status_code": 200, "body": body}
            answer: dict[str, Any] = {"custom_id": line["custom_id"], "response": response}
            file.write(json.dumps({**answer, "error": None}) + "\n")
    return len(lines)


@pytest.mark.parametrize("method", ["annotate", "rewrite"])
def test_rounds_of_a_batch_end_with_the_file_that_calls_end_with(
    cli: Cli, source: Path, tmp_path: Path, method: str
) -> None:
    out, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    requests, replies = tmp_path / "requests.jsonl", tmp_path / "replies.jsonl"
    with serve(model.script) as server:
        called = flags(f"method={method}", url=server.url)
        assert cli("transform", source, whole, *called).exit_code == 0
        asked = len(server.requests)
    given = (*flags(f"method={method}"), "--write-requests", requests)
    first = cli("transform", source, out, *given, "--json")
    assert first.exit_code == 0, first.stderr
    assert json.loads(first.stdout)["requests"] == {str(requests): len(TEXTS)}
    assert f"{len(TEXTS)} requests in {requests}; {len(TEXTS)} answers wait" in first.stderr
    assert "with --read-replies FILE" in first.stderr
    total, rounds = batch(requests, replies), 1
    while True:
        again = cli("transform", source, out, *given, "--read-replies", replies)
        assert again.exit_code == 0, again.stderr
        if out.exists():
            break
        assert not list(tmp_path.glob("out.jsonl.re*")), "nothing is written before its time"
        total += batch(requests, replies)
        rounds += 1
    assert (total, rounds) == (asked, 2)
    assert requests.read_bytes() == b""
    assert out.read_bytes() == whole.read_bytes()
    report = json.loads((tmp_path / "out.jsonl.report.json").read_text())
    assert sum(stage.get("calls", 0) for stage in report["stages"]) == asked


def test_a_judge_at_another_endpoint_has_a_file_of_its_own(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    out, requests = tmp_path / "out.jsonl", tmp_path / "requests.jsonl"
    replies, judged = tmp_path / "replies.jsonl", tmp_path / "judged.jsonl"
    given = (*flags("judge.model=j"), "--write-requests", requests)
    assert cli("transform", source, out, *given).exit_code == 0
    batch(requests, replies)
    judge = tmp_path / "requests.jsonl.judge.jsonl"
    assert judge.read_bytes() == b""
    result = cli("transform", source, out, *given, "--read-replies", replies)
    assert result.exit_code == 0, result.stderr
    assert f"requests in {judge}; " in result.stderr
    assert requests.read_bytes() == b""
    assert all(json.loads(line)["body"]["model"] == "j" for line in judge.open())
    batch(judge, judged)
    # Both files at once: what was read before does no harm.
    files = ("--read-replies", replies, "--read-replies", judged)
    result = cli("transform", source, out, *given, *files)
    assert result.exit_code == 0, result.stderr
    assert "already in the journal" in result.stderr
    assert out.exists()


def test_a_run_goes_on_by_calls_where_no_further_file_is_wanted(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    out, requests, replies = (tmp_path / name for name in ("out.jsonl", "q.jsonl", "r.jsonl"))
    with serve(model.script) as server:
        given = flags(url=server.url)
        assert cli("transform", source, out, *given, "--write-requests", requests).exit_code == 0
        assert not server.requests
        batch(requests, replies)
        lines = replies.read_text().splitlines(keepends=True)
        replies.write_text("".join(lines[1:]))
        result = cli("transform", source, out, *given, "--read-replies", replies)
        assert result.exit_code == 0, result.stderr
        assert "1 missing" in result.stderr
        stages = [model.stage_of(body["messages"][0]["content"]) for body in server.requests]
        assert stages.count("annotate") == 1
        assert stages.count("independence") > 3
        asked = len(server.requests)
        late = cli("transform", source, out, *given, "--read-replies", replies)
        assert late.exit_code == 0
        assert len(server.requests) == asked


def test_lines_of_another_batch_end_in_code_3(cli: Cli, source: Path, tmp_path: Path) -> None:
    out, requests, replies = (tmp_path / name for name in ("out.jsonl", "q.jsonl", "r.jsonl"))
    given = (*flags(), "--write-requests", requests)
    assert cli("transform", source, out, *given).exit_code == 0
    batch(requests, replies)
    with replies.open("a") as file:
        file.write('{"custom_id": "request-7"}\n')
    result = cli("transform", source, out, *given, "--read-replies", replies)
    assert result.exit_code == 3
    assert "1 of another program" in result.stderr


def test_what_cannot_work_is_one_sentence(cli: Cli, source: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out.jsonl", tmp_path / "notes.txt"
    notes.write_text("mine")
    tries = [
        ((*flags(), "--write-requests", source), "IN and --write-requests are the same file"),
        ((*flags(), "--write-requests", notes), "was not made by aspd, and --write-requests"),
        ((*flags(), "--write-requests", out), "OUT and --write-requests are the same file"),
        ((*flags(), "--read-replies", tmp_path / "none"), "cannot read"),
        (("--write-requests", tmp_path / "q"), "is for an endpoint, and none is configured"),
        (("--read-replies", notes), "is for an endpoint, and none is configured"),
        ((*flags(), "--write-requests", tmp_path / "q", "--dry-run"), "--dry-run"),
    ]
    for given, words in tries:
        result = cli("transform", source, out, *given, "--quiet")
        assert result.exit_code in (1, 2), given
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
        assert not out.exists()
    assert notes.read_text() == "mine"
