"""A judged bench from the command line, over real HTTP: killed, resumed, and what it leaves."""

import json
import os
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aspd_cli.cli.main import app
from tests.endpoint_server import Reply, Server, faulty, serve

QUESTIONS: list[dict[str, Any]] = [
    {
        "question_id": 1,
        "category": "sums",
        "turns": ["What is 9 + 16 and 7 * 2?", "What is 5 + 5 and 6 + 6?"],
        "reference": ["25, 14", ""],
    },
    {"question_id": 2, "category": "things", "turns": ["Describe cheese and rice"]},
    {"question_id": 3, "category": "things", "turns": ["Describe the tiger, Saturn and tea"]},
]
PASSAGE = {
    "id": "r1",
    "question": "Where do Yara and Arvo live?",
    "contexts": ["Yara lives in Moscow.", "Arvo lives in Lisbon."],
    "reference": "Moscow and Lisbon",
}
VERDICTS_WANTED = 4 * 2 + 4 * 2
"""Grades of two systems, and duels in both orders, where no two answers are the same."""


def script(body: dict[str, Any]) -> Reply:
    """Verdicts that depend on what is judged, and on nothing else."""
    system, user = (message["content"] for message in body["messages"])
    drawn = zlib.crc32(user.encode())
    if "compare the answers" in system:
        return json.dumps({"reason": "-", "winner": ("A", "B", "tie")[drawn % 3]})
    return json.dumps({"reason": "-", "score": 1 + drawn % 10})


def command(folder: Path, server: Server, *more: str) -> list[str]:
    questions = folder / "questions.jsonl"
    questions.write_text("".join(json.dumps(each) + "\n" for each in QUESTIONS))
    return [
        *("eval", "--tasks", "mt_bench", "--data", f"mt_bench={questions}", "--quiet"),
        *("--compare", "parallel,plain", "--judge", "m", "--judge-url", server.url),
        *("--set", "generation.max_new_tokens=48", "--set", "evaluation.judge.timeout=5"),
        *more,
    ]


def call(args: list[str]) -> Result:
    return CliRunner().invoke(app, args)


def judged(folder: Path) -> dict[str, Any]:
    """What the judge said, without what it cost."""
    found = json.loads((folder / "results.json").read_text())["aspd"]["judged"]
    return {bench: {k: v for k, v in each.items() if k != "spent"} for bench, each in found.items()}


def test_a_second_run_decodes_what_was_torn_and_pays_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serve(faulty(script, 0.2, seed=1, kinds=("rate-limit", "malformed", "empty"))) as server:
        args = command(tmp_path, server, "--output_path", str(out))
        assert call(args).exit_code == 0
        first, paid = judged(out), len(server.requests)
        answers = (out / "mt_bench.answers.jsonl").read_bytes()
        assert paid >= VERDICTS_WANTED / 2
        second = [
            body["messages"][1]["content"]
            for body in server.requests
            if "What is 5 + 5" in body["messages"][1]["content"]
        ]
        assert second, "the second turn is judged"
        assert all(text.index("9 + 16") < text.index("5 + 5") for text in second)
        # A line that was torn by a kill loses its round and nothing else.
        (out / "mt_bench.answers.jsonl").write_bytes(answers[:-40])
        assert call(args).exit_code == 0
        assert (judged(out), len(server.requests)) == (first, paid)
        kept = (out / "mt_bench.answers.jsonl").read_bytes()
        assert kept.startswith(answers[: answers[:-40].rindex(b"\n") + 1])
        assert kept.count(b"\n") == answers.count(b"\n") + 1, "its round is answered again"
    systems = first["mt_bench"]["systems"]
    assert set(systems) == {"parallel", "plain"}
    assert set(systems["parallel"]) == {"all", "sums", "things"}
    assert systems["parallel"]["all"]["missing"] == 0
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 8
    assert all(1 <= sample["scores"]["score"] <= 10 for sample in samples)
    history = next(s for s in samples if s["doc_id"] == "1/2" and s["system"] == "parallel")
    answer = next(s for s in samples if s["doc_id"] == "1/1" and s["system"] == "parallel")
    assert answer["text"] in history["prompt"], "the first answer is the second turn's history"


