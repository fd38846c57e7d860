"""Measures of answers: means with intervals, medians and 95th percentiles.

Shares and rates (TPS, DP, markup overhead, ...) are ratios of sums over the answers of a row, so
that every token weighs the same; their medians and percentiles are over single answers. Intervals
draw whole answers.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields

import numpy as np

from aspd_cli.core.metrics import Array, Interval, Structure, bootstrap, parallelism
from aspd_cli.evaluate.figures import Latency, Measure
from aspd_cli.evaluate.results import EvalAnswer
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
