"""Limits hold: requests at once and a minute, tokens a minute, dollars and tokens in all."""

import asyncio
import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.endpoint.failures import pause, retry_after
from aspd_cli.endpoint.journal import Journal
from aspd_cli.endpoint.rate_limits import Pace
from aspd_cli.errors import BudgetError, RecipeError
from aspd_cli.recipe import load_recipe
from tests.endpoint.asking import ask, call
from tests.endpoint_server import Fault, Reply, Server, serve, tokens

REPLY = json.dumps({"reply": "x" * 87})  # 25 tokens


class Clock:
    """Time that passes only while something sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        real_sleep = asyncio.sleep

        async def sleep(seconds: float) -> None:
            self.now += seconds
            await real_sleep(0)

        monkeypatch.setattr("aspd_cli.endpoint.rate_limits.asyncio.sleep", sleep)

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("limit", [1, 2, 7, 59, 60, 61, 600, 6000])
def test_no_minute_holds_more_than_the_limit_and_a_long_time_holds_no_less(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With idle times drawn at random in between: what was not used cannot be used later."""
    clock, draw = Clock(monkeypatch), random.Random(limit)
    pace = Pace(limit, clock)

    async def times(count: int, idle: float) -> list[float]:
        found = []
        for _ in range(count):
            if draw.random() < idle:
                clock.now += draw.expovariate(limit / 60)
            await pace.wait()
            found.append(clock.now)
        return found

    for idle in (0.0, 0.3):
        starts = asyncio.run(times(limit * 4, idle))
        for first, beyond in zip(starts, starts[limit:], strict=False):
            assert beyond - first >= 60 - 1e-6
        if not idle:
            assert starts[-1] - starts[0] <= 4 * 60 * 1.02


def test_tokens_that_were_not_needed_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also to those that wait already: 60 calls of 100 tokens are 6,000, whatever was expected."""
    clock = Clock(monkeypatch)
    pace = Pace(6000, clock)

    async def one() -> None:
        await pace.wait(1000)
        await asyncio.sleep(0.3)
        pace.settle(900)

    async def run() -> float:
        began = clock.now
        await asyncio.gather(*(one() for _ in range(60)))
        return clock.now - began

    assert 54 <= asyncio.run(run()) <= 66


def test_requests_come_at_the_agreed_rate() -> None:
    """3,000 a minute are 50 a second: 50 at once, then evenly. Failed ones count, too."""
    failed: list[int] = []

    def script(body: dict[str, Any]) -> Reply:
        failed.append(len(failed))
        return Fault("error") if len(failed) % 5 == 0 else REPLY

    with serve(script) as server:
        began = time.monotonic()
        results, _ = ask(server, [call(str(i)) for i in range(100)], requests_per_minute=3000)
        assert all(isinstance(replies, list) for replies in results)
        arrived = [exchange.arrived for exchange in server.exchanges]
        assert len(arrived) == 124, "100 and every fifth"
        for number, moment in enumerate(arrived):
            assert moment - began >= (number - 50) / 50


def test_tokens_come_at_the_agreed_rate() -> None:
    """16 calls of 125 tokens at 500 a second, of which a second's worth may go at once."""
    with serve(lambda body: REPLY) as server:
        calls = [call(f"{i:03}" + "?" * 397, max_tokens=25) for i in range(16)]
        began = time.monotonic()
        results, tally = ask(server, calls, tokens_per_minute=30_000)
        assert all(isinstance(replies, list) for replies in results)
        assert tally.total.tokens == 16 * 125
        assert time.monotonic() - began >= 2.5


def test_no_more_requests_are_in_flight_than_the_recipe_says() -> None:
    busy, most, lock = [0], [0], threading.Lock()

    class Counting(Server):
        async def _answer(self, *args: Any) -> bool:
            with lock:
                busy[0] += 1
                most[0] = max(most[0], busy[0])
            await asyncio.sleep(0.02)
            with lock:
                busy[0] -= 1
            return await super()._answer(*args)

    with serve(lambda body: REPLY, kind=Counting) as server:
        ask(server, [call(str(i), n=1 + i % 2) for i in range(60)], concurrency=7)
    assert most == [7]


