"""Measures: every definition on answers counted by hand."""

import json
import math

import numpy as np
import pytest
from hypothesis import given

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import lay_out, tokenize
from aspd_cli.core.markup import Document
from aspd_cli.core.metrics import (
    AnswerStats,
    Structure,
    bootstrap,
    measure,
    parallelism,
    structure,
)
from aspd_cli.core.parser import parse
from aspd_cli.transform.token_counts import EstimatingCodec
from tests import make
from tests.core.strategies import documents

CODEC = Codec(make.tokenizer())
A, B, C = "<|title|>A<|/title|>", "<|title|>B<|/title|>", "<|title|>C<|/title|>"


def counted(markup: str) -> Structure:
    tree = tokenize(parse(markup), CODEC)
    return structure(tree, lay_out(tree, CODEC, end_ids=[CODEC.tokenizer.eos_token_id]))


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("", Structure(tokens=1)),
        ("Hi end", Structure(tokens=3, useful_tokens=2)),
        (  # Hi, 2 titles of 3, para; 7 and 6 tokens of branches; para, end, eos
            f"Hi{A}{B}<|para|><|branch|>A: xy<|/branch|><|branch|>B: z<|/branch|><|/para|>end",
            Structure(24, useful_tokens=5, branch_tokens=3, title_tokens=2, blocks=1, branches=2),
        ),
        (  # branch B holds a block of three branches
            f"{A}{B}<|para|><|branch|>A: xy<|/branch|><|branch|>B: z{A}{B}{C}<|para|>"
            "<|branch|>A: x<|/branch|><|branch|>B: y<|/branch|><|branch|>C: <|/branch|>"
            "<|/para|>x<|/branch|><|/para|>",
            Structure(
                tokens=7 + 7 + (5 + 10 + 6 + 6 + 5 + 1 + 1 + 1) + 1 + 1,
                useful_tokens=6,
                branch_tokens=6,
                title_tokens=5,
                blocks=2,
                branches=5,
            ),
        ),
    ],
)
def test_the_structure_of_an_answer_is_what_one_counts_by_hand(
    markup: str, expected: Structure
) -> None:
    assert counted(markup) == expected


@given(document=documents())
def test_an_answer_is_counted_without_its_layout_as_with_it(document: Document) -> None:
    codec = EstimatingCodec()
    tree = tokenize(document, codec)
    assert measure(document, codec) == structure(tree, lay_out(tree, codec))


def test_parallelism_of_one_answer() -> None:
    it = Structure(24, useful_tokens=5, branch_tokens=3, title_tokens=2, blocks=1, branches=2)
    assert it.dp == 3 / 24
    assert it.abn == 2
    assert it.ape == (3 - 2) / 3
    serial = Structure(tokens=3, useful_tokens=2)
    assert (serial.dp, serial.abn, serial.ape) == (0, 0, 0)
    assert Structure().dp == 0


def stats(**changes: float) -> AnswerStats:
    counts = {
        "prompt_tokens": 10,
        "tokens": 24,
        "useful_tokens": 6,
        "steps": 12,
        "parallel_steps": 4,
        "blocks": 1,
        "branches": 2,
        "branch_tokens": 4,
        "title_tokens": 2,
        "max_lanes": 2,
        "ttft_s": 0.25,
        "time_s": 2.0,
        "parallel_s": 0.5,
        "parallel_useful_tokens": 4,
    }
    return AnswerStats(**{**counts, **changes})  # type: ignore[arg-type]


def test_measures_of_one_decode() -> None:
    it = stats()
    assert it.ideal_speedup == 24 / 12
    assert it.tps == 6 / 2.0
    assert it.p_tps == 4 / 0.5
    assert it.markup_overhead == 1 - 6 / 24


def test_an_answer_that_was_cut_before_its_first_branch_is_serial_so_far() -> None:
    it = stats(tokens=5, decoded_tokens=18, steps=18, blocks=0, branches=0)
    assert it.ideal_speedup == 1.0, "the titles that were dropped took a step each"
    assert it.as_dict()["decoded_tokens"] == 18
    serial = stats(tokens=5, decoded_tokens=18, steps=18, parallel_steps=0, parallel_s=0.0)
    assert serial.estimated_speedup == pytest.approx(1.0)


