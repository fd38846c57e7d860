"""What the lanes of each row see, kept from step to step in the table that attention reads.

While the same lanes advance, a token each a step, nothing that they saw before changes: a step adds
the columns of its own tokens. Only a fork, a close, a merge or a new request starts afresh.

Shapes: R rows, Q lanes of a row that advance, K cached keys.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aspd_cli.core.visibility import LaneTree

_HIDDEN = np.float32(-1e30)
"""What a mask adds to the score of a key that is not seen: finite, so that even a query which sees
nothing has a softmax."""

_ROOM = 256
"""Columns beyond those needed, so that the table seldom grows."""


def additive(allowed: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The mask that is added to scores: zero where a key is seen."""
    return np.where(allowed, np.float32(0), _HIDDEN)


@dataclass(slots=True)
class _Known:
    """What the table holds of a row."""

    lanes: tuple[int, ...]
    keys: int
    is_full: bool
    pairs: NDArray[np.float32]  # (Q, Q) who sees whom, in general
    newest: NDArray[np.float32]  # (Q, Q) the same, of tokens of one step: none before its own


class MaskTable:
    """The masks of all rows of a cache: (R, Q, K), zero where a query sees a key."""

    def __init__(self, rows: int) -> None:
        self._table = np.zeros((rows, 0, 0), dtype=np.float32)
        self._known: dict[int, _Known] = {}

    def masks(self, first: int, last: int, queries: int, keys: int) -> NDArray[np.float32]:
        """(R, Q, K) of rows `first:last`; a view that the next step changes. What lies beyond a
        row's own queries means nothing, its own keys are the only ones seen."""
        return self._table[first:last, :queries, :keys]

    def sees_all(self, row: int) -> bool:
        """Whether a row's only lane sees every key."""
        return self._known[row].is_full

    def forget(self, row: int) -> None:
        """The row is another request's."""
        self._known.pop(row, None)

    def advance(
        self,
        row: int,
        lanes: tuple[int, ...],
        tree: LaneTree,
        keys: int,
        afresh: Callable[[], NDArray[np.bool_]],
    ) -> None:
        """Each of `lanes` has got one more token; `keys` counts them in.

        Args:
            afresh: the whole (Q, K), for when lanes have changed.
        """
        known, width = self._known.get(row), len(lanes)
        goes_on = known is not None and lanes == known.lanes and keys == known.keys + width
        if known is not None and goes_on and keys <= self._table.shape[2]:
            mask = self._table[row, :width]
            mask[:, known.keys - width : known.keys] = known.pairs
            mask[:, known.keys : keys] = known.newest
            known.keys = keys
            return
        index = np.array(lanes)
        pairs = tree.sees[index[:, None], index]
        newest = pairs & (np.arange(width) <= np.arange(width)[:, None])
        allowed = afresh()
        self.put(row, allowed)
        is_full = width == 1 and bool(allowed.all())
        self._known[row] = _Known(lanes, keys, is_full, additive(pairs), additive(newest))

    def put(self, row: int, allowed: NDArray[np.bool_]) -> None:
        """What the tokens of one step see, (Q, K), whatever lanes they are of."""
        width, keys = allowed.shape
        self._fit(width, keys)
        self._table[row, :width] = _HIDDEN
        self._table[row, :width, :keys] = additive(allowed)
        self.forget(row)

    def _fit(self, width: int, keys: int) -> None:
        rows, queries, capacity = self._table.shape
        if width > queries or keys > capacity:
            wider, longer = max(width, queries), keys + _ROOM if keys > capacity else capacity
            grown = np.full((rows, wider, longer), _HIDDEN)
            grown[:, :queries, :capacity] = self._table
            self._table = grown
