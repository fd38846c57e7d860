"""Tables of speed: means with intervals, medians and 95th percentiles of what answers took.

Shares and rates (TPS, DP, markup overhead, ...) are ratios of sums over the answers of a row, so
that every token weighs the same; their medians and percentiles are over single answers. Intervals
draw whole answers.

Answers are also grouped by the number of branches. That of a prompt is what the first parallel
system made of it, for all systems: a row compares the same prompts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from aspd_cli.core.metrics import Array, Interval, Structure, bootstrap, parallelism
from aspd_cli.evaluate.results import ALL, EvalAnswer, Evaluation, Latency, Measure, System
from aspd_cli.evaluate.timeline import TimelineBar

NOTHING: Interval = (float("nan"), float("nan"), float("nan"))

Pair = Callable[[EvalAnswer], tuple[float, float]]

_RATIOS: dict[str, Pair] = {
    "tps": lambda a: (a.stats.useful_tokens, a.wall_s),
    "p_tps": lambda a: (a.stats.parallel_useful_tokens, a.stats.parallel_s),
    "ideal_speedup": lambda a: (a.stats.decoded, a.stats.steps),
    "markup_overhead": lambda a: (a.stats.tokens - a.stats.useful_tokens, a.stats.tokens),
    "idle_share": lambda a: idle_steps(a.bars),
}

_MEANS: dict[str, Callable[[EvalAnswer], float]] = {
    "ttft_s": lambda a: a.stats.ttft_s,
    "time_s": lambda a: a.stats.time_s,
    "wall_s": lambda a: a.wall_s,
    "steps": lambda a: a.stats.steps,
    "tokens": lambda a: a.stats.tokens,
    "useful_tokens": lambda a: a.stats.useful_tokens,
    "malformed": lambda a: float(a.malformed),
    "cut": lambda a: float(a.finish_reason == "length"),
    "peak_memory": lambda a: float(a.peak_memory),
}

MEASURES = {
    "ttft_s": "seconds to the first token",
    "time_s": "seconds from admission to the last token",
    "wall_s": "wall-clock seconds of an answer: of all prompts given at once, by their number",
    "steps": "forward passes on the critical path",
    "tokens": "answer tokens, markup included",
    "useful_tokens": "tokens of the plain text",
    "tps": "useful tokens a second of wall-clock",
    "p_tps": "useful tokens a second in the parallel stages",
    "ideal_speedup": "decoded tokens / steps",
    "markup_overhead": "share of the tokens that the reader does not see",
    "idle_share": "share of the branches' steps in which a branch had already ended",
    "ppd": "share of answers with a block (the fork rate)",
    "dp": "branch content as a share of the tokens",
    "abn": "branches per block",
    "ape": "(branch content - titles) / branch content",
    "malformed": "share of answers with a block cut by a budget or a title announced twice",
    "cut": "share of answers that a budget ended",
    "peak_memory": "bytes: most that the GPU's allocator, or the process, held",
}
"""Name of a measure -> what it is."""

ABBREVIATIONS = {
    "TTFT": "ttft_s",
    "TPS": "tps",
    "P-TPS": "p_tps",
    "PPD": "ppd",
    "DP": "dp",
    "ABN": "abn",
    "APE": "ape",
}
"""What tables call a measure for short."""

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


def explained(rows: Sequence[Latency]) -> str:
    """What the abbreviations of those measures mean that some row has; "" without any."""
    parts = [
        f"{short}: {MEASURES[name]}"
        for short, name in ABBREVIATIONS.items()
        if any(
            name in row.measures and row.measures[name].median == row.measures[name].median
            for row in rows
        )
    ]
    return f"{'; '.join(parts)}." if parts else ""


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


def idle_steps(bars: Sequence[TimelineBar]) -> tuple[int, int]:
    """(steps in which a branch had ended and its block had not, all steps of the branches)."""
    began: dict[int, int] = {}
    ended: dict[int, int] = {}
    for bar in bars:
        if bar.lane:
            began[bar.lane] = min(bar.start, began.get(bar.lane, bar.start))
            ended[bar.lane] = max(bar.end, ended.get(bar.lane, bar.end))
    blocks: dict[int, list[int]] = defaultdict(list)  # branches of a block begin at one step
    for lane, start in began.items():
        blocks[start].append(ended[lane] - start + 1)
    whole = sum(max(steps) * len(steps) for steps in blocks.values())
    return whole - sum(map(sum, blocks.values())), whole


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


def measures(answers: Sequence[EvalAnswer]) -> dict[str, Measure]:
    """Every measure of `MEASURES` over some answers of one system."""
    found: dict[str, Measure] = {}
    for name, of in _MEANS.items():
        values = [of(a) for a in answers]
        found[name] = Measure(bootstrap(values), *_spread(values))
    for name, pair in _RATIOS.items():
        pairs = [pair(a) for a in answers]
        each = [above / below for above, below in pairs if below]
        found[name] = Measure(ratio(pairs), *_spread(each))
    structures = [_structure(a) for a in answers]
    single = {
        "ppd": [float(s.blocks > 0) for s in structures],
        "dp": [s.dp for s in structures if s.tokens],
        "abn": [s.abn for s in structures if s.blocks],
        "ape": [s.ape for s in structures if s.branch_tokens],
    }
    for name, interval in parallelism(structures).items():
        found[name] = Measure(interval, *_spread(single[name]))
    return {name: found[name] for name in MEASURES}


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


def ratio(values: Iterable[tuple[float, ...]]) -> Interval:
    """Sum over sum with its interval; NaN where the lower sum is nothing.

    Args:
        values: (above, below) of each answer; or several of each, whose sums are multiplied.
    """
    each = np.array(list(values), dtype=float)
    if not len(each):
        return NOTHING
    half = each.shape[-1] // 2

    def of(rows: Array) -> Array:
        sums = each[rows.astype(int)].sum(axis=-2)
        above, below = sums[..., :half].prod(axis=-1), sums[..., half:].prod(axis=-1)
        share: Array = above / np.where(below, below, np.nan)
        return share

    return bootstrap(range(len(each)), of)


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    if not values:
        return float("nan"), float("nan")
    median, p95 = np.percentile(values, [50, 95])
    return float(median), float(p95)


def _structure(answer: EvalAnswer) -> Structure:
    return Structure(**{f.name: getattr(answer.stats, f.name) for f in fields(Structure)})
