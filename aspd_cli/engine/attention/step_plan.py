"""Where the tokens of a step stand: in the step, in the lane cache, and who sees whom.

A step is one packed sequence of N tokens of any lanes of any requests, so that linear layers
waste nothing on padding. Only attention knows rows.

Shapes: N tokens of the step, R rows (requests), Q queries of a row (padded), K cached keys,
Hk key-value heads.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aspd_cli.engine.attention.mask_table import additive

WIDE = 64
"""A row with more tokens than this in a step gets an attention call of its own."""


class RowSpan(NamedTuple):
    """The tokens of one row in a step: packed at `start:stop`, cached from slot `slot` on."""

    row: int
    start: int
    stop: int
    slot: int
    lanes: tuple[int, ...]
    """Of each token."""


@dataclass(frozen=True, slots=True)
class Padded:
    """How packed tokens become rows of equally many queries, and back.

    Both ways are one look-up in a list of vectors, a vector a token and head; G query heads share a
    key-value head, and stand side by side with the queries of their row.
    """

    gather: NDArray[np.int64]  # (R, Q) packed index of each query, padding included
    scatter: NDArray[np.int64]  # (N) index into R * Q of each token; any, for those of other groups
    made: dict[tuple[int, int, torch.device], tuple[Tensor, Tensor]] = field(default_factory=dict)

    def ways(self, heads: int, kv_heads: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """(R * Hk * G * Q) of (N, H) packed queries, (N * H) of (R, Hk, G, Q) answers."""
        key = (heads, kv_heads, device)
        if key not in self.made:
            queries = self.gather.shape[1]
            head = np.arange(heads).reshape(1, kv_heads, -1, 1)
            there = self.gather[:, None, None] * heads + head
            row, query = np.divmod(self.scatter[:, None], queries)
            back = (row * heads + np.arange(heads)) * queries + query
            ways = (torch.from_numpy(way.reshape(-1)).to(device) for way in (there, back))
            self.made[key] = (next(ways), next(ways))
        return self.made[key]


class Group(Protocol):
    """What attention asks of rows whose attention is one call; `RowGroup` says what it means."""

    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...
    @property
    def keys(self) -> int: ...
    @property
    def place(self) -> "slice | Padded": ...
    def is_causal(self, window: int | None) -> bool: ...
    def sees_all(self, window: int | None) -> bool: ...
    def mask(self, window: int | None, fold: int, like: Tensor) -> Tensor: ...


class Plan(Protocol):
    """What attention and cache ask of a step; `StepPlan` says what it means."""

    @property
    def spans(self) -> Sequence[RowSpan]: ...
    @property
    def groups(self) -> Sequence[Group]: ...
    @property
    def windows(self) -> set[int | None]: ...
    def places(self, heads: int, capacity: int, device: torch.device) -> Tensor: ...


@dataclass
class RowGroup:
    """Rows `first:last` of the cache whose attention is one call."""

    first: int
    last: int
    bias: NDArray[np.float32] | None
    """(R, Q, K) zero where a query sees a key; None: a fresh prompt, plainly causal."""
    query_positions: NDArray[np.int64]  # (R, Q)
    key_positions: NDArray[np.int64]  # (R, K)
    place: "slice | Padded"
    """Where the tokens stand in the step: a run of them where no row is padded."""
    is_full: bool = False
    """Whether each query sees every key, as those of the main lane alone do."""
    masks: dict[tuple[int | None, int, torch.device], Tensor] = field(default_factory=dict)

    @property
    def keys(self) -> int:
        """K: cached keys that any of these rows may see."""
        return int(self.key_positions.shape[1])

    def is_causal(self, window: int | None) -> bool:
        """Whether plain causal attention is right: no lanes, and no window that cuts."""
        return self.bias is None and (window is None or window >= self.keys)

    def sees_all(self, window: int | None) -> bool:
        """Whether no mask is needed."""
        return self.is_full and window is None

    def mask(self, window: int | None, fold: int, like: Tensor) -> Tensor:
        """(R, 1, fold * Q, K) additive mask; made once a step, kind of layer and device."""
        made = (window, fold, like.device)
        if made not in self.masks:
            plain = window is None and self.bias is not None
            bias = self.bias if plain else additive(self.seen(window))
            mask = torch.from_numpy(bias).to(like)[:, None]
            self.masks[made] = mask if fold == 1 else mask.repeat(1, 1, fold, 1)
        return self.masks[made]

    def seen(self, window: int | None) -> NDArray[np.bool_]:
        """(R, Q, K) which keys each query sees."""
        if self.bias is None:
            allowed = np.tri(self.query_positions.shape[1], self.keys, dtype=bool)[None]
        else:
            allowed = self.bias == 0
        if window is not None:
            distance = self.query_positions[:, :, None] - self.key_positions[:, None, :]
            allowed = allowed & (distance < window)
        return allowed


def runs(firsts: Sequence[int], widths: Sequence[int]) -> NDArray[np.int64]:
    """first, first + 1, ... for each width, one run behind the other."""
    numbered = (range(first, first + w) for first, w in zip(firsts, widths, strict=True))
    return np.fromiter(chain.from_iterable(numbered), dtype=np.int64)


@dataclass
class StepPlan:
    """Where the tokens of a step go in the cache, and what each of them sees."""

    fed: NDArray[np.int64]  # (2, N) ids and positions
    spans: list[RowSpan]
    groups: list[RowGroup]
    windows: set[int | None] = field(default_factory=set)
    """Sliding windows that the model's layers have asked for."""
    _places: dict[tuple[int, int, torch.device], Tensor] = field(default_factory=dict)

    def places(self, heads: int, capacity: int, device: torch.device) -> Tensor:
        """(N * Hk) where each token's vector for each head goes in a cache seen as one list of
        vectors; the same for all layers of a shape."""
        made = (heads, capacity, device)
        if made not in self._places:
            firsts = [span.row * heads * capacity + span.slot for span in self.spans]
            widths = [span.stop - span.start for span in self.spans]
            found = runs(firsts, widths)[:, None] + np.arange(heads) * capacity
            self._places[made] = torch.from_numpy(found.reshape(-1)).to(device)
        return self._places[made]


_PLAN: ContextVar[Plan | None] = ContextVar("aspd_plan", default=None)
"""The step under way. Not a keyword argument of the model, because some families drop those."""


@contextmanager
def step(plan: Plan) -> Iterator[None]:
    """Calls of the model inside are the forward pass of this step."""
    token = _PLAN.set(plan)
    try:
        yield
    finally:
        _PLAN.reset(token)


def current() -> Plan | None:
    """The step under way, if one is."""
    return _PLAN.get()
