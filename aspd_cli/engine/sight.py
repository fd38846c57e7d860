"""What the lanes of one row see, kept from step to step.

While the same lanes advance, a token each a step, nothing that they saw before changes: a step adds
the columns of its own tokens. Only a fork, a close, a merge or a new request starts afresh.

Shapes: Q lanes that advance, K cached keys, F folded query groups.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ROOM = 256
"""Columns beyond those needed, so that few steps must start afresh for want of room."""


@dataclass(slots=True)
class _Bias:
    """The additive mask of one kind, and how far it has been written."""

    table: Tensor  # (F, Q, capacity)
    keys: int


class Sight:
    """The mask of one row's lanes; grows by columns."""

    def __init__(self) -> None:
        self.keys = 0
        """K: columns that are known."""
        self.is_full = False
        """Whether every lane sees every key."""
        self._lanes: tuple[int, ...] = ()
        self._pairs = np.zeros((0, 0), dtype=bool)  # (Q, Q) who sees whom, in general
        self._newest = self._pairs  # (Q, Q) the same, of tokens of one step: none before its own
        self._table = np.zeros((0, 0), dtype=bool)  # (Q, capacity)
        self._biases: dict[tuple[int, torch.dtype, torch.device], _Bias] = {}

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """(Q, K) which keys each lane's new token sees; a view that the next step changes."""
        return self._table[:, : self.keys]

    def advance(
        self,
        lanes: tuple[int, ...],
        sees: NDArray[np.bool_],
        keys: int,
        afresh: Callable[[], NDArray[np.bool_]],
    ) -> None:
        """Each of `lanes` has got one more token; `keys` counts them in.

        Args:
            sees: (L, L) whether tokens of two lanes may see each other.
            afresh: the whole (Q, K), for when lanes have changed.
        """
        width = len(lanes)
        goes_on = lanes == self._lanes and keys == self.keys + width
        if goes_on and keys <= self._table.shape[1]:
            self._table[:, self.keys - width : self.keys] = self._pairs
            self._table[:, self.keys : keys] = self._newest
            self.keys = keys
            return
        self._lanes, self.keys = lanes, keys
        self._pairs = sees[np.ix_(lanes, lanes)]
        self._newest = np.tril(self._pairs)
        self._table = np.zeros((width, keys + _ROOM), dtype=bool)
        self._table[:, :keys] = afresh()
        self.is_full = width == 1 and bool(self.allowed.all())
        self._biases.clear()

    def bias(self, fold: int, like: Tensor) -> Tensor:
        """(1, 1, F * Q, K) additive mask of the type and on the device of `like`; a view."""
        made = (fold, like.dtype, like.device)
        width, capacity = self._table.shape
        if made not in self._biases:
            table = torch.empty(fold, width, capacity, dtype=like.dtype, device=like.device)
            self._biases[made] = _Bias(table, keys=0)
        bias = self._biases[made]
        start = max(bias.keys - width, 0)  # the columns of the last step were none before its own
        least = torch.finfo(like.dtype).min
        columns = torch.from_numpy(np.where(self._table[:, start : self.keys], 0.0, least))
        bias.table[:, :, start : self.keys] = columns
        bias.keys = self.keys
        return bias.table.view(1, 1, fold * width, capacity)[..., : self.keys]
