"""The lane cache: one row of keys and values a request, filled in the order of decoding.

A row is append-only: no entry is computed twice, moved or discarded. Each entry is tagged with its
lane and position; what a token sees follows from the tags alone, so forking writes nothing and
copies nothing.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.cache_utils import Cache

from aspd_cli.core.visibility import LaneTree
from aspd_cli.engine.layer import LaneLayer
from aspd_cli.engine.plan import WIDE, Padded, RowGroup, RowSpan, StepPlan
from aspd_cli.engine.sight import Sight

_CALL = 2000
"""What a call of attention costs beyond its work, in pairs of a query and a key (measured on a CPU
with 8 heads; many more rows in a call hide it)."""

_AHEAD = 48
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
        self.sights = [Sight() for _ in range(rows)]
        self.tokens = np.zeros((rows, 0), dtype=np.int64)
        self.lanes = np.zeros((rows, 0), dtype=np.int64)
        self.positions = np.zeros((rows, 0), dtype=np.int64)
        self.forwards = 0
        """Steps planned since the cache was made."""
        self.writes = 0
        """Entries written since the cache was made: with no token computed twice, tokens fed."""

    def open_row(self, row: int) -> LaneTree:
        """Empties a row for a new request and gives its tree of lanes."""
        self.used[row] = 0
        self.trees[row] = LaneTree()
        self.sights[row] = Sight()
        return self.trees[row]

    def prepare(self, feeds: Sequence[Feed]) -> StepPlan:
        """Allots slots to the tokens of a step and says what each sees.

        Args:
            feeds: grouped by row, rows ascending; within a row in document order where one feed
                sees another (a token sees only slots up to its own).
        """
        spans: list[RowSpan] = []
        start = 0
        for row, fed in groupby(feeds, key=attrgetter("row")):
            ids: list[int] = []
            lanes: list[int] = []
            positions: list[int] = []
            for feed in fed:
                size = len(feed.ids)
                ids.extend(feed.ids)
                lanes.extend([feed.lane] * size)
                positions.extend(range(feed.position, feed.position + size))
            slot, size = self.used[row], len(ids)
            if (needed := slot + size) >= self.capacity:
                # More than it takes, so that copies amortise.
                self.reserve(needed + max(needed // 16, _AHEAD))
            self.tokens[row, slot : slot + size] = ids
            self.lanes[row, slot : slot + size] = lanes
            self.positions[row, slot : slot + size] = positions
            self.used[row] += size
            spans.append(RowSpan(row, start, start + size, slot, tuple(lanes)))
            start += size
        self.forwards += 1
        self.writes += start
        return StepPlan(spans, self._groups(spans))

    def _groups(self, spans: list[RowSpan]) -> list[RowGroup]:
        if len(spans) == 1:
            return [self._row_group(spans[0])]
        wide = self._wide(spans)
        narrow = [span for span in spans if span.row not in wide]
        groups = [self._row_group(span) for span in spans if span.row in wide]
        if len(narrow) == 1:
            groups.append(self._row_group(narrow[0]))
        elif narrow:
            groups.append(self._padded_group(narrow))
        return groups

    def _wide(self, spans: list[RowSpan]) -> set[int]:
        """The rows that get a call of their own, so that the others are padded less."""
        by_width = sorted((span.stop - span.start, span.row) for span in spans)[::-1]
        widths = [*(width for width, _ in by_width), 0]
        keys, rows = max(self.used[span.row] for span in spans), len(spans)

        def cost(own: int) -> int:
            return own * _CALL + (sum(widths[:own]) + (rows - own) * widths[own]) * keys

        least = sum(width > WIDE for width in widths)
        own = min(range(least, rows + 1), key=cost) if widths[0] > 1 else 0
        return {row for _, row in by_width[:own]}

    def _row_group(self, span: RowSpan) -> RowGroup:
        keys, size = self.used[span.row], span.stop - span.start
        fresh = span.slot == 0 and len(self.trees[span.row]) == 1
        positions = self.positions[span.row : span.row + 1, :keys]
        sight = None if fresh else self._sight(span)
        return RowGroup(
            span.row,
            span.row + 1,
            None if fresh else (sight.allowed if sight else self._allowed(span, keys))[None],
            query_positions=positions[:, keys - size :],
            key_positions=positions,
            place=slice(span.start, span.stop),
            sight=sight,
        )

    def _padded_group(self, spans: list[RowSpan]) -> RowGroup:
        first, last = spans[0].row, spans[-1].row + 1
        queries = max(span.stop - span.start for span in spans)
        keys = max(self.used[span.row] for span in spans)
        allowed = np.zeros((last - first, queries, keys), dtype=bool)
        allowed[:, :, 0] = True  # a padding row that sees nothing is NaN in some kernels
        query_positions = np.zeros((last - first, queries), dtype=np.int64)
        gather = np.zeros((last - first, queries), dtype=np.int64)
        scatter, tokens = [], []
        for span in spans:
            row, size = span.row - first, span.stop - span.start
            sight = self._sight(span)
            if sight:
                allowed[row, :size, : sight.keys] = sight.allowed
            else:
                allowed[row, :size] = self._allowed(span, keys)
            query_positions[row, :size] = self.positions[span.row, span.slot : span.slot + size]
            gather[row, :size] = np.arange(span.start, span.stop)
            scatter.append(np.arange(size) + row * queries)
            tokens.append(np.arange(span.start, span.stop))
        return RowGroup(
            first,
            last,
            allowed,
            query_positions,
            self.positions[first:last, :keys],
            Padded(gather, np.concatenate(scatter), np.concatenate(tokens)),
        )

    def _sight(self, span: RowSpan) -> Sight | None:
        """What the lanes of a span see, when each feeds one token; None when one feeds several."""
        if len(set(span.lanes)) < len(span.lanes):
            return None
        keys, sight = self.used[span.row], self.sights[span.row]
        sees = self.trees[span.row].sees
        sight.advance(span.lanes, sees, keys, afresh=lambda: self._allowed(span, keys))
        return sight

    def _allowed(self, span: RowSpan, keys: int) -> NDArray[np.bool_]:
        """(Q, K) which of a row's first `keys` entries its new tokens see."""
        slots = np.arange(span.slot, span.slot + span.stop - span.start)  # (Q)
        lanes, sees = self.lanes[span.row], self.trees[span.row].sees
        # Entries past the row's end hold tags of an earlier request; comparing slots hides them.
        known = np.minimum(lanes[:keys], len(sees) - 1)
        allowed: NDArray[np.bool_] = sees[lanes[slots]][:, known]
        return allowed & (np.arange(keys) <= slots[:, None])

    def reserve(self, entries: int) -> None:
        """Room for so many entries a row, and one slot that never holds one (`engine.fixed`)."""
        if entries < self.capacity:
            return
        capacity = -(-(entries + 1) // 32) * 32
        for name in ("tokens", "lanes", "positions"):
            grown = np.zeros((self.rows, capacity), dtype=np.int64)
            grown[:, : self.capacity] = getattr(self, name)
            setattr(self, name, grown)
        self.capacity = capacity

    def fit(self) -> None:
        """Grows keys and values of all layers to what has been reserved."""
        for layer in self.layers:
            assert isinstance(layer, LaneLayer)
            layer.fit()

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Entries of the fullest row; transformers asks when it is given no positions."""
        return max(self.used)