def test_a_pause_that_the_endpoint_asks_for_holds_for_all_requests() -> None:
    first: list[float] = []

    def script(body: dict[str, Any]) -> Reply:
        if not first:
            first.append(time.monotonic())
            return Fault("rate-limit", retry_after=1)
        return REPLY

    with serve(script) as server:
        results, _ = ask(server, [call(str(i)) for i in range(10)], concurrency=2)
        assert all(isinstance(replies, list) for replies in results)
        later = [each.arrived for each in server.exchanges if each.arrived > first[0] + 0.3]
        assert len(later) >= 8
        assert min(later) >= first[0] + 0.95


def test_a_rate_limit_lets_everyone_through_in_the_end() -> None:
    """More refusals in a row than retries, but others got through meanwhile."""
    last = [0.0]

    def script(body: dict[str, Any]) -> Reply:
        now = time.monotonic()
        if now < last[0] + 0.02:
            return Fault("rate-limit")
        last[0] = now
        return REPLY

    with serve(script) as server:
        results, _ = ask(server, [call(str(i)) for i in range(30)], max_retries=5)
        assert all(isinstance(replies, list) for replies in results)
        assert len(server.requests) > 60


def test_pauses_grow_and_differ() -> None:
    drawn = [pause(failures) for failures in range(1, 40)]
    assert all(0 < each <= 30 for each in drawn)
    assert len({pause(3) for _ in range(20)}) > 10


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2),
        ({"retry-after": "0.5", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "-1"}, 0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_what_a_response_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


PRICES = {"price_input": 1000.0, "price_output": 4000.0}  # dollars a million: 0.1 and 0.1 a call
QUESTION = "?" * 400  # 100 tokens


def test_the_tally_is_what_the_endpoint_charged() -> None:
    with serve(lambda body: REPLY) as server:
        calls = [call(QUESTION, "ask"), call("??", "judge", n=3)]
        _, tally = ask(server, calls, **PRICES)
    asked, judged = tally.stages["ask"], tally.stages["judge"]
    assert (asked.calls, asked.replies, asked.tokens) == (1, 1, 100 + tokens(REPLY))
    assert (judged.calls, judged.replies, judged.tokens) == (1, 3, 1 + 3 * tokens(REPLY))
    assert tally.total.dollars == pytest.approx(0.2 + 0.001 + 0.3)


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("limit", [{"budget": 2.0, **PRICES}, {"budget_tokens": 1250}])
def test_a_budget_is_never_exceeded_and_nearly_used(
    limit: dict[str, Any], concurrency: int
) -> None:
    """Ten calls of $0.20 or 125 tokens."""
    with serve(lambda body: REPLY) as server:
        calls = [call(f"{i:03}{QUESTION[3:]}", max_tokens=25) for i in range(100)]
        results, tally = ask(server, calls, concurrency=concurrency, **limit)
        done = [replies for replies in results if isinstance(replies, list)]
        assert all(isinstance(each, list | BudgetError) for each in results)
        assert 8 <= len(done) <= 10
        assert len(server.requests) == len(done), "none that was begun was thrown away"
        assert (tally.total.dollars or 0) <= 2.0 + 1e-9
        assert tally.total.tokens <= 1250


def test_a_budget_counts_what_earlier_runs_paid(tmp_path: Path) -> None:
    calls = [call(f"{i:03}{QUESTION[3:]}", max_tokens=25) for i in range(30)]
    spent = []
    with serve(lambda body: REPLY) as server:
        for budget in (1000, 2000, 10_000):
            with Journal(tmp_path / "journal", {}) as journal:
                results, tally = ask(server, calls, journal=journal, budget_tokens=budget)
            spent.append(tally.total.tokens)
            assert spent[-1] <= budget
        assert all(isinstance(replies, list) for replies in results)
        assert spent[0] < spent[1] < spent[2] == 30 * 125
        assert len(server.requests) == 30, "nothing was paid for twice"
    with serve(lambda body: REPLY) as server, Journal(tmp_path / "journal", {}) as journal:
        (error,), _ = ask(server, [call("new")], journal=journal, budget_tokens=3750)
    assert isinstance(error, BudgetError)
    assert "3,750 of 3,750 tokens used, and the next call may cost more" in str(error)


def test_a_budget_in_dollars_needs_prices() -> None:
    with pytest.raises(RecipeError, match="a budget in dollars needs price_input and price_out"):
        load_recipe(None, ["transform.endpoint.model=m", "transform.endpoint.budget=1"])
