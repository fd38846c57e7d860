"""Killed with SIGKILL at random moments, with faults: the same file, and nothing is paid twice."""

import asyncio
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from aspd_cli.endpoint.client import Endpoint
from aspd_cli.endpoint.journal import Journal
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.pipeline import transform_file_by
from aspd_cli.transform.token_counts import EstimatingCodec
from tests.killing import endpoint
from tests.transform import answers, model

CONCURRENCY = 6
ANSWERS = 60
TEXTS = [text for text, _ in answers.PARALLEL.values()] + [answers.SERIAL["recipe"]]


def transform(source: Path, out: Path, url: str) -> None:
    """One run, with its journal."""
    section = EndpointSection(
        base_url=url, model="m", concurrency=CONCURRENCY, timeout=20.0, max_retries=30
    )
    recipe = TransformSection(min_tokens=10, endpoint=section)

    async def run() -> None:
        with Journal(out.with_suffix(".journal.sqlite"), {}) as journal:
            async with Endpoint(section, journal) as endpoint:
                await transform_file_by(endpoint, source, out, recipe, EstimatingCodec())

    asyncio.run(run())


RUN = """
import sys
from pathlib import Path
import openai
from tests.transform.test_pipeline_kill import transform
print("ready", flush=True)
transform(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
"""


def killed(source: Path, out: Path, url: str, log: Path, calls: int) -> bool:
    """Begins a run and kills it after so many more calls; whether it was still at work."""
    calls += asked(log)
    command = [sys.executable, "-c", RUN, str(source), str(out), url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    while process.poll() is None and asked(log) < calls:
        time.sleep(0.01)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return alive


def asked(log: Path) -> int:
    """How many calls have come."""
    return log.read_bytes().count(b"\n") if log.exists() else 0


def answered(log: Path) -> Counter[str]:
    """How often each call was answered with replies."""
    lines = map(json.loads, log.read_text().splitlines())
    return Counter(line["messages"][0]["content"] for line in lines if line["status"] == 200)


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_the_file_is_that_of_an_uninterrupted_run_and_nothing_is_paid_twice(
    tmp_path: Path, kills: int
) -> None:
    source, out, whole = tmp_path / "in", tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    rows = ({"question": f"q {n}", "answer": TEXTS[n % len(TEXTS)]} for n in range(ANSWERS))
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    log = tmp_path / "log.jsonl"
    with endpoint(log) as url:
        transform(source, whole, url)
    once = answered(log)
    assert set(once.values()) == {1}
    assert {model.stage_of(prompt) for prompt in once} == {"annotate", "independence"}
    log.unlink()

    draw = random.Random(kills)
    with endpoint(log) as url:
        most = len(once) * 2 // (3 * kills)
        alive = [killed(source, out, url, log, draw.randint(0, most)) for _ in range(kills)]
        assert not list(tmp_path.glob("out.jsonl"))
        transform(source, out, url)
    assert all(alive)
    assert out.read_bytes() == whole.read_bytes()
    calls = answered(log)
    assert calls.keys() == once.keys()
    repeated = calls.total() - len(calls)
    print(f"{len(calls)} calls, {repeated} repeated after {kills} kills")
    assert repeated <= kills * CONCURRENCY
    with sqlite3.connect(out.with_suffix(".journal.sqlite")) as journal:
        [(held, replies)] = journal.execute("SELECT count(DISTINCT call), count(*) FROM replies")
        # Calls may be more: an endpoint out of order may take `n` in two requests.
        [(paid,)] = journal.execute("SELECT sum(replies) FROM paid")
    assert held == len(calls)
    assert replies == paid