def test_measures_of_a_decode_that_never_began_are_zero() -> None:
    it = stats(
        tokens=0, useful_tokens=0, steps=0, time_s=0.0, parallel_s=0.0, parallel_useful_tokens=0
    )
    assert (it.ideal_speedup, it.tps, it.p_tps, it.markup_overhead) == (0, 0, 0, 0)


def test_stats_go_to_json_with_all_measures() -> None:
    found = json.loads(json.dumps(stats(time_s=3.0).as_dict()))
    assert found["tokens"] == 24
    assert found["ttft_s"] == 0.25
    measures = [found[name] for name in ("ideal_speedup", "tps", "p_tps", "markup_overhead")]
    assert measures == [2.0, 2.0, 8.0, 0.75]


ANSWERS = [
    Structure(100, useful_tokens=60, branch_tokens=40, title_tokens=4, blocks=1, branches=2),
    Structure(300, useful_tokens=200, branch_tokens=160, title_tokens=16, blocks=2, branches=8),
    Structure(tokens=100, useful_tokens=99),
    Structure(tokens=300, useful_tokens=299),
]


def test_parallelism_of_many_answers_counted_by_hand() -> None:
    value = {name: interval[0] for name, interval in parallelism(ANSWERS).items()}
    assert value == {"ppd": 2 / 4, "dp": 200 / 800, "abn": 10 / 3, "ape": (200 - 20) / 200}


def test_parallelism_draws_whole_answers() -> None:
    same = [Structure(2 * n, branch_tokens=n, title_tokens=0) for n in (1, 10, 1000)]
    assert parallelism(same)["dp"] == (0.5, 0.5, 0.5)  # numerator and denominator go together
    for value, low, high in parallelism(ANSWERS * 5).values():
        assert low < value < high or low == value == high
    assert parallelism(ANSWERS * 5)["dp"][1:] != parallelism(ANSWERS * 500)["dp"][1:]


def test_parallelism_is_undefined_where_there_is_nothing_to_measure() -> None:
    serial = parallelism([Structure(tokens=9, useful_tokens=8)])
    assert serial["ppd"] == serial["dp"] == (0, 0, 0)
    assert all(map(math.isnan, serial["abn"] + serial["ape"]))
    assert all(math.isnan(v) for interval in parallelism([]).values() for v in interval)
    rare = parallelism([ANSWERS[0], *[ANSWERS[2]] * 5])  # many draws have no block at all
    assert rare["abn"] == (2, 2, 2)


def test_the_interval_is_deterministic_and_the_seed_matters() -> None:
    values = np.random.default_rng(1).normal(size=40).tolist()
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values) != bootstrap(values, seed=1)
    assert bootstrap(values)[0] == bootstrap(values, seed=1)[0] == np.mean(values)


def test_the_interval_holds_the_truth_about_95_times_in_100() -> None:
    random = np.random.default_rng(0)
    intervals = [bootstrap(random.normal(3, 2, 60).tolist(), samples=500) for _ in range(300)]
    held = [low <= 3 <= high for _, low, high in intervals]
    assert 0.90 <= np.mean(held) <= 0.98


def test_the_interval_of_a_large_sample_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(3, 2, 10_000)  # drawn in several parts
    value, low, high = bootstrap(values.tolist())
    half = 1.96 * values.std() / np.sqrt(values.size)
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.15 * half)


def test_the_interval_is_of_the_statistic_asked_for() -> None:
    values = [0.0] * 90 + [1000.0] * 10
    assert bootstrap(values, lambda rows: np.median(rows, axis=-1)) == (0.0, 0.0, 0.0)
    assert bootstrap([1.0, 3.0], lambda rows: rows.max(axis=-1))[0] == 3.0


@pytest.mark.parametrize(("values", "expected"), [([], math.nan), ([2.5], 2.5)])
def test_the_interval_of_none_is_undefined_and_of_one_is_that_one(
    values: list[float], expected: float
) -> None:
    assert bootstrap(values) == pytest.approx((expected,) * 3, nan_ok=True)
