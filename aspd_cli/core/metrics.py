"""The measures: one definition each, used wherever a number is reported."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import Layout, TokenBlock, TokenTree, lay_out, tokenize
from aspd_cli.core.markup import Block, Document
from aspd_cli.core.visibility import MAIN

Array = NDArray[np.float64]

_DRAWN_AT_ONCE = 4_000_000
"""Values that the bootstrap holds in memory, so that a million answers do not fill it."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What an answer is made of, counted in tokens of its tree."""

    tokens: int = 0
    """All answer tokens, forced ones and the end of turn included."""
    useful_tokens: int = 0
    """Tokens of the plain text."""
    branch_tokens: int = 0
    """Tokens of branch contents (plain text inside branches), nested ones counted once."""
    title_tokens: int = 0
    """Tokens of the titles, without their control tokens."""
    blocks: int = 0
    branches: int = 0

    @property
    def dp(self) -> float:
        """Degree of parallelism: the share of the tokens that is branch content."""
        return self.branch_tokens / self.tokens if self.tokens else 0.0

    @property
    def abn(self) -> float:
        """Average branch number: branches per block."""
        return self.branches / self.blocks if self.blocks else 0.0

    @property
    def ape(self) -> float:
        """Average parallel efficiency: what branch content is left when its titles are paid."""
        gain = self.branch_tokens - self.title_tokens
        return gain / self.branch_tokens if self.branch_tokens else 0.0


@dataclass(frozen=True, slots=True)
class AnswerStats:
    """How one answer was decoded."""

    prompt_tokens: int
    tokens: int
    """All answer tokens, forced ones and the end of turn included."""
    useful_tokens: int
    """Tokens of the plain text."""
    steps: int
    """Forward passes this answer took part in, prefill included: its critical path."""
    parallel_steps: int
    """Steps in which two or more lanes advanced."""
    blocks: int
    branches: int
    branch_tokens: int
    title_tokens: int
    max_lanes: int
    """Most lanes that advanced in one step."""
    ttft_s: float
    """Seconds from admission to the first sampled token."""
    time_s: float
    """Seconds from admission to the last token, prefill included."""
    parallel_s: float
    """Seconds spent in steps with two or more lanes."""
    parallel_useful_tokens: int
    """Useful tokens sampled in steps with two or more lanes."""
    decoded_tokens: int | None = None
    """Tokens that were decoded; None: as many as `tokens`. An answer that a budget cut has fewer
    tokens where it drops a list of titles without branches, and more where open branches are closed
    for it."""

    drafted_tokens: int = 0
    """Tokens that were fed as drafts, before it was known whether they are sampled."""
    accepted_tokens: int = 0
    """Drafted tokens that were sampled: each saved a step."""

    @property
    def decoded(self) -> int:
        return self.tokens if self.decoded_tokens is None else self.decoded_tokens

    @property
    def ideal_speedup(self) -> float:
        """Decoded tokens / steps: the gain on a machine whose steps cost the same at every width.

        An answer that was cut before its first branch is serial so far: 1, like any serial answer,
        or as much as drafts gained.
        """
        return _per_step(self.decoded, self.steps)

    @property
    def estimated_speedup(self) -> float | None:
        """Time that serial decoding would have taken, over the time taken; None without a measure.

        Prices every token of the answer at this answer's own mean step with a single lane.
        """
        single = self.steps - self.parallel_steps - 1  # the first step is the prompt's
        if single < 1 or not self.time_s:
            return None
        step_s = (self.time_s - self.ttft_s - self.parallel_s) / single
        return (self.ttft_s + (self.decoded - 1) * step_s) / self.time_s

    @property
    def tps(self) -> float:
        """Useful tokens a second over the whole answer."""
        return self.useful_tokens / self.time_s if self.time_s else 0.0

    @property
    def p_tps(self) -> float:
        """Useful tokens a second over the parallel stages only; 0 when there are none."""
        return self.parallel_useful_tokens / self.parallel_s if self.parallel_s else 0.0

    @property
    def markup_overhead(self) -> float:
        """1 - useful/tokens: the share of tokens that the reader does not see."""
        return 1 - self.useful_tokens / self.tokens if self.tokens else 0.0

    def as_dict(self) -> dict[str, float | None]:
        """All fields and derived measures, JSON-ready."""
        names = ("ideal_speedup", "estimated_speedup", "tps", "p_tps", "markup_overhead")
        derived = {name: getattr(self, name) for name in names}
        rounded = {name: None if v is None else round(v, 4) for name, v in derived.items()}
        return {**asdict(self), **rounded}


def structure(tree: TokenTree, layout: Layout) -> Structure:
    """Counts an answer. `layout`: that of `tree` with its end of turn and without its prompt."""
    blocks = list(_blocks(tree))
    return Structure(
        tokens=len(layout),
        useful_tokens=int(layout.useful.sum()),
        branch_tokens=int((layout.useful & (layout.lanes != MAIN)).sum()),
        title_tokens=sum(len(title) for block in blocks for title in block.titles),
        blocks=len(blocks),
        branches=sum(len(block.branches) for block in blocks),
    )


