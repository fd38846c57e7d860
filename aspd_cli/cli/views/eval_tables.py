"""The tables of an evaluation on a terminal or in a pipe."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from aspd_cli.cli.views.wide_table import WideTable
from aspd_cli.safe_text import printable

if TYPE_CHECKING:
    from aspd_cli.core.metrics import Interval
    from aspd_cli.evaluate.figures import Latency, Score
    from aspd_cli.evaluate.results import Evaluation

_NONE = "-"

_LINES = (
    ("seconds per answer", "wall_s", 3),
    ("seconds to the first token (TTFT)", "ttft_s", 3),
    ("useful tokens per second (TPS)", "tps", 1),
    ("... in parallel stages (P-TPS)", "p_tps", 1),
    ("useful tokens per answer", "useful_tokens", 1),
    ("steps per answer", "steps", 1),
    ("ideal speed-up, tokens / steps", "ideal_speedup", 2),
    ("answers with a block (PPD)", "ppd", 3),
    ("tokens in branches (DP)", "dp", 3),
    ("branches per block (ABN)", "abn", 2),
    ("branch content after titles (APE)", "ape", 3),
    ("markup, share of tokens", "markup_overhead", 3),
    ("idle, share of branch steps", "idle_share", 3),
    ("malformed answers", "malformed", 3),
    ("answers cut by a budget", "cut", 3),
)
"""Label of a row, its measure, and how many digits it has."""


def tables(evaluation: "Evaluation") -> Iterator[WideTable]:
    """Quality, speed, and speed by the number of branches: those that have rows."""
    if evaluation.scores:
        yield _quality(evaluation)
    for concurrency in dict.fromkeys(row.concurrency for row in evaluation.latency):
        yield _speed(evaluation, concurrency)
        if any(
            row.branches is not None and row.concurrency == concurrency
            for row in evaluation.latency
        ):
            yield _by_branches(evaluation, concurrency)


def legend(evaluation: "Evaluation") -> str:
    """What the abbreviations of the tables mean; "" where none is used."""
    from aspd_cli.evaluate.measures import explained

    return explained(evaluation.latency)


def _quality(evaluation: "Evaluation") -> WideTable:
    """A row for each task and category: scores, and what the parallel system gained there."""
    parallel = next((s.name for s in evaluation.systems if s.mode == "parallel"), None)
    heads = [system.name for system in evaluation.systems]
    gained = parallel is not None and bool(evaluation.latency)
    if gained:
        if evaluation.baseline != parallel:
            heads.append(f"speed-up over {evaluation.baseline}")
        heads += ["PPD", "DP", "ABN"]
    metrics = list(dict.fromkeys(score.metric for score in evaluation.scores))
    one = len(metrics) == 1
    table = WideTable(
        f"Score{f' ({metrics[0]})' if one else ''}, mean [95% interval]",
        ("task", "n") if one else ("task", "metric", "n"),
        tuple(heads),
    )
    for score in evaluation.scores:
        if score.system != evaluation.systems[0].name:
            continue
        scored = [_scored(evaluation, score, system.name) for system in evaluation.systems]
        cells = [_name(score), *([] if one else [score.metric]), str(score.answers), *scored]
        if gained:
            assert parallel is not None
            cells += _gain(evaluation, score, parallel)
        table.add(*cells)
    return table


def _name(score: "Score") -> str:
    return printable(score.task if score.category == "all" else f"  {score.category}")


def _scored(evaluation: "Evaluation", score: "Score", system: str) -> str:
    place = (score.task, score.category, score.metric)
    found = [
        each.value
        for each in evaluation.scores
        if each.system == system and (each.task, each.category, each.metric) == place
    ]
    return interval(found[0], 3) if found else _NONE


def _gain(evaluation: "Evaluation", score: "Score", parallel: str) -> list[str]:
    """Speed-up, PPD, DP and ABN of the parallel system on the prompts of a score."""
    from aspd_cli.evaluate.latency import pool

    mine, theirs = (
        pool(evaluation, system, score.task, score.category)
        for system in (parallel, evaluation.baseline)
    )
    if not mine:
        return [_NONE] * (3 if evaluation.baseline == parallel else 4)
    from aspd_cli.evaluate.latency import speedup
    from aspd_cli.evaluate.measures import measures

    found = measures(mine)
    cells = [interval(found[name].mean) for name in ("ppd", "dp", "abn")]
    if evaluation.baseline == parallel:
        return cells
    gained = speedup({a.key: a.wall_s for a in mine}, {a.key: a.wall_s for a in theirs})
    return [interval(gained), *cells]


def _speed(evaluation: "Evaluation", concurrency: int) -> WideTable:
    from aspd_cli.evaluate.latency import lengths_differ

    rows = _whole(evaluation, concurrency)
    at_once = "one prompt at a time" if concurrency == 1 else f"{concurrency} prompts at once"
    number = rows[0].answers
    table = WideTable(
        f"Speed, {at_once}, {number} answer{'' if number == 1 else 's'}, mean [95% interval]",
        ("",),
        tuple(row.system for row in rows),
    )
    base = evaluation.baseline
    if len(rows) > 1:
        gains = [_gained(row, row.speedup, base) for row in rows]
        table.add(f"speed-up over {base}", *gains)
        if lengths_differ(rows):
            gains = [_gained(row, row.speedup_per_token, base) for row in rows]
            table.add("speed-up per useful token", *gains)
    for label, name, digits in _LINES:
        cells = [interval(row.measures[name].mean, digits) for row in rows]
        if set(cells) != {_NONE}:
            table.add(label, *cells)
        if name == "wall_s":
            for part, of in (("median", "median"), ("95th percentile", "p95")):
                values = [getattr(row.measures["time_s"], of) for row in rows]
                table.add(f"  latency, {part}", *(plain(v, 3) for v in values))
    peaks = [
        max(
            (
                a.peak_memory
                for a in evaluation.answers
                if a.system == row.system and a.concurrency == concurrency
            ),
            default=0,
        )
        for row in rows
    ]
    if any(peaks):
        table.add("peak memory, GB", *(plain(peak / 1e9, 2) if peak else _NONE for peak in peaks))
    return table


def _gained(row: "Latency", gains: "Mapping[str, Interval]", baseline: str) -> str:
    if row.system == baseline:
        return "1"
    return interval(gains[baseline]) if baseline in gains else _NONE


def _by_branches(evaluation: "Evaluation", concurrency: int) -> WideTable:
    """Of the parallel system: a row for each number of branches."""
    first = next(s.name for s in evaluation.systems if s.mode == "parallel")
    rows = [
        row
        for row in evaluation.latency
        if row.branches is not None and (row.system, row.concurrency) == (first, concurrency)
    ]
    others = [s.name for s in evaluation.systems if s.name != first]
    table = WideTable(
        f"Speed-up of {first} by number of branches",
        ("branches", "n"),
        ("ideal", *(f"over {other}" for other in others)),
    )
    for row in rows:
        gained = [row.speedup.get(other) for other in others]
        table.add(
            str(row.branches),
            str(row.answers),
            interval(row.measures["ideal_speedup"].mean),
            *(_NONE if g is None else interval(g) for g in gained),
        )
    return table


def _whole(evaluation: "Evaluation", concurrency: int) -> "list[Latency]":
    """Each system's row over all prompts."""
    rows = [
        row
        for row in evaluation.latency
        if row.concurrency == concurrency and row.category == "all" and row.branches is None
    ]
    return [row for row in rows if row.task == rows[0].task]


def interval(value: "Interval", digits: int = 2) -> str:
    """`1.75 [1.50, 1.98]`; a dash where nothing is defined."""
    mean, low, high = value
    if math.isnan(mean):
        return _NONE
    if low == mean == high:
        return plain(mean, digits)
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def plain(value: float, digits: int) -> str:
    """A number; a dash where it is undefined."""
    return _NONE if math.isnan(value) else f"{value:.{digits}f}"
