"""The tables of an evaluation on a terminal or in a pipe."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from aspd_cli.safe_text import printable

if TYPE_CHECKING:
    from aspd_cli.core.metrics import Interval
    from aspd_cli.evaluate.results import Evaluation, Latency, Score

_NONE = "-"


def tables(evaluation: "Evaluation") -> Iterator[Table]:
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


def _quality(evaluation: "Evaluation") -> Table:
    """A row for each task and category: scores, and what the parallel system gained there."""
    parallel = next((s.name for s in evaluation.systems if s.mode == "parallel"), None)
    table = Table(title="Score, mean [95% interval]", title_justify="left")
    for name in ("task", "metric", "n"):
        table.add_column(name, justify="right" if name == "n" else "left")
    for system in evaluation.systems:
        table.add_column(system.name, justify="right")
    gained = parallel is not None and bool(evaluation.latency)
    if gained:
        if evaluation.baseline != parallel:
            table.add_column(f"speed-up over {evaluation.baseline}", justify="right")
        for name in ("PPD", "DP", "ABN"):
            table.add_column(name, justify="right")
    for score in evaluation.scores:
        if score.system != evaluation.systems[0].name:
            continue
        scored = [_scored(evaluation, score, system.name) for system in evaluation.systems]
        cells = [_name(score), score.metric, str(score.answers), *scored]
        if gained:
            assert parallel is not None
            cells += _gain(evaluation, score, parallel)
        table.add_row(*cells)
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
    from aspd_cli.evaluate.latency import measures, speedup

    found = measures(mine)
    cells = [interval(found[name].mean) for name in ("ppd", "dp", "abn")]
    if evaluation.baseline == parallel:
        return cells
    gained = speedup({a.key: a.wall_s for a in mine}, {a.key: a.wall_s for a in theirs})
    return [interval(gained), *cells]


def _speed(evaluation: "Evaluation", concurrency: int) -> Table:
    rows = _whole(evaluation, concurrency)
    at_once = "one prompt at a time" if concurrency == 1 else f"{concurrency} prompts at once"
    table = Table(
        title=f"Speed, {at_once}, {rows[0].answers} answers, mean [95% interval]",
        title_justify="left",
    )
    table.add_column("")
    for row in rows:
        table.add_column(row.system, justify="right")
    if len(rows) > 1:
        for other in rows:
            gained = [row.speedup.get(other.system) for row in rows]
            table.add_row(
                f"speed-up over {other.system}", *("" if g is None else interval(g) for g in gained)
            )
    lines = (
        ("seconds per answer", "wall_s", 1.0, 3),
        ("seconds to the first token", "ttft_s", 1.0, 3),
        ("useful tokens per second", "tps", 1.0, 1),
        ("... in parallel stages", "p_tps", 1.0, 1),
        ("useful tokens", "useful_tokens", 1.0, 1),
        ("steps", "steps", 1.0, 1),
        ("ideal speed-up, tokens / steps", "ideal_speedup", 1.0, 2),
        ("PPD, share of answers with a block", "ppd", 1.0, 3),
        ("DP, share of tokens in branches", "dp", 1.0, 3),
        ("ABN, branches per block", "abn", 1.0, 2),
        ("APE, branch share left after titles", "ape", 1.0, 3),
        ("markup overhead", "markup_overhead", 1.0, 3),
        ("idle share of branches, waiting for a merge", "idle_share", 1.0, 3),
        ("malformed", "malformed", 1.0, 3),
        ("cut by a budget", "cut", 1.0, 3),
    )
    for label, name, unit, digits in lines:
        cells = [interval(row.measures[name].mean, digits) for row in rows]
        if set(cells) != {_NONE}:
            table.add_row(label, *cells)
        if name == "wall_s":
            for part, of in (("median", "median"), ("p95", "p95")):
                values = [getattr(row.measures["time_s"], of) for row in rows]
                table.add_row(f"  latency, {part}", *(plain(v / unit, 3) for v in values))
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
        table.add_row("peak memory, GB", *(plain(peak / 1e9, 2) for peak in peaks))
    return table


def _by_branches(evaluation: "Evaluation", concurrency: int) -> Table:
    """Of the parallel system: a row for each number of branches."""
    first = next(s.name for s in evaluation.systems if s.mode == "parallel")
    rows = [
        row
        for row in evaluation.latency
        if row.branches is not None and (row.system, row.concurrency) == (first, concurrency)
    ]
    others = [s.name for s in evaluation.systems if s.name != first]
    table = Table(title=f"Speed-up of {first} by number of branches", title_justify="left")
    for name in ("branches", "n", "ideal", *(f"over {other}" for other in others)):
        table.add_column(name, justify="right")
    for row in rows:
        gained = [row.speedup.get(other) for other in others]
        table.add_row(
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