def _blocks(tree: TokenTree) -> Iterator[TokenBlock]:
    for part in tree:
        if isinstance(part, TokenBlock):
            yield part
            for branch in part.branches:
                yield from _blocks(branch.content)


Interval = tuple[float, float, float]
"""A measure over many answers and its bootstrap 95% interval: value, low, high."""


def parallelism(
    answers: Sequence[Structure], *, samples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """`ppd`, `dp`, `abn` and `ape` of many answers, each with its interval; NaN where undefined.

    DP, ABN and APE are ratios of sums: every token, or block, weighs the same in whatever answer
    it stands. The interval draws whole answers.
    """
    fields = ("tokens", "branch_tokens", "title_tokens", "blocks", "branches")
    counts = np.array([[getattr(a, f) for f in fields] for a in answers], dtype=float)
    tokens, branch, title, blocks, branches = counts.reshape(-1, len(fields)).T  # (N,) each
    parts = {
        "ppd": ((blocks > 0).astype(float), np.ones_like(blocks)),
        "dp": (branch, tokens),
        "abn": (branches, blocks),
        "ape": (branch - title, branch),
    }

    return {name: ratio(*sums, samples=samples, seed=seed) for name, sums in parts.items()}


def ratio(above: Array, below: Array, *, samples: int = 2000, seed: int = 0) -> Interval:
    """The sum of `above` over that of `below`, both (N,), with an interval that draws pairs."""

    def of(rows: Array) -> Array:
        at = rows.astype(int)
        total = below[at].sum(axis=-1)
        share: Array = above[at].sum(axis=-1) / np.where(total, total, np.nan)
        return share

    return bootstrap(range(len(above)), of, samples=samples, seed=seed)


def bootstrap(
    values: Sequence[float],
    statistic: Callable[[Array], Array] | None = None,
    *,
    samples: int = 2000,
    seed: int = 0,
) -> Interval:
    """A statistic of `values` and its bootstrap 95% interval (percentile).

    Args:
        statistic: maps (..., N) to (...); the mean when None. NaN where it is undefined: a draw
            that has none is left out, and without a value there is no interval.
    """
    data = np.asarray(values, dtype=float)
    reduce = statistic or (lambda rows: rows.mean(axis=-1))
    value = float(reduce(data)) if data.size else float("nan")
    if np.isnan(value):
        return value, value, value
    random = np.random.default_rng(seed)
    rows = max(1, _DRAWN_AT_ONCE // data.size)
    sizes = [min(rows, samples - done) for done in range(0, samples, rows)]
    drawn = [reduce(data[random.integers(0, data.size, (size, data.size))]) for size in sizes]
    low, high = np.nanpercentile(np.concatenate(drawn), [2.5, 97.5])
    return value, float(low), float(high)


def measure(document: Document, codec: Codec) -> Structure:
    """What an answer is made of, its end of turn left out."""
    tree = tokenize(document, codec)
    tokens, useful = _sizes(tree)
    blocks = list(_blocks(tree))
    return Structure(
        tokens=tokens,
        useful_tokens=useful,
        branch_tokens=useful - sum(len(part) for part in tree if not isinstance(part, TokenBlock)),
        title_tokens=sum(len(title) for block in blocks for title in block.titles),
        blocks=len(blocks),
        branches=sum(len(block.branches) for block in blocks),
    )


def _sizes(tree: TokenTree) -> tuple[int, int]:
    """All tokens of a tree, and those of its plain text, as its layout has them."""
    tokens = useful = 0
    for part in tree:
        if isinstance(part, TokenBlock):
            tokens += 2 + sum(len(title) + 2 for title in part.titles)
            for branch in part.branches:
                inside, seen = _sizes(branch.content)
                tokens += 2 + len(branch.lead) + inside
                useful += seen + (len(branch.lead) if part.form is not None else 0)
        else:
            tokens += len(part)
            useful += len(part)
    return tokens, useful


@dataclass(frozen=True, slots=True)
class BlockWorth:
    """What a fork is worth at best, and what it costs."""

    speedup: float
    """Tokens of the plain text over the steps that the block takes."""
    saved: float
    """Steps that it saves, for each token that it has beyond its plain text."""


def block_worth(block: Block, codec: Codec) -> BlockWorth:
    """What the fork of a block is worth."""
    tree = tokenize(Document((block,)), codec)
    tokens, useful = _sizes(tree)
    steps = _steps(tree)
    return BlockWorth(useful / steps, (useful - steps) / (tokens - useful))


def ideal_speedup(document: Document, codec: Codec) -> float:
    """Tokens over steps of an answer, end of turn included: the gain if steps cost the same."""
    tree = tokenize(document, codec)
    return _per_step(len(lay_out(tree, codec)) + 1, _steps(tree) + 1)


def _per_step(tokens: int, steps: int) -> float:
    return tokens / max(steps, 1)


def _steps(tree: TokenTree) -> int:
    """Steps on the longest path: one for each token that is sampled there, none for forced ones."""
    steps = 0
    for part in tree:
        if isinstance(part, TokenBlock):
            titles = sum(len(title) + 2 for title in part.titles)
            steps += titles + 1 + max(_steps(branch.content) + 1 for branch in part.branches)
        else:
            steps += len(part)
    return steps
