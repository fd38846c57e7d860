"""The tables of a report: quality and speed by category, measures of each system, duels."""

import math
from collections.abc import Mapping
from typing import Any

from aspd_cli.core.metrics import Interval
from aspd_cli.evaluate import latency
from aspd_cli.evaluate.figures import ALL, Latency, Score, interval_of
from aspd_cli.evaluate.latency import pool
from aspd_cli.evaluate.results import Evaluation
from aspd_cli.report.html import table

Cell = str | tuple[str, str]

NOTHING: Interval = (math.nan,) * 3

SPEED_ROWS = (
    ("time_s", "time of an answer", "s"),
    ("ttft_s", "time to first token (TTFT)", "s"),
    ("steps", "steps", ""),
    ("tokens", "tokens", ""),
    ("useful_tokens", "useful tokens", ""),
    ("tps", "useful tokens per second (TPS)", ""),
    ("p_tps", "in parallel stages (P-TPS)", ""),
    ("ideal_speedup", "ideal speed-up: tokens / steps", "x"),
    ("markup_overhead", "markup overhead", "%"),
    ("idle_share", "idle share of lanes", "%"),
    ("ppd", "answers with a block (PPD)", "%"),
    ("dp", "tokens in branches (DP)", "%"),
    ("abn", "branches per block (ABN)", ""),
    ("ape", "branch content after titles (APE)", "%"),
    ("malformed", "malformed", "%"),
    ("cut", "cut by a budget", "%"),
)
"""Measure -> its row and unit; a measure that an evaluation does not hold is left out."""


def shown(interval: Interval, unit: str = "") -> Cell:
    """A value with its interval, as a cell."""
    if math.isnan(interval[0]):
        return "–"
    value, low, high = (plain_number(each, unit) for each in interval)
    if low == high:
        return value
    return value, f"{low} to {high}"


def plain_number(value: float, unit: str = "") -> str:
    """A number with as many digits as a reader needs."""
    if unit == "%":
        return f"{100 * value:.1f}%"
    if unit == "s":
        return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.2f} s"
    if unit == "x":
        return f"{value:.2f}×"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3f}" if abs(value) <= 1 else f"{value:.2f}"


def main_metric(evaluation: Evaluation, task: str) -> str | None:
    """The metric that stands for a task: the first that it has."""
    return next((score.metric for score in evaluation.scores if score.task == task), None)


def tasks_of(evaluation: Evaluation) -> list[str]:
    """The tasks that have scores, in order."""
    return list(dict.fromkeys(score.task for score in evaluation.scores))


def quality(evaluation: Evaluation, task: str, category: str, system: str) -> Score | None:
    """How well a system did, by the task's main metric."""
    metric = main_metric(evaluation, task)
    wanted = (system, task, category, metric)
    return next(
        (s for s in evaluation.scores if (s.system, s.task, s.category, s.metric) == wanted), None
    )


def whole(evaluation: Evaluation) -> str:
    """What the rows over all answers are called: `all`, or the task where there is but one."""
    tasks = dict.fromkeys(row.task for row in evaluation.latency)
    return ALL if ALL in tasks or not tasks else next(iter(tasks))


def speed(evaluation: Evaluation, system: str) -> Latency | None:
    """How soon a system answered over all prompts, at the lowest concurrency."""
    wanted = (system, whole(evaluation), ALL, None)
    rows = [
        row
        for row in evaluation.latency
        if (row.system, row.task, row.category, row.branches) == wanted
    ]
    return min(rows, key=lambda row: row.concurrency, default=None)


def speedup(evaluation: Evaluation, row: Latency | None) -> Interval:
    """A row's speed-up over the baseline; 1 for the baseline itself, NaN without a measure."""
    if row is None:
        return NOTHING
    if row.system == evaluation.baseline:
        return (1.0,) * 3
    return row.speedup.get(evaluation.baseline, NOTHING)


def per_token(evaluation: Evaluation, row: Latency) -> Interval:
    """The same, with the time of each answer divided by its useful tokens."""
    if row.system == evaluation.baseline:
        return (1.0,) * 3
    return row.speedup_per_token.get(evaluation.baseline, NOTHING)


