"""Steps through torch.compile: the model's own forward pass as one graph, for a CPU.

Between its products a model runs a thousand small operations, each of which costs some
microseconds of Python and of torch. Compiled, they are a few dozen loops of C++. What the graph
cannot hold are operators of ours: attention over the lane cache, which changes from step to step,
and products with weights in an order or a precision of a library's own.

Shapes: N tokens of a step, H heads, Hk key-value heads, D head size, V vocabulary.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from aspd_cli.engine.attention.lane_attention import attend
from aspd_cli.engine.attention.step_plan import WIDE, StepPlan, step
from aspd_cli.engine.checked_steps import CheckedSteps
from aspd_cli.engine.kv_cache import LaneCache, LaneLayer
from aspd_cli.engine.operators import operator
from aspd_cli.errors import ModelError

_SILENT = 8
"""Most tokens of a step that do not sample: each token of a compiled step gets logits."""

_CACHE: ContextVar[LaneCache] = ContextVar("aspd_cache")
"""The cache of the step under way."""


class CompiledSteps(CheckedSteps):
    """Runs narrow steps; prompts, bound by their products, stay with the model.

    Args:
        model: a causal language model with the engine's attention.
        cache_argument: what its forward pass calls its cache.
    """

    name = "compiled steps"

    def __init__(self, model: Any, layers: int, cache_argument: str) -> None:
        super().__init__()
        passing = _Passing(layers=[_PassingLayer() for _ in range(layers)])

        def forward(fed: Tensor) -> Tensor:
            """(2, N) ids and positions -> (N, V) logits"""
            arguments = {cache_argument: passing}
            outputs = model(fed[:1], position_ids=fed[1:], use_cache=True, **arguments)
            logits: Tensor = outputs.logits[0]
            return logits

        options: dict[str, Any] = {
            # Modules and settings do not change once a decoder has the model; to check that at
            # each step would take a millisecond.
            "guard_filter_fn": torch.compiler.keep_tensor_guards_unsafe,
            # The loops are small, and their threads would not be those of torch's products: two
            # pools that wait for work by spinning get in each other's way.
            "cpp.threads": 1,
            # Shapes of our operators' results, checked at each of some hundred calls.
            "size_asserts": False,
        }
        self._compiled = torch.compile(_own(forward), dynamic=True, fullgraph=True, options=options)

    def _suits(self, last: Sequence[int], cache: LaneCache, plan: StepPlan) -> bool:
        size = int(plan.fed.shape[1])
        return size <= WIDE and len(last) >= max(1, size - _SILENT)

    def _run(self, fed: Tensor, last: Sequence[int], cache: LaneCache, plan: StepPlan) -> Tensor:
        token = _CACHE.set(cache)
        try:
            with step(plan):
                logits: Tensor = self._compiled(fed)
        finally:
            _CACHE.reset(token)
        return logits if len(last) == len(logits) else logits[list(last)]


def check_compile(wanted: bool, device: torch.device) -> None:
    """Raises `ModelError` where steps are to be compiled and cannot be."""
    if not wanted:
        return
    if device.type != "cpu":
        raise ModelError(
            f"--compile is for a CPU: leave it out on {device.type}, where steps are recorded"
        )
    names = (os.environ.get("CXX"), "g++", "clang++", "cl")
    if not any(name and shutil.which(name) for name in names):
        raise ModelError("--compile needs a C++ compiler, such as g++: install one or leave it out")


def _own(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function with code of its own: by the code, torch knows what it has compiled, and without
    guards it would take one model's for another's."""
    assert isinstance(function, FunctionType)
    code, name = function.__code__.replace(), function.__name__
    return FunctionType(code, function.__globals__, name, closure=function.__closure__)


class _Passing(Cache):
    """The cache as a graph knows it: what is cached, the operator of attention does."""

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0


class _PassingLayer(CacheLayerMixin):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None: ...

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        return key_states, value_states

    def get_seq_length(self) -> int:
        return 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0

    def get_max_length(self) -> int:
        return -1


def _attend(
    query: Tensor,  # (1, H, N, D)
    key: Tensor,  # (1, Hk, N, D), of the step alone
    value: Tensor,
    layer: int,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """(1, N, H, D) what `attend` gives once keys and values are in the cache."""
    cached = _CACHE.get().layers[layer]
    assert isinstance(cached, LaneLayer)
    keys, values = cached.update(key, value)
    return attend(query, keys, values, scaling, window, softcap).contiguous()


def _attend_shape(query: Tensor, key: Tensor, value: Tensor, *rest: object) -> Tensor:
    return query.new_empty(1, query.shape[2], query.shape[1], value.shape[3])


operator(
    "attend(Tensor query, Tensor key, Tensor value, int layer, float? scaling, int? window, "
    "float? softcap) -> Tensor",
    _attend,
    _attend_shape,
)
