"""SIGKILL at random moments: no reply is lost, and none is paid for again."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.endpoint.journal import Journal
from aspd_cli.endpoint.usage import Tally
from tests.endpoint.asking import ask, call
from tests.endpoint.killed import CONCURRENCY
from tests.endpoint_server import Reply, Server, faulty, serve

COUNT = 200


def script(body: dict[str, Any]) -> Reply:
    """Three different replies, of which one question in seven gets an invalid one."""
    number = int(body["messages"][0]["content"].split()[1])
    good = [json.dumps({"reply": f"{number}{letter}"}) for letter in "abc"]
    if number % 7 == 0 and body.get("n") == 3:
        good[1] = "no"
    return good[: body.get("n", 1)]


def killed(server: Server, journal: Path, seconds: float) -> tuple[set[str], float]:
    """Which questions a run told that it has, and when it was dead: so long after the first."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.endpoint.killed", server.url, str(journal), str(COUNT)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(seconds)
    process.kill()
    lines = [first, *process.stdout]
    process.stdout.close()
    assert process.wait() == -9, "it was killed before its end"
    return {line.split()[0] for line in lines if line.endswith("\n")}, time.monotonic()


def finished(server: Server, path: Path) -> tuple[list[Any], Tally]:
    """What a run that is not killed brings, and what all runs so far cost."""
    with Journal(path, {}) as journal:
        calls = [call(f"question {number}", n=3) for number in range(COUNT)]
        return ask(server, calls, journal=journal, concurrency=CONCURRENCY)


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_runs_lose_nothing_and_pay_for_nothing_twice(tmp_path: Path, kills: int) -> None:
    draw = random.Random(kills)
    with serve(script, latency=0.05) as server:
        whole, cost = finished(server, tmp_path / "whole")
        uninterrupted = len(server.requests)
        server.exchanges.clear()
        done: dict[str, float] = {}
        for _ in range(kills):
            numbers, end = killed(server, tmp_path / "killed", draw.uniform(0.0, 0.4 / kills))
            done |= dict.fromkeys(numbers - set(done), end)
        results, tally = finished(server, tmp_path / "killed")
        assert results == whole
        assert tally.total.replies == cost.total.replies
        assert tally.total.tokens == cost.total.tokens
        assert tally.total.replayed >= 3 * len(done)
        for exchange in server.exchanges:
            number = exchange.body["messages"][0]["content"].split()[1]
            assert exchange.arrived <= done.get(number, exchange.arrived), "used, and asked again"
        repeated = len(server.requests) - uninterrupted
        assert repeated <= kills * CONCURRENCY, "only what was in flight"
        assert finished(server, tmp_path / "killed")[0] == whole
        assert len(server.requests) == uninterrupted + repeated, "all is in the journal"


@pytest.mark.slow
def test_killed_runs_against_a_faulty_endpoint_end_like_any_other(tmp_path: Path) -> None:
    draw = random.Random(5)
    with serve(faulty(script, 0.25, seed=2), latency=0.05) as server:
        for _ in range(10):
            killed(server, tmp_path / "killed", draw.uniform(0.0, 0.3))
        results, _ = finished(server, tmp_path / "killed")
        for number, replies in enumerate(results):
            assert len(replies) == 3
            assert {reply.rstrip("abc") for reply in replies} == {str(number)}
        sent = Counter(
            exchange.body["messages"][0]["content"]
            for exchange in server.exchanges
            if exchange.sent and exchange.status == 200
        )
        assert max(sent.values()) < 12
