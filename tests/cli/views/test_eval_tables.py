"""The tables of an evaluation: whole at every width, one speed-up, abbreviations explained."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from aspd_cli.cli.views.eval import show
from aspd_cli.cli.views.wide_table import WideTable
from aspd_cli.evaluate.figures import Score
from aspd_cli.evaluate.latency import latency, length_note
from aspd_cli.evaluate.measures import ABBREVIATIONS
from aspd_cli.evaluate.results import Evaluation, System
from tests.evaluate.answers import STATS, SYSTEMS, answer

HEADS = ("a_system", "another_system", "speed-up over another_system", "PPD", "x")


def printed(evaluation: Evaluation, width: int) -> str:
    out = io.StringIO()
    show(evaluation, Console(file=out, width=width))
    return out.getvalue()


def evaluation(useful: int = 30) -> Evaluation:
    systems = (*SYSTEMS, System("a_seq_model", "aspd", "plain", "dir"))
    longer = replace(STATS, useful_tokens=useful, blocks=0, branches=0)
    answers = [
        answer(system.name, str(n), 1.0 + n + at, stats=STATS if not at else longer)
        for n in range(4)
        for at, system in enumerate(systems)
    ]
    scores = [
        Score(system.name, task, category, "exact_match,none", 4, (0.5, 0.25, 0.75))
        for task, category in (("mmlu_high_school_us_history", "all"), ("t", "a_long_category"))
        for system in systems
    ]
    rows = tuple(latency(systems, answers))
    note = length_note(rows)
    return Evaluation(
        systems=systems,
        baseline="a_seq_model",
        answers=tuple(answers),
        scores=tuple(scores),
        latency=rows,
        notes=(note,) if note else (),
    )


@pytest.mark.parametrize("width", [160, 80, 60])
def test_nothing_is_cut_and_no_heading_is_broken(width: int) -> None:
    text = printed(evaluation(useful=60), width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    names = ("mmlu_high_school_us_history", "a_long_category", "a_seq_model", "parallel", "hf")
    for word in (*names, "exact_match,none", "speed-up", "PPD", "DP", "ABN", "branches", "ideal"):
        assert word in text
    assert text.count("0.500") >= 6
    assert not re.search(r"\d\]\S", text), "columns are apart"


def test_columns_go_to_further_tables_and_none_is_lost() -> None:
    table = WideTable("T", ("name",), HEADS)
    table.add("row", *(f"{n}.50 [{n}.25, {n}.75]" for n in range(len(HEADS))))
    for width in (30, 40, 60, 120):
        out = io.StringIO()
        for part in table.fitted(width):
            Console(file=out, width=width).print(part)
        text = out.getvalue()
        for n, head in enumerate(HEADS):
            assert all(word in text for word in head.split())
            assert f"{n}.50" in text
            assert f"[{n}.25, {n}.75]" in text


def test_speed_is_told_once_against_the_baseline() -> None:
    text = printed(evaluation(), 160)
    [line] = [line for line in text.splitlines() if line.startswith("speed-up over")]
    assert line.startswith("speed-up over a_seq_model")
    assert line.rstrip().endswith(" 1")
    assert "per useful token" not in text, "equally long answers need no second ratio"


def test_answers_of_unlike_lengths_are_told_with_a_ratio_for_a_token() -> None:
    text = " ".join(printed(evaluation(useful=60), 160).split())
    assert "differ in length: 30 (parallel), 60 (hf), 60 (a_seq_model) useful tokens" in text
    assert "useful tokens per answer 30.0 60.0 60.0" in text
    gains = r"over a_seq_model (\d\.\d\d).*speed-up per useful token (\d\.\d\d)"
    whole, token = map(float, re.findall(gains, text)[0])
    assert token == pytest.approx(whole / 2, abs=0.01)
    assert "differ" not in printed(evaluation(useful=33), 160), "up to a tenth is alike"


def test_every_abbreviation_is_explained_once() -> None:
    text = printed(evaluation(), 160)
    for short in ABBREVIATIONS:
        assert len(re.findall(rf"(?<![\w-]){short}: ", text)) == 1
