"""Attention of a step over the lane cache, as a `transformers` attention function.

A step is one packed sequence of N tokens of any lanes of any requests, so that linear layers
waste nothing on padding. Only attention knows rows: it runs once for all rows with few tokens
together, and once for each row with many (a prompt), on views of the cache.

Shapes: N tokens of the step, R rows (requests), Q queries of a row (padded), K cached keys,
H heads, Hk key-value heads, G = H / Hk, D head size.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from aspd_cli.engine.attention.step_plan import WIDE, Group, Padded, current
from aspd_cli.errors import ModelError

NAME = "aspd"
"""The name under which the attention function is registered with transformers."""

_SMALL = 2**14
"""Scores of a head up to which plain products of several rows are faster on a CPU than sdpa."""

_FOREIGN = {
    "s_aux": "attention sinks",
    "sinks": "attention sinks",
    "position_bias": "a position bias",
    "alibi": "ALiBi",
    "indices": "sparse attention",
    "block_indices": "sparse attention",
}
"""Arguments of attention functions that change what is attended to, and that we do not compute."""


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
    if torch.compiler.is_compiling():
        # The operator of `engine.compiled_steps`; what it refuses has been refused by then.
        layer = module.layer_idx
        arguments = (layer, scaling, sliding_window, softcap)
        return torch.ops.aspd.attend(query, key, value, *arguments), None
    if current() is None:
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
            raise ModelError(f"{type(module).__name__} uses {what}, which aspd does not support")
    if attention_mask is not None:
        raise ModelError(f"{type(module).__name__} makes its own mask: aspd cannot use it")


def attend(
    query: Tensor,  # (1, H, N, D)
    key: Tensor,  # (rows of the cache, Hk, capacity, D)
    value: Tensor,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """(1, N, H, D) what each token of the step under way attends to."""
    plan = current()
    assert plan is not None
    plan.windows.add(window)
    first, *others = plan.groups
    out = _attend_group(first, query, key, value, scaling, window, softcap)
    if not others:
        return out[None]
    if isinstance(first.place, slice):  # otherwise it has room for all tokens
        part, out = out, query.new_empty(query.shape[2], query.shape[1], value.shape[-1])
        out[first.place] = part
    for group in others:
        assert isinstance(group.place, slice)
        out[group.place] = _attend_group(group, query, key, value, scaling, window, softcap)
    return out[None]


def _attend_group(
    group: Group,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """(n, H, D) what the tokens of a group attend to; of rows that are padded (N, H, D), with room
    for the tokens of other groups."""
    _, heads, _, size = query.shape
    kv_heads, rows, place = key.shape[1], group.last - group.first, group.place
    fold = heads // kv_heads
    keys = key[group.first : group.last, :, : group.keys]  # (R, Hk, K, D), a view
    values = value[group.first : group.last, :, : group.keys]
    if isinstance(place, Padded):
        there, back = place.ways(heads, kv_heads, query.device)
        listed = query.transpose(1, 2).reshape(-1, size)  # (N * H, D)
        folded = listed.index_select(0, there).view(rows, kv_heads, -1, size)
        answer = _attend(folded, keys, values, group, window, fold, scaling, softcap)
        listed = answer.reshape(-1, answer.shape[-1])
        return listed.index_select(0, back).view(-1, heads, answer.shape[-1])
    q = query[:, :, place]  # (1, H, R * Q, D)
    if rows > 1:
        q = q.view(heads, rows, -1, size).transpose(0, 1)  # (R, H, Q, D)
    queries = q.shape[2]
    if softcap is None and group.is_causal(window):
        keys, values = _repeat(keys, heads), _repeat(values, heads)
        answer = _sdpa(q, keys, values, None, scaling, is_causal=True)
    elif queries > WIDE:
        keys, values = _repeat(keys, heads), _repeat(values, heads)
        answer = _attend(q, keys, values, group, window, 1, scaling, softcap)
    else:
        # Few queries: folding the query groups into the query axis spares the copy of K and V.
        folded = q.reshape(rows, kv_heads, fold * queries, size)
        if softcap is None and group.sees_all(window):
            answer = _sdpa(folded, keys, values, None, scaling)  # (R, Hk, G * Q, D)
        else:
            answer = _attend(folded, keys, values, group, window, fold, scaling, softcap)
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
    query: Tensor,  # (R, heads, F * Q, D), F query groups that stand side by side
    key: Tensor,  # (R, heads, K, D)
    value: Tensor,
    group: Group,
    window: int | None,
    fold: int,
    scaling: float | None,
    softcap: float | None,
) -> Tensor:
    rows, heads, queries, size = query.shape
    by_products = rows > 1 and queries * key.shape[2] <= _SMALL and query.device.type == "cpu"
    if softcap is None and not by_products:
        return _sdpa(query, key, value, group.mask(window, fold, query), scaling)
    mask = group.mask(window, 1, query)[:, :, None]  # (R, 1, 1, Q, K)
    scale = size**-0.5 if scaling is None else scaling
    scores = query @ key.transpose(-1, -2)
    scores = scores.view(rows, heads, fold, queries // fold, -1)
    if softcap is None:
        scores = torch.add(mask, scores, alpha=scale)
    else:
        scores = softcap * torch.tanh(scores * scale / softcap) + mask
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    return weights.view(rows, heads, queries, -1) @ value


AttentionInterface.register(NAME, lane_attention)
