"""Two processes under torchrun do the work of one, and give the same results in the same order."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aspd_cli.cli.views.answering import share
from aspd_cli.cli.views.answers_file import Answers, collect, part_of
from aspd_cli.cli.views.prompts_file import PromptRecord
from aspd_cli.evaluate.results import read_evaluation
from tests.evaluate.data import write_jsonl

PROMPTS = [{"prompt": p} for p in ("Hi", "Apples?", "Hi", "Who was Ada?", "x", "Bananas, raw?")]

Launch = Callable[..., None]


@pytest.fixture
def launch() -> Launch:
    """Runs the program in so many processes."""

    def run(number: int, *args: str | Path) -> None:
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(number)]
        command += ["--standalone", "-m", "aspd_cli", *map(str, args)]
        done = subprocess.run(
            command, capture_output=True, env=os.environ, timeout=580, check=False
        )
        assert done.returncode == 0, done.stderr.decode()[-3000:]

    return run


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_answers_to_a_file_of_prompts_are_those_of_one_process(
    launch: Launch, tmp_path: Path, forking: Path
) -> None:
    prompts = write_jsonl(tmp_path / "prompts.jsonl", PROMPTS)
    flags = ("--model", forking, "--temperature", "1", "--max-new-tokens", "20")
    outs = [tmp_path / f"answers{number}.jsonl" for number in (1, 2)]
    for number, out in enumerate(outs, start=1):
        launch(number, "generate", "--input", prompts, "--output", out, *flags)
    one, two = ([json.loads(line) for line in out.read_text().splitlines()] for out in outs)
    assert [(a["index"], a["text"], a["markup"]) for a in two] == [
        (a["index"], a["text"], a["markup"]) for a in one
    ]
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_evaluation_is_that_of_one_process(
    launch: Launch, tmp_path: Path, forking: Path
) -> None:
    found = []
    for number in (1, 2):
        out = tmp_path / str(number)
        flags = ("--limit", "2", "--gen_kwargs", "max_gen_toks=8", "--output_path", out)
        compare = ("--compare", "parallel,plain", "--model", forking)
        launch(number, "eval", "--tasks", "aspd_synth", *compare, *flags)
        found.append(read_evaluation(out))
    one, two = found
    told = [(a.system, a.task, a.doc_id, a.text, a.scores) for a in one.answers]
    assert [(a.system, a.task, a.doc_id, a.text, a.scores) for a in two.answers] == told
    assert two.scores == one.scores
    assert two.machine["processes"] == 2


def record(index: int, prompt: str) -> PromptRecord:
    return PromptRecord(index, index + 1, None, prompt)


def test_equal_prompts_belong_to_one_process() -> None:
    records = [record(index, prompt) for index, prompt in enumerate("abcab")]
    shares = [[r.index for r in share(records, process, 2)] for process in (0, 1)]
    assert shares == [[0, 2, 3], [1, 4]]


def test_what_other_processes_wrote_is_collected_even_after_a_kill(tmp_path: Path) -> None:
    records = [record(index, prompt) for index, prompt in enumerate("abc")]
    out = tmp_path / "answers.jsonl"
    lines = [{"index": r.index, "digest": r.digest, "text": r.prompt} for r in records]
    write_jsonl(out, lines[:1])
    write_jsonl(part_of(out, 1), lines[1:2])
    part_of(out, 2).write_text(json.dumps(lines[2]) + '\n{"index": 1, "dig')
    answers = Answers(out)
    answers.load(records, known=True)
    collect(answers, records)
    assert sorted(answers.done) == [0, 1, 2]
    assert [json.loads(line)["index"] for line in out.read_text().splitlines()] == [0, 1, 2]
    assert not list(tmp_path.glob("*.part*"))
