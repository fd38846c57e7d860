"""The lane cache: one row of keys and values a request, filled in the order of decoding.

A row is append-only: no entry is computed twice, moved or discarded, but for those of wrong drafts,
which no other token has seen. Each entry is tagged with its lane and position; what a token sees
follows from the tags alone, so forking writes nothing and copies nothing. `LaneCache` is what
transformers takes for a cache; `LaneLayer` holds the tensors of one of its layers.

Shapes: R rows, N tokens of a step, Hk key-value heads, D head size.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple
from weakref import proxy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from aspd_cli.core.visibility import LaneTree
from aspd_cli.engine.attention.mask_table import MaskTable, additive
from aspd_cli.engine.attention.step_plan import (
    WIDE,
    Padded,
    Plan,
    RowGroup,
    RowSpan,
    StepPlan,
    current,
    runs,
)

_CALL, _PADDED = 3000, 9000
"""What a call of attention costs beyond its work, for one row and for several, in pairs of a query
and a key (measured on a CPU with 8 heads)."""

_AHEAD = 128
"""Least slots of a row that are reserved beyond those needed."""


class Feed(NamedTuple):
    """Tokens that one lane of one request feeds in a step, on consecutive positions."""

    row: int
    lane: int
    ids: Sequence[int]
    position: int


class LaneCache(Cache):
    """Keys and values of R requests, and the tags that say who sees whom."""

    def __init__(self, layers: int, rows: int, device: torch.device) -> None:
        super().__init__(layers=[LaneLayer(self) for _ in range(layers)])
        self.device = device
        self.rows = rows
        self.capacity = 0
        self.used = [0] * rows
        self.trees: list[LaneTree] = [LaneTree() for _ in range(rows)]
        self.mask_table = MaskTable(rows)
        self._tags = np.zeros((3, rows, 0), dtype=np.int64)
        self.tokens, self.lanes, self.positions = self._tags  # (R, capacity) each, views
        self.forwards = 0
        """Steps planned since the cache was made."""
        self.writes = 0
        """Entries written since the cache was made: with no token computed twice, tokens fed."""
        self.taken_back = 0
        """Those of them that were wrong drafts."""

    def open_row(self, row: int) -> LaneTree:
        """Empties a row for a new request and gives its tree of lanes."""
        self.used[row] = 0
        self.trees[row] = LaneTree()
        self.mask_table.forget(row)
        return self.trees[row]

    def prepare(self, feeds: Sequence[Feed]) -> StepPlan:
        """Allots slots to the tokens of a step and says what each sees.

        Args:
            feeds: grouped by row, rows ascending; within a row in document order where one feed
                sees another (a token sees only slots up to its own).
        """
        spans: list[RowSpan] = []
        tags: tuple[list[int], list[int], list[int]] = ([], [], [])
        ids, lanes, positions = tags
        start = 0
        for row, fed in groupby(feeds, key=attrgetter("row")):
            for _, lane, written, position in fed:
                ids.extend(written)
                lanes.extend([lane] * len(written))
                positions.extend(range(position, position + len(written)))
            stop, slot = len(ids), self.used[row]
            spans.append(RowSpan(row, start, stop, slot, tuple(lanes[start:])))
            self.used[row] = needed = slot + stop - start
            if needed >= self.capacity:
                # More than it takes, so that copies amortise.
                self.reserve(needed + max(needed // 16, _AHEAD))
            start = stop
        tagged = np.array(tags)
        for row, start, stop, slot, _ in spans:
            self._tags[:, row, slot : slot + stop - start] = tagged[:, start:stop]
        self.forwards += 1
        self.writes += len(ids)
        return StepPlan(tagged[::2], spans, self._groups(spans, tagged[2]))

    def take_back(self, row: int, entries: int) -> None:
        """Forgets the newest entries of a row, wrong drafts: the next step writes over them."""
        self.used[row] -= entries
        self.taken_back += entries
        self.mask_table.forget(row)

    def _groups(self, spans: list[RowSpan], positions: NDArray[np.int64]) -> list[RowGroup]:
        if len(spans) == 1:
            return [self._row_group(spans[0])]
        apart = self._apart(spans)
        groups = [self._row_group(span) for span in apart]
        together = [span for span in spans if span not in apart] if apart else spans
        return [self._padded_group(together, positions), *groups] if together else groups

    def _apart(self, spans: list[RowSpan]) -> list[RowSpan]:
        """The spans that get a call of their own, the widest, so that the others are padded less.

        The call of the others takes in what rows of other requests lie between theirs.
        """
        by_width = sorted(spans, key=lambda span: span.start - span.stop)
        widths = [span.stop - span.start for span in by_width]
        keys = max(self.used[span.row] for span in spans)
        least = sum(width > WIDE for width in widths)
        first, last = spans[-1].row, spans[0].row
        pairs = sum(widths)
        best, own = len(spans) * _CALL + pairs * keys, len(spans)
        for number in range(len(spans) - 1, least - 1, -1):
            width, row = widths[number], by_width[number].row
            first, last, pairs = min(first, row), max(last, row), pairs - width
            cost = number * _CALL + _PADDED + (pairs + (last - first + 1) * width) * keys
            # One that is left alone gets a call of its own as well.
            if cost <= best and number < len(spans) - 1:
                best, own = cost, number
        return by_width[:own]

    def _row_group(self, span: RowSpan) -> RowGroup:
        row, keys, size = span.row, self.used[span.row], span.stop - span.start
        bias, advances = None, False
        if span.slot or len(self.trees[row]) > 1:
            advances = self._advance(span)
            bias = (
                self.mask_table.masks(row, row + 1, size, keys)
                if advances
                else additive(self._allowed(span, keys))[None]
            )
        positions = self.positions[row : row + 1, :keys]
        return RowGroup(
            row,
            row + 1,
            bias,
            query_positions=positions[:, keys - size :],
            key_positions=positions,
            place=slice(span.start, span.stop),
            is_full=advances and self.mask_table.sees_all(row),
        )

    def _padded_group(self, spans: list[RowSpan], positions: NDArray[np.int64]) -> RowGroup:
        first, last = spans[0].row, spans[-1].row + 1
        widths = [span.stop - span.start for span in spans]
        rows, queries = last - first, max(widths)
        keys = max(self.used[span.row] for span in spans)
        for span in spans:
            if not self._advance(span):
                self.mask_table.put(span.row, self._allowed(span, keys))
        tokens = runs([span.start for span in spans], widths)
        places = runs([(span.row - first) * queries for span in spans], widths)
        gather = np.zeros((rows, queries), dtype=np.int64)
        scatter = np.zeros(len(positions), dtype=np.int64)
        gather.flat[places], scatter[tokens] = tokens, places
        return RowGroup(
            first,
            last,
            self.mask_table.masks(first, last, queries, keys),
            positions[gather],
            self.positions[first:last, :keys],
            Padded(gather, scatter),
        )

    def _advance(self, span: RowSpan) -> bool:
        """Keeps up what the lanes of a span see, where each of them feeds one token."""
        row, lanes = span.row, span.lanes
        if len(set(lanes)) < len(lanes):
            return False
        keys, tree = self.used[row], self.trees[row]
        self.mask_table.advance(row, lanes, tree, keys, afresh=lambda: self._allowed(span, keys))
        return True

    def _allowed(self, span: RowSpan, keys: int) -> NDArray[np.bool_]:
        """(Q, K) which of a row's first `keys` entries its new tokens see."""
        slots = np.arange(span.slot, span.slot + span.stop - span.start)  # (Q)
        lanes, sees = self.lanes[span.row], self.trees[span.row].sees
        # Entries past the row's end hold tags of an earlier request; comparing slots hides them.
        known = np.minimum(lanes[:keys], len(sees) - 1)
        allowed: NDArray[np.bool_] = sees[lanes[slots]][:, known]
        return allowed & (np.arange(keys) <= slots[:, None])

    def reserve(self, entries: int) -> None:
        """Room for so many entries a row, and a slot that stays empty (`engine.cuda_graph`)."""
        if entries < self.capacity:
            return
        capacity = -(-(entries + 1) // 32) * 32
        grown = np.zeros((3, self.rows, capacity), dtype=np.int64)
        grown[:, :, : self.capacity] = self._tags
        self._tags, self.capacity = grown, capacity
        self.tokens, self.lanes, self.positions = grown

    def fit(self) -> None:
        """Grows keys and values of all layers to what has been reserved."""
        for layer in self.layers:
            assert isinstance(layer, LaneLayer)
            layer.fit()

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Entries of the fullest row; transformers asks when it is given no positions."""
        return max(self.used)


class LaneLayer(CacheLayerMixin):
    """Keys and values of one layer: (R, Hk, capacity, D) each, made at the first step."""

    def __init__(self, cache: "LaneCache") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Weakly, so that keys and values go with their cache, and at once.
        self.cache: LaneCache = proxy(cache)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        # Zeros, not garbage: a masked key still meets the softmax, and 0 * NaN is NaN.
        self.keys = self._empty(key_states).zero_()
        self.values = self._empty(value_states).zero_()
        self.is_initialized = True

    def _empty(self, like: Tensor) -> Tensor:
        shape = (self.cache.rows, like.shape[1], self.cache.capacity, like.shape[3])
        return torch.empty(shape, dtype=like.dtype, device=like.device)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Writes a step's (1, Hk, N, D) keys and values; gives the whole (R, Hk, capacity, D)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        plan = current()
        assert plan is not None
        self.fit()
        if len(plan.spans) == 1:
            span = plan.spans[0]
            slots = slice(span.slot, span.slot + span.stop - span.start)
            self.keys[span.row, :, slots] = key_states[0]
            self.values[span.row, :, slots] = value_states[0]
        else:
            _scatter(self.keys, plan, key_states)
            _scatter(self.values, plan, value_states)
        return self.keys, self.values

    def fit(self) -> None:
        """Grows to what the cache holds by now."""
        if self.keys is not None and self.keys.shape[2] < self.cache.capacity:
            assert self.values is not None
            self.keys, self.values = self._grown(self.keys), self._grown(self.values)

    def _grown(self, old: Tensor) -> Tensor:
        new = self._empty(old)
        new[:, :, : old.shape[2]] = old
        new[:, :, old.shape[2] :] = 0
        return new

    def get_seq_length(self) -> int:
        return self.cache.get_seq_length()

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.cache.capacity, 0

    def get_max_length(self) -> int:
        return -1


def _scatter(cached: Tensor, plan: Plan, states: Tensor) -> None:
    """Writes (1, Hk, N, D) states to the places of a step in (R, Hk, capacity, D)."""
    _, heads, capacity, size = cached.shape
    places = plan.places(heads, capacity, cached.device)
    cached.view(-1, size).index_copy_(0, places, states[0].transpose(0, 1).reshape(-1, size))
