"""What was paid for is not paid for again: in the next run, and by an equal call of this one."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from aspd_cli.endpoint.journal import Journal
from aspd_cli.errors import ReplyError
from tests.endpoint.asking import SCHEMA, ask, call
from tests.endpoint_server import Fault, Reply, echo, faulty, serve


def numbered(numbers: Iterator[int], body: dict[str, Any]) -> list[str]:
    """No two replies are equal."""
    return [json.dumps({"reply": f"{next(numbers)}"}) for _ in range(body.get("n", 1))]


def test_a_second_run_asks_nothing_and_brings_the_same(tmp_path: Path) -> None:
    """Invalid, empty and missing replies included: they were paid for, and are not asked again."""
    numbers = range(160)
    calls = [call(f"question {i}", f"stage {i % 2}", n=1 + i % 4, schema=SCHEMA) for i in numbers]
    script = faulty(echo, 0.4, seed=6)
    with serve(script) as server:
        with Journal(tmp_path / "journal", {}) as journal:
            first, paid = ask(server, calls, journal=journal)
        asked = len(server.requests)
        with Journal(tmp_path / "journal", {}) as journal:
            second, again = ask(server, calls, journal=journal)
        assert first == second == [[f"question {i}"] * (1 + i % 4) for i in numbers]
        assert len(server.requests) == asked
        assert (again.total.replayed, again.total.used) == (paid.total.used,) * 2
        for stage in ("stage 0", "stage 1"):
            once, twice = paid.stages[stage], again.stages[stage]
            assert (twice.calls, twice.replies, twice.tokens) == (
                once.calls,
                once.replies,
                once.tokens,
            )
            assert twice.invalid == once.invalid > 0


def test_a_call_that_failed_for_want_of_valid_replies_fails_again_for_free(tmp_path: Path) -> None:
    with serve(lambda body: "no") as server:
        for _ in range(2):
            with Journal(tmp_path / "journal", {}) as journal:
                (error,), tally = ask(server, [call()], journal=journal)
            assert isinstance(error, ReplyError)
            assert tally.total.replies == tally.total.invalid == 3
        assert len(server.requests) == 3


def test_equal_calls_at_once_are_paid_for_once(tmp_path: Path) -> None:
    numbers = count()
    with (
        serve(lambda body: numbered(numbers, body), latency=0.05) as server,
        Journal(tmp_path / "journal", {}) as journal,
    ):
        calls = [call("a"), call("a"), call("b"), call("a", n=3)]
        (one, same, other, three), _ = ask(server, calls, journal=journal)
        assert one == same == three[:1]
        assert len({*one, *other, *three}) == 4
        assert [body.get("n", 1) for body in server.requests] in ([1, 1, 2], [1, 2, 1])


def test_without_a_journal_every_call_is_asked() -> None:
    numbers = count()
    with serve(lambda body: numbered(numbers, body)) as server:
        results, _ = ask(server, [call("a"), call("a")])
        assert results[0] != results[1]


def test_other_parameters_are_another_call(tmp_path: Path) -> None:
    calls = [
        call("a"),
        call("a", schema=SCHEMA),
        call("a", max_tokens=7),
        call("a", temperature=0.5),
        call("a "),
    ]
    with serve(echo) as server, Journal(tmp_path / "journal", {}) as journal:
        ask(server, calls, journal=journal)
        assert len(server.requests) == 5
        ask(server, calls, journal=journal, base_url=server.url + "/", concurrency=1)
        assert len(server.requests) == 5
        ask(server, calls[:1], journal=journal, top_p=0.5)
        assert len(server.requests) == 6


def test_a_reply_that_came_while_another_of_its_call_failed_is_kept(tmp_path: Path) -> None:
    """Three single requests for one call, of which the second is answered with a broken key."""
    arrived: list[int] = []

    def script(body: dict[str, Any]) -> Reply:
        arrived.append(1)
        return Fault("unauthorized") if len(arrived) == 3 else Fault("fewer", ("good",))

    with serve(script) as server:
        with Journal(tmp_path / "journal", {}) as journal:
            ask(server, [call(n=4)], str, journal)
        with Journal(tmp_path / "journal", {}) as journal:
            (replies,), tally = ask(server, [call(n=4)], str, journal)
        assert replies == ["good"] * 4
        assert tally.total.replies == 4
        assert tally.total.replayed >= 2
