"""Measures of answers, against numbers worked out by hand."""

import math
from dataclasses import replace

import pytest

from aspd_cli.evaluate.measures import MEASURES, idle_steps, measures, ratio
from aspd_cli.evaluate.timeline import TimelineBar
from tests.evaluate.answers import STATS, answer


def test_every_measure_is_what_its_name_says() -> None:
    longer = replace(STATS, tokens=20, useful_tokens=20, steps=20, blocks=0, branches=0)
    longer = replace(longer, branch_tokens=0, title_tokens=0, parallel_useful_tokens=0)
    serial = answer(doc_id="1", seconds=3.0, stats=replace(longer, parallel_s=0.0), bars=())
    found = measures([answer(), replace(serial, finish_reason="length", malformed=True)])
    means = {name: found[name].mean[0] for name in MEASURES}
    assert means == pytest.approx(
        {
            "ttft_s": 0.1,
            "time_s": 1.0,
            "wall_s": 2.0,
            "steps": 20,
            "tokens": 30,
            "useful_tokens": 25,
            "tps": 50 / 4,
            "p_tps": 20 / 0.5,
            "ideal_speedup": 60 / 40,
            "markup_overhead": 10 / 60,
            "idle_share": 2 / 8,
            "ppd": 0.5,
            "dp": 20 / 60,
            "abn": 2,
            "ape": 16 / 20,
            "malformed": 0.5,
            "cut": 0.5,
            "peak_memory": 0,
        }
    )
    assert (found["wall_s"].median, found["wall_s"].p95) == pytest.approx((2.0, 2.9))
    assert found["wall_s"].mean[1:] == (1.0, 3.0)


def test_a_branch_is_idle_from_its_end_to_the_end_of_its_block() -> None:
    first = [
        TimelineBar(1, "A", 5, 14),
        TimelineBar(2, "B", 5, 6),
        TimelineBar(3, "C", 5, 9),
    ]  # 10, 2 and 5 steps
    second = [TimelineBar(4, "D", 20, 20), TimelineBar(5, "E", 20, 23)]
    assert idle_steps([TimelineBar(0, "", 1, 4), *first, *second]) == (0 + 8 + 5 + 3, 30 + 8)
    assert idle_steps([TimelineBar(0, "", 1, 9)]) == (0, 0)


def test_a_branch_that_forks_again_is_busy_all_the_while() -> None:
    nested = [
        TimelineBar(1, "A", 5, 6),
        TimelineBar(3, "C", 7, 8),
        TimelineBar(4, "D", 7, 10),
        TimelineBar(1, "A", 11, 12),
    ]
    assert idle_steps([*nested, TimelineBar(2, "B", 5, 12)]) == (2, 16 + 8)


def test_what_is_undefined_has_no_interval() -> None:
    found = measures([answer(stats=replace(STATS, blocks=0, branches=0, branch_tokens=0))])
    assert math.isnan(found["abn"].mean[0])
    assert all(math.isnan(end) for end in ratio([]))
    assert all(math.isnan(end) for end in ratio([(1.0, 0.0)]))
