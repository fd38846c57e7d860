"""Attention of a step over the lane cache, as a `transformers` attention function.

A step is one packed sequence of N tokens of any lanes of any requests, so that linear layers
waste nothing on padding. Only attention knows rows: it runs once for all rows with few tokens
together, and once for each row with many (a prompt), on views of the cache.

Shapes: N tokens of the step, R rows (requests), Q queries of a row (padded), K cached keys,
H heads, Hk key-value heads, G = H / Hk, D head size.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AttentionInterface

from aspd_cli.engine.sight import Sight
from aspd_cli.errors import ModelError

NAME = "aspd"
"""The name under which the attention function is registered with transformers."""

WIDE = 64
"""A row with more tokens than this in a step gets an attention call of its own."""


_FOREIGN = {
    "s_aux": "attention sinks",
    "sinks": "attention sinks",
    "position_bias": "a position bias",
    "alibi": "ALiBi",
    "indices": "sparse attention",
    "block_indices": "sparse attention",
}
"""Arguments of attention functions that change what is attended to, and that we do not compute."""


@dataclass(frozen=True, slots=True)
class RowSpan:
    """The tokens of one row in a step: packed at `start:stop`, cached from slot `slot` on."""

    row: int
    start: int
    stop: int
    slot: int
    lanes: tuple[int, ...]
    """Of each token."""


@dataclass(frozen=True, slots=True)
class Padded:
    """How packed tokens become rows of equally many queries, and back."""

    gather: Tensor  # (R * Q) packed index of each query, padding included
    scatter: Tensor  # (n) index into R * Q of each token of the group
    tokens: Tensor  # (n) packed index of each token of the group


@dataclass
class RowGroup:
    """Rows `first:last` of the cache whose attention is one call."""

    first: int
    last: int
    allowed: NDArray[np.bool_] | None  # (R, Q, K); None: a fresh prompt, plainly causal
    query_positions: NDArray[np.int64]  # (R, Q)
    key_positions: NDArray[np.int64]  # (R, K)
    place: "slice | Padded"
    """Where the tokens stand in the step: a run of them when the group is one row."""
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
            queries, keys = self.query_positions.shape[1], self.keys
            allowed = self.allowed
            if allowed is None:
                allowed = np.tri(queries, keys, dtype=bool)[None]
            if window is not None:
                distance = self.query_positions[:, :, None] - self.key_positions[:, None, :]
                allowed = allowed & (distance < window)
            bias = torch.zeros(allowed.shape, dtype=like.dtype, device=like.device)
            blocked = torch.from_numpy(~allowed).to(like.device)
            bias.masked_fill_(blocked, torch.finfo(like.dtype).min)
            folded = bias[:, None, None].expand(-1, 1, fold, queries, keys)
            self.masks[made] = folded.reshape(-1, 1, fold * queries, keys)
        return self.masks[made]


@dataclass
class StepPlan:
    """Where the tokens of a step go in the cache, and what each of them sees."""

    spans: list[RowSpan]
    groups: list[RowGroup]
    windows: set[int | None] = field(default_factory=set)
    """Sliding windows that the model's layers have asked for."""

    @cached_property
    def index(self) -> tuple[Tensor, Tensor]:
        """(N), (N): row of each token, and its slot there."""
        widths = [span.stop - span.start for span in self.spans]
        rows = np.repeat([span.row for span in self.spans], widths)
        slots = [np.arange(w) + s.slot for s, w in zip(self.spans, widths, strict=True)]
        return torch.from_numpy(rows), torch.from_numpy(np.concatenate(slots))


_PLAN: ContextVar[StepPlan | None] = ContextVar("aspd_plan", default=None)
"""The step under way. Not a keyword argument of the model, because some families drop those."""


@contextmanager
def step(plan: StepPlan) -> Iterator[None]:
    """Calls of the model inside are the forward pass of this step."""
    token = _PLAN.set(plan)
    try:
        yield
    finally:
        _PLAN.reset(token)


