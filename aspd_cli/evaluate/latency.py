"""Tables of speed: the measures of each system's answers, and how much faster one is than another.

Answers are also grouped by the number of branches. That of a prompt is what the first parallel
system made of it, for all systems: a row compares the same prompts.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from aspd_cli.core.metrics import Interval
from aspd_cli.evaluate.figures import ALL, Latency
from aspd_cli.evaluate.measures import measures, ratio
from aspd_cli.evaluate.results import EvalAnswer, Evaluation, System

FEW_CUT = 0.05
"""Up to this share of cut answers needs no mention."""

SAME_LENGTH = 1.1
"""Up to this ratio of useful tokens two systems' answers count as equally long."""


def latency(systems: Sequence[System], answers: Sequence[EvalAnswer]) -> list[Latency]:
    """All rows: by concurrency, each task whole, then by category, then by number of branches."""
    rows: list[Latency] = []
    counts = _branch_counts(systems, answers)
    for concurrency in sorted({a.concurrency for a in answers}):
        here = [a for a in answers if a.concurrency == concurrency]
        tasks = list(dict.fromkeys(a.task for a in here))
        for task in [ALL, *tasks] if len(tasks) > 1 else tasks:
            of_task = [a for a in here if task in (ALL, a.task)]
            rows += _rows(systems, of_task, task, ALL, None, concurrency)
            categories = list(dict.fromkeys(a.category for a in of_task))
            if len(categories) > 1 and task != ALL:
                for category in categories:
                    chosen = [a for a in of_task if a.category == category]
                    rows += _rows(systems, chosen, task, category, None, concurrency)
        grouped: dict[int, list[EvalAnswer]] = defaultdict(list)
        for answer in here:
            if answer.key in counts:
                grouped[counts[answer.key]].append(answer)
        if len(grouped) > 1:
            for number, chosen in sorted(grouped.items()):
                task = tasks[0] if len(tasks) == 1 else ALL
                rows += _rows(systems, chosen, task, ALL, number, concurrency)
    return rows


def lengths_differ(rows: Sequence[Latency]) -> bool:
    """Whether the answers of these rows have unlike numbers of useful tokens, by the means."""
    means = [row.measures["useful_tokens"].mean[0] for row in rows]
    return bool(means) and max(means) > SAME_LENGTH * min(means)


def _whole(rows: Sequence[Latency]) -> list[Latency]:
    """The row of each system over all prompts, at the lowest concurrency."""
    whole = [row for row in rows if row.category == ALL and row.branches is None]
    first = {(row.task, row.concurrency) for row in whole[:1]}
    return [row for row in whole if (row.task, row.concurrency) in first]


def cut_note(rows: Sequence[Latency]) -> str | None:
    """Which systems had more answers cut than a few, and what to raise.

    Args:
        rows: of a whole evaluation; the ones over all prompts, at the lowest concurrency, count.
    """
    shares = [(row.measures["cut"].mean[0], row.system) for row in _whole(rows)]
    told = [f"{share:.0%} ({system})" for share, system in shares if share > FEW_CUT]
    if not told:
        return None
    return (
        f"Answers were cut by a token limit: {', '.join(told)}. Raise generation.max_new_tokens, "
        "or max_gen_toks in --gen-kwargs for tasks of lm-eval."
    )


def length_note(rows: Sequence[Latency]) -> str | None:
    """What a reader of speed-ups must know where systems' answers are not equally long.

    Args:
        rows: of a whole evaluation; the ones over all prompts, at the lowest concurrency, count.
    """
    whole = _whole(rows)
    if not lengths_differ(whole):
        return None
    lengths = ", ".join(
        f"{row.measures['useful_tokens'].mean[0]:.0f} ({row.system})" for row in whole
    )
    return (
        f"The answers differ in length: {lengths} useful tokens on average. A speed-up compares "
        "the times of whole answers; see the speed-up per useful token as well."
    )


def pool(evaluation: Evaluation, system: str, task: str, category: str) -> list[EvalAnswer]:
    """A system's answers, at the first concurrency, to a task, or to the tasks of a group of them.

    `category` is one of the task's, or `all`.
    """
    first = min((a.concurrency for a in evaluation.answers), default=1)
    listed: list[Any] = [found.get("group_subtasks", {}) for found in evaluation.lm_eval.values()]
    tasks = {task, *(part for groups in listed for part in groups.get(task, ()))}
    return [
        a
        for a in evaluation.answers
        if (a.system, a.concurrency) == (system, first)
        and a.task in tasks
        and category in (ALL, a.category)
    ]


def _branch_counts(
    systems: Sequence[System], answers: Sequence[EvalAnswer]
) -> dict[tuple[str, str, int, int], int]:
    leader = next((s.name for s in systems if s.mode == "parallel"), None)
    return {a.key: a.branches for a in answers if a.system == leader}


def _rows(
    systems: Sequence[System],
    answers: Sequence[EvalAnswer],
    task: str,
    category: str,
    branches: int | None,
    concurrency: int,
) -> list[Latency]:
    by_system = {system.name: [a for a in answers if a.system == system.name] for system in systems}
    walls = {name: {a.key: a.wall_s for a in mine} for name, mine in by_system.items()}
    return [
        Latency(
            system=system.name,
            task=task,
            category=category,
            branches=branches,
            concurrency=concurrency,
            answers=len(mine),
            measures=measures(mine),
            speedup={
                other: speedup(walls[system.name], theirs)
                for other, theirs in walls.items()
                if other != system.name and theirs
            },
            speedup_per_token={
                other: speedup_per_token(mine, theirs)
                for other, theirs in by_system.items()
                if other != system.name and theirs
            },
        )
        for system in systems
        if (mine := by_system[system.name])
    ]


def speedup(
    mine: Mapping[tuple[str, str, int, int], float],
    theirs: Mapping[tuple[str, str, int, int], float],
) -> Interval:
    """Their wall-clock over mine for the prompts that both answered."""
    return ratio([(theirs[key], seconds) for key, seconds in mine.items() if key in theirs])


def speedup_per_token(mine: Sequence[EvalAnswer], theirs: Sequence[EvalAnswer]) -> Interval:
    """Their wall-clock a useful token over mine, for the prompts that both answered."""
    other = {a.key: a for a in theirs}
    return ratio(
        (other[a.key].wall_s, a.stats.useful_tokens, a.wall_s, other[a.key].stats.useful_tokens)
        for a in mine
        if a.key in other
    )
