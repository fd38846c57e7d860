"""Keys and values of one layer in the lane cache.

Shapes: R rows, Hk key-value heads, N tokens of a step, D head size.
"""

from typing import TYPE_CHECKING, Any
from weakref import proxy

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

from aspd_cli.engine.plan import Plan, current

if TYPE_CHECKING:
    from aspd_cli.engine.cache import LaneCache


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
