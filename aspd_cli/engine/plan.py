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
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aspd_cli.engine.sight import Sight

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
    scatter: NDArray[np.int64]  # (n) index into R * Q of each token of the group
    tokens: NDArray[np.int64]  # (n) packed index of each token of the group
    made: dict[tuple[int, int, torch.device], tuple[Tensor, Tensor]] = field(default_factory=dict)

    def ways(self, heads: int, kv_heads: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """(R * Hk * G * Q) of (N, H) packed queries, (n * H) of (R, Hk, G, Q) answers."""
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
    allowed: NDArray[np.bool_] | None  # (R, Q, K); None: a fresh prompt, plainly causal
    query_positions: NDArray[np.int64]  # (R, Q)
    key_positions: NDArray[np.int64]  # (R, K)
    place: "slice | Padded"
    """Where the tokens stand in the step: a run of them where no row is padded."""
    sight: Sight | None = None
    """Where `allowed` comes from, when the group is one row and each of its lanes feeds a token."""
    masks: dict[tuple[int | None, int, torch.device], Tensor] = field(default_factory=dict)

    @property
    def keys(self) -> int:
        """K: cached keys that any of these rows may see."""
        return int(self.key_positions.shape[1])

    def is_causal(self, window: int | None) -> bool:
        """Whether plain causal attention is right: no lanes, and no window that cuts."""
        return self.allowed is None and (window is None or window >= self.keys)

    def sees_all(self, window: int | None) -> bool:
        """Whether a single lane sees every key, as the main lane does: no mask is needed."""
        return window is None and self.sight is not None and self.sight.is_full

    def mask(self, window: int | None, fold: int, like: Tensor) -> Tensor:
        """(R, 1, fold * Q, K) additive mask; made once a step, kind of layer and device."""
        made = (window, fold, like.device)
        if made not in self.masks and self.sight and window is None:
            self.masks[made] = self.sight.bias(fold, like)
        if made not in self.masks:
            blocked = torch.from_numpy(~self.seen(window)).to(like.device)
            self.masks[made] = folded_bias(blocked, fold, like)
        return self.masks[made]

    def seen(self, window: int | None) -> NDArray[np.bool_]:
        """(R, Q, K) which keys each query sees."""
        allowed = self.allowed
        if allowed is None:
            allowed = np.tri(self.query_positions.shape[1], self.keys, dtype=bool)[None]
        if window is not None:
            distance = self.query_positions[:, :, None] - self.key_positions[:, None, :]
            allowed = allowed & (distance < window)
        return allowed


def folded_bias(blocked: Tensor, fold: int, like: Tensor) -> Tensor:
    """(R, Q, K) -> (R, 1, fold * Q, K): an additive mask of the type of `like`."""
    bias = torch.zeros(blocked.shape, dtype=like.dtype, device=like.device)
    bias.masked_fill_(blocked, torch.finfo(like.dtype).min)
    return bias[:, None].repeat(1, 1, fold, 1)


@dataclass
class StepPlan:
    """Where the tokens of a step go in the cache, and what each of them sees."""

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
            widths = [span.stop - span.start for span in self.spans]
            rows = np.repeat([span.row for span in self.spans], widths)
            slots = [np.arange(w) + s.slot for s, w in zip(self.spans, widths, strict=True)]
            vectors = rows[:, None] * heads + np.arange(heads)
            found = vectors * capacity + np.concatenate(slots)[:, None]
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
