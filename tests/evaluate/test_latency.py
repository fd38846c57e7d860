"""Tables of speed, against numbers worked out by hand."""

from dataclasses import replace

import pytest

from aspd_cli.evaluate.figures import Latency
from aspd_cli.evaluate.latency import cut_note, latency
from aspd_cli.evaluate.results import EvalAnswer
from tests.evaluate.answers import STATS, SYSTEMS, answer


def row(rows: list[Latency], system: str, **place: object) -> Latency:
    wanted = {"category": "all", "branches": None, "concurrency": 1} | place
    [found] = [
        each
        for each in rows
        if each.system == system and all(getattr(each, k) == v for k, v in wanted.items())
    ]
    return found


def test_a_speed_up_is_summed_before_it_is_divided() -> None:
    answers = [
        answer("parallel", "0", 1.0),
        answer("hf", "0", 4.0),
        answer("parallel", "1", 3.0),
        answer("hf", "1", 2.0),
    ]
    rows = latency(SYSTEMS, answers)
    assert row(rows, "parallel").speedup["hf"][0] == pytest.approx(6 / 4)
    assert row(rows, "hf").speedup["parallel"][0] == pytest.approx(4 / 6)


def test_only_prompts_that_both_answered_are_compared() -> None:
    answers = [
        answer("parallel", "0", 1.0),
        answer("hf", "0", 2.0),
        answer("parallel", "1", 100.0),
    ]
    assert row(latency(SYSTEMS, answers), "parallel").speedup["hf"] == (2.0, 2.0, 2.0)


def test_a_speed_up_per_token_shares_each_time_by_its_useful_tokens() -> None:
    answers = [
        answer("parallel", "0", 1.0, stats=replace(STATS, useful_tokens=10)),
        answer("hf", "0", 4.0, stats=replace(STATS, useful_tokens=30)),
        answer("parallel", "1", 3.0, stats=replace(STATS, useful_tokens=10)),
        answer("hf", "1", 2.0, stats=replace(STATS, useful_tokens=10)),
    ]
    gained = row(latency(SYSTEMS, answers), "parallel").speedup_per_token["hf"]
    assert gained[0] == pytest.approx((6 / 40) / (4 / 20))


def test_rows_by_category_and_by_the_branches_of_the_parallel_answer() -> None:
    three = replace(STATS, branches=3)
    answers = [
        answer("parallel", "0", 1.0, category="a"),
        answer("hf", "0", 2.0, category="a", stats=replace(STATS, blocks=0, branches=0)),
        answer("parallel", "1", 1.0, category="b", stats=three),
        answer("hf", "1", 5.0, category="b", stats=replace(STATS, blocks=0, branches=0)),
    ]
    rows = latency(SYSTEMS, answers)
    assert row(rows, "parallel", category="b").speedup["hf"][0] == 5.0
    assert row(rows, "hf", branches=3).answers == 1
    assert row(rows, "parallel", branches=2).speedup["hf"][0] == 2.0


def test_each_concurrency_is_a_table_of_its_own() -> None:
    answers: list[EvalAnswer] = [
        answer(system, "0", seconds, concurrency=number)
        for system, seconds, number in (
            ("parallel", 1.0, 1),
            ("hf", 2.0, 1),
            ("parallel", 1.0, 4),
            ("hf", 8.0, 4),
        )
    ]
    rows = latency(SYSTEMS, answers)
    gains = [row(rows, "parallel", concurrency=n).speedup["hf"][0] for n in (1, 4)]
    assert gains == [2.0, 8.0]


def test_more_than_a_few_cut_answers_are_noted_by_system() -> None:
    def note(cut: int) -> str | None:
        mine = [
            answer("parallel", str(n), finish_reason="length" if n < cut else "stop")
            for n in range(20)
        ]
        theirs = [answer("hf", str(n)) for n in range(20)]
        return cut_note(latency(SYSTEMS, [*mine, *theirs]))

    assert note(0) is None
    assert note(1) is None, "5% need no mention"
    told = note(2)
    assert told is not None
    assert "10% (parallel). Raise" in told
    assert "(hf)" not in told
    assert cut_note([]) is None
