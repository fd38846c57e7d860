"""Steps of fixed shapes, recorded as CUDA graphs over the model's own forward pass.

On a GPU a narrow step takes as long as launching its kernels takes. A CUDA graph launches them at
once, but repeats what it recorded: the same shapes at the same addresses. So a step is laid out as
a grid of R rows and Q queries, Q a power of two; its attention looks at all slots of the cache
under a mask; and tokens that only fill the grid write to the cache's last slot, which nobody sees.

Shapes: R rows of the cache, Q queries of a row, N = R * Q, C slots of a row, n tokens of a step,
V vocabulary.
"""

import logging
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aspd_cli.engine.attention.step_plan import Plan, RowSpan, StepPlan
from aspd_cli.engine.kv_cache import LaneCache

_MOST = 256
"""Most tokens of a grid; a step of more is bound by its work, not by launches. Each of them gets
logits, whether it samples or not."""

_TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference of a logit, over the largest logit."""

Forward = Callable[[Tensor, int, LaneCache, Plan], Tensor]
"""((2, N) ids and positions, tokens to keep at the end, cache, plan) -> (N, V) logits"""


class GraphSteps:
    """Runs steps on grids, one for each shape that has come up, and checks what they compute.

    The first, second, fourth, eighth ... step is run by the model as well and compared. Where they
    differ, or a step cannot be recorded, the model runs all further steps, with a warning.
    """

    def __init__(self, forward: Forward) -> None:
        self.steps = 0
        """Steps that had a grid."""
        self.refusal: str | None = None
        """Why grids were given up."""
        self._forward = forward
        self._grids: WeakKeyDictionary[LaneCache, dict[int, _Grid]] = WeakKeyDictionary()
        self._windows: frozenset[int | None] = frozenset()
        """Sliding windows of the model's layers, known once it has run a step; None stands for
        layers without one."""

    def __str__(self) -> str:
        if self.refusal is not None:
            return f"the forward pass of the model; CUDA graphs are off ({self.refusal})"
        return "CUDA graphs of the forward pass of the model"

    def __call__(
        self,
        fed: Tensor,
        last: Sequence[int],
        cache: LaneCache,
        plan: StepPlan,
        model: Callable[[], Tensor],
    ) -> Tensor:
        """(len(last), V) logits of a step.

        Args:
            fed: (2, n) ids and positions.
            last: which tokens sample.
            model: the same step by the model.
        """
        width = max(span.stop - span.start for span in plan.spans)
        queries = 1 << (width - 1).bit_length()
        if self.refusal is not None or cache.rows * queries > _MOST:
            return model()
        self.steps += 1
        is_compared = self.steps & (self.steps - 1) == 0
        expected = model() if is_compared else None
        self._windows |= plan.windows
        try:
            found = self._grid(cache, queries)(fed, last, cache, plan, self._forward)
        except Exception as error:  # of any kind: any modeling code may run here
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            return self._refuse(reason, model)
        if expected is None:
            return found
        off = float((found - expected).abs().max() / expected.abs().max())
        if not off <= _TOLERANCE.get(expected.dtype, 5e-2):
            return self._refuse(f"logits are off by {off:.2g} of the largest", model)
        return expected

    def _grid(self, cache: LaneCache, queries: int) -> "_Grid":
        grids = self._grids.setdefault(cache, {})
        if queries not in grids or grids[queries].capacity < cache.capacity:
            cache.fit()
            grids[queries] = _Grid(cache, queries, self._windows)
        return grids[queries]

    def _refuse(self, reason: str, model: Callable[[], Tensor]) -> Tensor:
        self.refusal = reason
        self._grids.clear()
        logging.getLogger("aspd").warning(
            "aspd: CUDA graphs are off for this model, decoding is slower: %s", reason
        )
        return model()  # puts right what the cache has got


class _FixedGroup:
    """All rows of a grid; a `Group` whose mask is a buffer on the device."""

    def __init__(self, rows: int, queries: int, keys: int, blocked: dict[int | None, Tensor]):
        self.first, self.last, self.keys = 0, rows, keys
        self.place = slice(0, rows * queries)
        self._blocked = blocked
        self._masks: dict[tuple[int | None, int], Tensor] = {}

    def is_causal(self, window: int | None) -> bool:
        return False

    def sees_all(self, window: int | None) -> bool:
        return False

    def mask(self, window: int | None, fold: int, like: Tensor) -> Tensor:
        """(R, 1, fold * Q, C), as of `RowGroup`."""
        if (window, fold) not in self._masks:
            blocked = self._blocked[window]
            bias = torch.zeros(blocked.shape, dtype=like.dtype, device=like.device)
            bias.masked_fill_(blocked, torch.finfo(like.dtype).min)
            self._masks[window, fold] = bias[:, None].repeat(1, 1, fold, 1)
        return self._masks[window, fold]


class _FixedPlan:
    """A grid under way; a `Plan` whose places in the cache are a buffer on the device."""

    def __init__(self, slots: Tensor, group: _FixedGroup) -> None:
        self.spans: list[RowSpan] = []
        self.groups = [group]
        self.windows: set[int | None] = set()
        self._slots = slots  # (R, Q)
        self._places: dict[tuple[int, int, torch.device], Tensor] = {}

    def places(self, heads: int, capacity: int, device: torch.device) -> Tensor:
        made = (heads, capacity, device)
        if made not in self._places:
            rows = torch.arange(len(self._slots), device=device)[:, None, None] * heads
            vectors = rows + torch.arange(heads, device=device)  # (R, 1, Hk)
            self._places[made] = (vectors * capacity + self._slots[..., None]).reshape(-1)
        return self._places[made]


class _Grid:
    """A step of one shape: where its inputs lie, and, on a GPU, what was recorded."""

    def __init__(self, cache: LaneCache, queries: int, windows: frozenset[int | None]) -> None:
        rows, slots, device = cache.rows, cache.capacity, cache.device
        self.rows, self.queries, self.capacity = rows, queries, slots
        self.fed = torch.zeros(2, rows * queries, dtype=torch.long, device=device)
        self.slots = torch.zeros(rows, queries, dtype=torch.long, device=device)
        self.blocked = {
            window: torch.zeros(rows, queries, slots, dtype=torch.bool, device=device)
            for window in windows
        }
        self._graph: torch.cuda.CUDAGraph | None = None
        self._logits = self.fed  # (N, V) once recorded

    def __call__(
        self, fed: Tensor, last: Sequence[int], cache: LaneCache, plan: StepPlan, forward: Forward
    ) -> Tensor:
        """(len(last), V) logits."""
        where = self._fill(fed, plan)
        return self._step(cache, forward)[torch.from_numpy(where[list(last)]).to(fed.device)]

    def _fill(self, fed: Tensor, plan: StepPlan) -> NDArray[np.int64]:
        """Copies a step to the buffers; (n) where each of its tokens stands in the grid."""
        where = np.zeros(fed.shape[1], dtype=np.int64)
        slots = np.full((self.rows, self.queries), self.capacity - 1)
        for span in plan.spans:
            size = span.stop - span.start
            where[span.start : span.stop] = span.row * self.queries + np.arange(size)
            slots[span.row, :size] = span.slot + np.arange(size)
        self.fed[:, torch.from_numpy(where).to(fed.device)] = fed
        self.slots.copy_(torch.from_numpy(slots))
        for window, buffer in self.blocked.items():
            allowed = np.zeros(buffer.shape, dtype=bool)
            # A group of several rows has rows between its own that belong to others: those last.
            for group in sorted(plan.groups, key=lambda group: group.first - group.last):
                seen = group.seen(window)
                _, queries, keys = seen.shape
                allowed[group.first : group.last, :queries, :keys] = seen
            allowed[~allowed.any(-1), 0] = True  # what sees nothing is NaN in some kernels
            buffer.copy_(torch.from_numpy(~allowed))
        return where

    def _step(self, cache: LaneCache, forward: Forward) -> Tensor:
        """(N, V) logits of what the buffers hold."""
        if cache.device.type != "cuda":
            return self._run(cache, forward)
        if self._graph is None:
            with torch.cuda.device(cache.device):
                self._graph = self._record(cache, forward)
        self._graph.replay()
        return self._logits

    def _record(self, cache: LaneCache, forward: Forward) -> torch.cuda.CUDAGraph:
        """The graph of a step; it leaves its result in `_logits`."""
        here, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        # First once as it is: libraries set themselves up, which must not be recorded.
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            self._run(cache, forward)
        here.wait_stream(aside)
        # Other threads may use the device meanwhile; and a recording that fails would not leave
        # its stream by itself.
        recording = torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local")
        with torch.cuda.stream(here), recording:
            self._logits = self._run(cache, forward)
        return graph

    def _run(self, cache: LaneCache, forward: Forward) -> Tensor:
        group = _FixedGroup(self.rows, self.queries, self.capacity, self.blocked)
        plan = _FixedPlan(self.slots, group)
        return forward(self.fed, self.fed.shape[1], cache, plan)
