"""Ten SIGKILLs of each command that writes, and two runs on one output: the same bytes come out.

pytest -m slow tests/cli/test_kills.py -s      # prints a line for each command; minutes each
"""

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.evaluate.results import read_evaluation
from aspd_cli.outputs import JOURNAL, beside
from tests import make
from tests.engine.families import tiny_model
from tests.killing import Run, endpoint
from tests.transform import answers

KILLS = 10
CONCURRENCY = 6
TEXTS = [text for text, _ in answers.PARALLEL.values()] + [answers.SERIAL["recipe"]]


def contents(out: Path) -> Any:
    """What a run has made, without the names of directories and what a clock decides."""
    if out.is_file():
        lines = out.read_bytes()
        if b'"stats": ' not in lines:
            return lines
        answers = map(json.loads, lines.splitlines())
        return [{k: v for k, v in each.items() if k != "stats"} for each in answers]
    if (out / "results.json").exists():
        found = read_evaluation(out)
        return [(a.system, a.doc_id, a.text, a.scores) for a in found.answers], found.scores
    weights = out / "adapter_model.safetensors"
    return weights.read_bytes(), [path.name for path in sorted(out.glob("checkpoint-*"))]


@dataclass
class Command:
    """A command, and how far one of its runs has come."""

    flags: Callable[[Path], tuple[str | Path, ...]]
    progress: Callable[[Path, str], int] | None = None
    """What rises as a run, known by its output and by what it has said, goes on; None: nothing."""
    again: tuple[str, ...] = ()
    """Flags of every run but the first."""
    asked: Counter[str] = field(default_factory=Counter)
    """How often each call was answered."""


def write(path: Path, rows: Iterator[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def transform(tmp_path: Path) -> Command:
    rows = ({"question": f"q {n}", "answer": TEXTS[n % len(TEXTS)]} for n in range(2000))
    source = write(tmp_path / "in.jsonl", rows)
    return Command(lambda out: ("transform", source, out, "--set", "transform.min_tokens=10"))


@pytest.fixture
def transform_endpoint(tmp_path: Path) -> Iterator[Command]:
    rows = ({"question": f"q {n}", "answer": TEXTS[n % len(TEXTS)]} for n in range(60))
    source, log = write(tmp_path / "in.jsonl", rows), tmp_path / "log.jsonl"
    with endpoint(log) as url:
        fields = ("min_tokens=10", "endpoint.model=m", f"endpoint.base_url={url}")
        fields += (f"endpoint.concurrency={CONCURRENCY}", "endpoint.max_retries=30")
        flags = [part for each in fields for part in ("--set", f"transform.{each}")]

        def progress(out: Path, said: str) -> int:
            with log.open() as file:
                lines = [json.loads(line) for line in file.read().split("\n")[:-1]]
            command.asked = Counter(
                line["messages"][0]["content"] for line in lines if line["status"] == 200
            )
            return command.asked.total()

        command = Command(lambda out: ("transform", source, out, *flags), progress)
        yield command


@pytest.fixture
def generate(tmp_path: Path, forking: Path) -> Command:
    source = write(tmp_path / "p.jsonl", ({"prompt": f"question {n}"} for n in range(60)))
    flags = ("--model", forking, "--temperature", "1", "--max-new-tokens", "60")
    return Command(
        lambda out: ("generate", *flags, "--input", source, "--output", out),
        lambda out, said: out.read_bytes().count(b"\n") if out.exists() else 0,
    )


RECIPE = """
model: {{path: {base}}}
data: {{examples: 32}}
training: {{learning_rate: 1.0e-2, max_steps: 24, per_device_train_batch_size: 2,
  logging_steps: 1, save_steps: 2, save_total_limit: 2}}
lora: {{r: 16, dropout: 0.1}}
"""


@pytest.fixture
def train(tmp_path: Path) -> Command:
    tokenizer = make.tokenizer("qwen", "chatml", control=False)
    base = tmp_path / "base"
    tiny_model("qwen2", len(tokenizer) + 8, initializer_range=0.02).save_pretrained(base)
    tokenizer.save_pretrained(base)
    recipe = tmp_path / "r.yaml"
    recipe.write_text(RECIPE.format(base=base))
    return Command(
        lambda out: ("train", recipe, "--set", f"training.output_dir={out}"),
        lambda out, said: said.count("step "),
        ("--resume",),
    )


@pytest.fixture
def evaluation(forking: Path) -> Command:
    flags = ("--tasks", "aspd_synth_math", "--limit", "6", "--gen_kwargs", "max_gen_toks=24")
    systems = ("--compare", "parallel,serial", "--model", forking)
    return Command(lambda out: ("eval", *flags, *systems, "--output", out))


COMMANDS = ("transform", "transform_endpoint", "generate", "train", "evaluation")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", COMMANDS)
def test_ten_kills_leave_nothing_that_the_next_run_does_not_mend(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    command: Command = request.getfixturevalue(name)
    whole, out, said = tmp_path / "whole" / "out", tmp_path / "o" / "out", tmp_path / "said"
    first = Run(said, *command.flags(whole))
    begun = time.monotonic()
    assert first.code() == 0, first.text()
    lasted = time.monotonic() - begun
    once = command.progress(whole, first.text()) if command.progress else 0

    draw, hits, again = random.Random(name), 0, ()
    while hits < KILLS:
        run = Run(said, *command.flags(out), *again)
        again = command.again
        if command.progress is None or draw.random() < 0.2:
            time.sleep(draw.uniform(0, lasted if command.progress is None else lasted / 10))
        else:
            before, more = command.progress(out, ""), draw.randint(1, max(1, once // KILLS - 3))
            while run.lives and command.progress(out, run.text()) < before + more:
                time.sleep(0.005)
            time.sleep(draw.uniform(0, 0.05))
        hit = run.kill()
        hits += hit
        if not hit:
            assert run.code() == 0, run.text()
            assert command.progress is None, "it was to be killed before its end"
            shutil.rmtree(out.parent)
    last = Run(said, *command.flags(out), *again)
    assert last.code() == 0, last.text()
    assert contents(out) == contents(whole)
    left = {path.name for path in out.parent.iterdir()}
    assert left == {path.name for path in whole.parent.iterdir()}
    twice = 0
    if name == "transform_endpoint":
        assert command.progress is not None
        total = command.progress(out, "")
        twice = total - 2 * len(command.asked)
        assert total == command.asked.total()
        assert 0 <= twice <= KILLS * CONCURRENCY
        assert beside(out, JOURNAL).exists()
    print(f"{name}: {hits} kills, the same bytes; {twice} calls asked twice of {once or '-'}")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", COMMANDS)
def test_of_two_runs_that_begin_at_once_one_is_refused_and_the_other_is_whole(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    command: Command = request.getfixturevalue(name)
    whole, out = tmp_path / "whole" / "out", tmp_path / "o" / "out"
    alone = Run(tmp_path / "said", *command.flags(whole))
    assert alone.code() == 0, alone.text()
    runs = [Run(tmp_path / f"said{number}", *command.flags(out)) for number in range(2)]
    codes = [run.code() for run in runs]
    assert sorted(codes) == [0, 2], "\n".join(run.text() for run in runs)
    assert f"another run is writing {out}" in runs[codes.index(2)].text()
    assert contents(out) == contents(whole)
    assert {p.name for p in out.parent.iterdir()} == {p.name for p in whole.parent.iterdir()}
    print(f"{name}: one of two refused, the other one's bytes are those of a run alone")
