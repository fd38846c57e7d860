"""The measures of DESIGN 7: one definition each, used wherever a number is reported."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from aspd_cli.core.layout import Layout, TokenBlock, TokenTree
from aspd_cli.core.visibility import MAIN


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

    @property
    def ideal_speedup(self) -> float:
        """tokens / steps: what a machine would gain whose steps cost the same at every width."""
        return self.tokens / max(self.steps, 1)

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

    def as_dict(self) -> dict[str, float]:
        """All fields and derived measures, JSON-ready."""
        derived = {
            name: round(float(getattr(self, name)), 4)
            for name in ("ideal_speedup", "tps", "p_tps", "markup_overhead")
        }
        return {**asdict(self), **derived}


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


def bootstrap(
    values: Sequence[float],
    statistic: Callable[[np.ndarray], np.ndarray] | None = None,
    *,
    samples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """(value, low, high): a statistic of `values` and its bootstrap 95% interval (percentile).

    Args:
        statistic: maps (..., N) to (...); the mean when None.
    """
    data = np.asarray(values, dtype=float)
    if data.size == 0:
        return float("nan"), float("nan"), float("nan")
    reduce = statistic or (lambda rows: rows.mean(axis=-1))
    draws = np.random.default_rng(seed).integers(0, data.size, (samples, data.size))
    low, high = np.percentile(reduce(data[draws]), [2.5, 97.5])
    return float(reduce(data)), float(low), float(high)
