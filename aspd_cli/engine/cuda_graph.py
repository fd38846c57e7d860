"""Steps of fixed shapes, recorded as CUDA graphs over the model's own forward pass.

On a GPU a narrow step takes as long as launching its kernels takes. A CUDA graph launches them at
once, but repeats what it recorded: the same shapes at the same addresses. So a step is laid out as
a grid of R rows and Q queries, Q a power of two; its attention looks at all slots of the cache
under a mask; and tokens that only fill the grid write to the cache's last slot, which nobody sees.

Shapes: R rows of the cache, Q queries of a row, N = R * Q, C slots of a row, n tokens of a step,
V vocabulary.
"""

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aspd_cli.engine.attention.step_plan import RowSpan, StepPlan
from aspd_cli.engine.checked_steps import CheckedSteps, Forward
from aspd_cli.engine.kv_cache import LaneCache

_MOST = 256
"""Most tokens of a grid; a step of more is bound by its work, not by launches. Each of them gets
logits, whether it samples or not."""


class GraphSteps(CheckedSteps):
    """Runs steps on grids, one for each shape that has come up."""

    name = "CUDA graphs"

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self._forward = forward
        self._grids: WeakKeyDictionary[LaneCache, dict[int, _Grid]] = WeakKeyDictionary()
        self._windows: frozenset[int | None] = frozenset()
        """Sliding windows of the model's layers, known once it has run a step; None stands for
        layers without one."""

    def _suits(self, last: Sequence[int], cache: LaneCache, plan: StepPlan) -> bool:
        return bool(last) and cache.rows * _queries(plan) <= _MOST

    def _run(self, fed: Tensor, last: Sequence[int], cache: LaneCache, plan: StepPlan) -> Tensor:
        self._windows |= plan.windows
        return self._grid(cache, _queries(plan))(fed, last, cache, plan, self._forward)

    def _grid(self, cache: LaneCache, queries: int) -> "_Grid":
        grids = self._grids.setdefault(cache, {})
        if queries not in grids or grids[queries].capacity < cache.capacity:
            cache.fit()
            grids[queries] = _Grid(cache, queries, self._windows)
        return grids[queries]

    def _refuse(self, reason: str, model: Callable[[], Tensor]) -> Tensor:
        self._grids.clear()
        return super()._refuse(reason, model)


def _queries(plan: StepPlan) -> int:
    """Q of the grid for a step."""
    width = max(span.stop - span.start for span in plan.spans)
    return 1 << (width - 1).bit_length()


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