def speedup_on(evaluation: Evaluation, system: str, task: str, category: str = ALL) -> Interval:
    """A system's speed-up over the baseline on the prompts of a task, or of a group of tasks."""
    mine, theirs = (
        {answer.key: answer.wall_s for answer in pool(evaluation, name, task, category)}
        for name in (system, evaluation.baseline)
    )
    return latency.speedup(mine, theirs)


def category_table(evaluation: Evaluation) -> str:
    """Quality of every system, and its speed-up over the baseline, by task and category."""
    names = [system.name for system in evaluation.systems]
    others = [name for name in names if evaluation.latency and name != evaluation.baseline]
    places = _places(evaluation)
    rows = []
    for task, category in places:
        scores = [quality(evaluation, task, category, name) for name in names]
        cells = [shown(score.value) if score else "–" for score in scores]
        cells += [shown(speedup_on(evaluation, name, task, category), "x") for name in others]
        answers = max((score.answers for score in scores if score), default=0)
        first = task if category == ALL else f"{task}: {category}"
        rows.append([first, *cells, str(answers)])
    graded = bool(evaluation.scores)
    head = ["", *(names if graded else []), *(f"{name}, speed-up" for name in others), "n"]
    if not graded:
        rows = [[row[0], *row[1 + len(names) : -1], ""] for row in rows]
        head, rows = head[:-1], [row[:-1] for row in rows]
    return table(head, rows)


def _places(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Every (task, category) that has scores, or else times; a task before its categories."""
    both: list[Score] | list[Latency] = list(evaluation.scores) or list(evaluation.latency)
    found = dict.fromkeys((each.task, each.category) for each in both if each.task != ALL)
    tasks = list(dict.fromkeys(task for task, _ in found))
    return sorted(found, key=lambda place: (tasks.index(place[0]), place[1] != ALL))


def speed_table(evaluation: Evaluation) -> str:
    """The measures over all answers, one column for each system and concurrency."""
    rows = [
        row
        for row in evaluation.latency
        if (row.task, row.category, row.branches) == (whole(evaluation), ALL, None)
    ]
    several = len({row.concurrency for row in rows}) > 1
    head = [f"{row.system}, {row.concurrency} at once" if several else row.system for row in rows]
    body: list[list[Cell]] = [
        [
            f"speed-up over {evaluation.baseline}",
            *(shown(speedup(evaluation, r), "x") for r in rows),
        ]
    ]
    if latency.lengths_differ(rows):
        gains = [per_token(evaluation, row) for row in rows]
        body.append(["speed-up per useful token", *(shown(gain, "x") for gain in gains)])
    for key, name, unit in SPEED_ROWS:
        if all(key in row.measures for row in rows):
            body.append([name, *(shown(row.measures[key].mean, unit) for row in rows)])
        if key == "time_s":
            body += [
                [
                    f"{name}, {of}",
                    *(plain_number(getattr(row.measures[key], at), unit) for row in rows),
                ]
                for of, at in (("median", "median"), ("95th percentile", "p95"))
            ]
    body.append(["answers", *(str(row.answers) for row in rows)])
    return table(["", *head], body)


def judged_table(found: Mapping[str, Any]) -> str:
    """What the judge said of every system, of one bench (see `judged.run_bench`)."""
    standings = {name: places[ALL] for name, places in found["systems"].items()}
    turns = max(len(each["turns"]) for each in standings.values())
    duels = found["baseline"] is not None
    head = ["", "score", *(f"turn {at + 1}" for at in range(turns))] if turns else [""]
    if duels:
        head += [f"wins against {found['baseline']}", "won", "tied", "lost", "swayed by order"]
    rows: list[list[Cell]] = []
    for name, each in standings.items():
        row: list[Cell] = [name]
        if turns:
            scores = [*each["turns"], *[None] * turns][:turns]
            row += [shown(interval_of(each["score"])), *map(_optional, scores)]
        if duels and name == found["baseline"]:
            row += ["–"] * 5
        elif duels:
            row.append(shown(interval_of(each["win_rate"]), "%"))
            row += [str(each[key]) for key in ("won", "tied", "lost", "swayed")]
        rows.append([*row, str(each["missing"])])
    return table([*head, "no verdict"], rows)


def _optional(value: float | None) -> str:
    return "–" if value is None else plain_number(value)