def lane_attention(
    module: torch.nn.Module,
    query: Tensor,  # (1, H, N, D)
    key: Tensor,  # (rows of the cache, Hk, capacity, D)
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The registered attention function. Returns (1, N, H, D).

    Raises:
        ModelError: the family passes something that this function does not compute.
    """
    if _PLAN.get() is None:
        raise ModelError(
            f"{type(module).__name__} belongs to an aspd decoder: load a second copy to call it"
        )
    refuse_foreign(module, attention_mask, kwargs)
    return attend(query, key, value, scaling, sliding_window, softcap), None


def refuse_foreign(
    module: torch.nn.Module, attention_mask: Tensor | None, arguments: Mapping[str, Any]
) -> None:
    """Refuses what a family passes and no attention of ours computes. Raises `ModelError`."""
    for name, what in _FOREIGN.items():
        if arguments.get(name) is not None:
            raise ModelError(f"{type(module).__name__} uses {what}, which aspd does not compute")
    if attention_mask is not None:
        raise ModelError(f"{type(module).__name__} makes a mask of its own, which aspd would lose")


def attend(
    query: Tensor,  # (1, H, N, D)
    key: Tensor,  # (rows of the cache, Hk, capacity, D)
    value: Tensor,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """(1, N, H, D) what each token of the step under way attends to."""
    plan = _PLAN.get()
    assert plan is not None
    plan.windows.add(window)
    if len(plan.groups) == 1 and isinstance(plan.groups[0].place, slice):
        [group] = plan.groups
        return _attend_group(group, query, key, value, scaling, window, softcap)[None]
    out = query.new_empty(query.shape[2], query.shape[1], value.shape[-1])  # (N, H, D)
    for group in plan.groups:
        answer = _attend_group(group, query, key, value, scaling, window, softcap)
        if isinstance(group.place, slice):
            out[group.place] = answer
        else:
            place = group.place
            out[place.tokens.to(out.device)] = answer.index_select(0, place.scatter.to(out.device))
    return out[None]


def _attend_group(
    group: RowGroup,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """(R * Q, H, D) what the queries of a group's rows attend to."""
    heads, kv_heads = query.shape[1], key.shape[1]
    keys = key[group.first : group.last, :, : group.keys]  # (R, Hk, K, D), a view
    values = value[group.first : group.last, :, : group.keys]
    rows, place = group.last - group.first, group.place
    if isinstance(place, slice):
        q = query[:, :, place]  # (1, H, Q, D)
    else:
        q = query[0].index_select(1, place.gather.to(query.device))  # (H, R * Q, D)
        q = q.view(heads, rows, -1, q.shape[-1]).transpose(0, 1)  # (R, H, Q, D)
    queries, size = q.shape[2:]
    if softcap is None and group.is_causal(window):
        keys, values = _repeat(keys, heads), _repeat(values, heads)
        answer = _sdpa(q, keys, values, None, scaling, is_causal=True)
    elif queries > WIDE:
        mask = group.mask(window, 1, q)
        keys, values = _repeat(keys, heads), _repeat(values, heads)
        answer = _attend(q, keys, values, mask, scaling, softcap)
    else:
        # Few queries: folding the query groups into the query axis spares the copy of K and V.
        fold = heads // kv_heads
        folded = q.reshape(rows, kv_heads, fold * queries, size)
        if softcap is None and group.sees_all(window):
            answer = _sdpa(folded, keys, values, None, scaling)  # (R, Hk, G * Q, D)
        else:
            answer = _attend(folded, keys, values, group.mask(window, fold, q), scaling, softcap)
        answer = answer.reshape(rows, heads, queries, -1)
    return answer.transpose(1, 2).flatten(0, 1)


def _repeat(states: Tensor, heads: int) -> Tensor:
    """(R, Hk, K, D) -> (R, H, K, D)."""
    return states.repeat_interleave(heads // states.shape[1], dim=1)


def _sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    *,
    is_causal: bool = False,
) -> Tensor:
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=is_causal, scale=scaling
    )


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    scaling: float | None,
    softcap: float | None,
) -> Tensor:
    if softcap is None:
        return _sdpa(query, key, value, mask, scaling)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = softcap * torch.tanh(query @ key.transpose(-1, -2) * scale / softcap)
    return torch.softmax(scores + mask, dim=-1, dtype=torch.float32).to(query.dtype) @ value


AttentionInterface.register(NAME, lane_attention)