def test_a_system_without_a_rival_is_graded_and_that_is_told(tmp_path: Path) -> None:
    with serve(script) as server:
        args = command(tmp_path, server, "--output_path", str(tmp_path / "out"), "--json")
        result = call([*args, "--compare", "parallel", "--judge-mode", "pairwise"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["aspd"]
    assert {score["metric"] for score in found["scores"]} == {"score"}
    assert any("pairwise compares two systems" in note for note in found["notes"])


def test_passages_and_no_verdict_from_the_judge(tmp_path: Path) -> None:
    path, out = tmp_path / "rag.jsonl", tmp_path / "out"
    path.write_text(json.dumps(PASSAGE) + "\n")
    with serve(lambda body: "no comment") as server:
        args = command(tmp_path, server, "--output_path", str(out), "--data", f"rag_bench={path}")
        args[args.index("mt_bench")] = "rag_bench"
        result = call([*args, "--compare", "parallel", "--json"])
        assert result.exit_code == 3, "done, but a verdict is missing"
        asked = server.requests[0]["messages"]
    assert "Yara lives in Moscow." in asked[1]["content"]
    assert "Moscow and Lisbon" in asked[1]["content"]
    bench = json.loads(result.stdout)["aspd"]["judged"]["rag_bench"]
    assert bench["missing"] == 1
    assert bench["systems"]["parallel"]["all"]["score"]["value"] is None


@pytest.mark.parametrize(
    ("drop", "words"),
    [
        (("--judge", "--judge-url"), "mt_bench needs a judge"),
        (("--output_path",), "mt_bench needs --output"),
    ],
)
def test_what_is_missing_is_told_before_a_model_is_loaded(
    tmp_path: Path, drop: tuple[str, ...], words: str
) -> None:
    with serve(script) as server:
        args = command(tmp_path, server, "--output_path", str(tmp_path / "out"))
        for flag in drop:
            del args[args.index(flag) : args.index(flag) + 2]
        if "--judge" in drop:
            at = args.index("evaluation.judge.timeout=5")
            del args[at - 1 : at + 1]
        result = call(args)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_again_and_again_ends_like_one_that_was_not(tmp_path: Path) -> None:
    """SIGKILL while it answers and while it judges; what was paid for is not asked again."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    more = ("--set", "evaluation.judge.concurrency=1", "--set", "evaluation.judge_samples=2")
    with serve(script, latency=0.3) as server:
        args = command(tmp_path, server, *more, "--output_path", str(tmp_path / "whole"))
        assert call(args).exit_code == 0
        complete = len(server.requests)
        server.exchanges.clear()
        args[args.index(str(tmp_path / "whole"))] = str(tmp_path / "killed")
        answers = tmp_path / "killed" / "mt_bench.answers.jsonl"

        def kill_when(there: Any) -> None:
            process = subprocess.Popen([sys.executable, "-m", "aspd_cli", *args], env=environment)
            while not there():
                assert process.poll() is None, "it was killed before its end"
                time.sleep(0.01)
            process.kill()
            assert process.wait() == -9

        kill_when(lambda: answers.exists() and answers.read_bytes().count(b"\n") >= 2)
        assert not server.requests
        kill_when(lambda: len(server.requests) >= 3)
        before = len(server.requests)
        kill_when(lambda: len(server.requests) >= before + 3)
        finished = subprocess.run(
            [sys.executable, "-m", "aspd_cli", *args], env=environment, check=False
        )
        assert finished.returncode == 0
        repeated = Counter(json.dumps(body["messages"]) for body in server.requests)
    assert judged(tmp_path / "killed") == judged(tmp_path / "whole")
    assert repeated.total() - complete <= 2, "what was in flight at the two kills while judging"
