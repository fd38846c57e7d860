"""Attention of training on a CPU: masks only where they hide something.

Told that a mask is causal, torch's kernel leaves out what lies above the diagonal; given any other
mask it computes everything, twice as much, and reads a (T, T) mask on the way. But far from the
diagonal a branch mask hides little: whatever ended before all of a tile's open blocks is seen by
each of its tokens. So the queries are cut into tiles; the keys that all of a tile's queries see are
one call without a mask; the rest, up to the diagonal, are calls of fewer queries with their own
small masks. The parts of a softmax are put together by their log-sum-exp, and the gradient of each
part follows from that of the whole, as in ring attention (arXiv 2310.01889).

A CUDA device has flex_attention for this.

Shapes: B documents, H heads, Hk key-value heads, T tokens, D head size, Q queries and K keys of a
part.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_tiled"
"""The name under which the attention function is registered with transformers."""

TILE, PART = 1024, 256
"""Queries of a tile, and of its parts along the diagonal."""

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True, slots=True)
class Tile:
    """One call: queries `first:last` on keys `start:stop`."""

    first: int
    last: int
    start: int
    stop: int
    mask: Tensor | None  # (B, 1, Q, K), additive; None: all is seen


def tiled_attention(
    module: torch.nn.Module,
    query: Tensor,  # (B, H, T, D)
    key: Tensor,  # (B, Hk, T, D)
    value: Tensor,
    attention_mask: Tensor | None,  # (B, 1, T, T), true where a key is seen
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The registered attention function. Returns (B, T, H, D)."""
    if attention_mask is None or dropout or not _fits(query, key, value, attention_mask):
        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **kwargs
        )
        return out, None
    if torch.is_autocast_enabled("cpu"):  # which sdpa heeds by itself
        kind = torch.get_autocast_dtype("cpu")
        query, key, value = query.to(kind), key.to(kind), value.to(kind)
    known = _PARTS.setdefault(attention_mask, {})
    if query.dtype not in known:
        known[query.dtype] = parts(attention_mask, query.dtype)
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    tiled: Any = _Tiled.apply(query, key, value, known[query.dtype], scaling)
    return tiled.transpose(1, 2).contiguous(), None


_PARTS: Any = WeakTensorKeyDictionary()
"""(B, 1, T, T) mask -> type -> its parts: the layers of a model share both."""


def _fits(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> bool:
    """Whether torch's kernel for CPUs takes these, and there is enough to cut."""
    long = query.shape[2] == key.shape[2] > PART
    alike = query.shape[-1] == value.shape[-1] and mask.dtype == torch.bool
    return long and alike and query.device.type == "cpu"


def parts(allowed: Tensor, dtype: torch.dtype) -> list[Tile]:
    """The calls that compute attention under a mask, those of a tile one after the other.

    Args:
        allowed: (B, 1, T, T) which keys each query sees, none of them after itself. A token that
            sees itself alone and that no other sees is padding: what it gets is not defined.
        dtype: of queries, keys and values.
    """
    found, tokens = [], allowed.shape[-1]
    padding = ((allowed.sum(-1) == 1) & (allowed.sum(-2) == 1))[..., None]  # (B, 1, T, 1)
    for first in range(0, tokens, TILE):
        last = min(first + TILE, tokens)
        seen = allowed[:, 0, first:last, :first] | padding[:, 0, first:last]
        clear = _first(~seen.all(dim=1).all(dim=0))
        if clear:
            found.append(Tile(first, last, 0, clear, None))
        for start in range(first, last, PART):
            stop = min(start + PART, last)
            near = allowed[:, :, start:stop, clear:stop]
            begin = _first(near.any(dim=2).any(dim=0)[0])
            mask = torch.zeros(near[..., begin:].shape, dtype=dtype)
            mask.masked_fill_(~near[..., begin:], torch.finfo(dtype).min)
            found.append(Tile(start, stop, clear + begin, stop, mask))
    return found


def _first(flags: Tensor) -> int:
    """Index of the first that is set, or their number."""
    return int(flags.int().argmax()) if flags.any() else len(flags)


class _Tiled(torch.autograd.Function):
    """Attention as the sum of its parts; each query's part without a mask comes first."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, found: list[Tile], scale: float | None
    ) -> Tensor:
        out = torch.empty_like(query)
        exact = torch.promote_types(query.dtype, torch.float32)
        total = torch.empty(query.shape[:3], dtype=exact)  # (B, H, T) log-sum-exp so far
        begun = 0  # queries before this one have been given their first part
        for part in found:
            rows, keys = slice(part.first, part.last), slice(part.start, part.stop)
            k, v = key[:, :, keys], value[:, :, keys]
            answer, weight = _forward(query[:, :, rows], k, v, attn_mask=part.mask, scale=scale)
            if part.first < begun:
                old, before = out[:, :, rows], total[:, :, rows]
                after = torch.logaddexp(before, weight)
                answer = answer * (weight - after).exp()[..., None]
                answer += old * (before - after).exp()[..., None]
                weight = after
            out[:, :, rows], total[:, :, rows] = answer, weight
            begun = max(begun, part.last)
        ctx.save_for_backward(query, key, value, out, total)
        ctx.parts, ctx.scale = found, scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, total = ctx.saved_tensors
        grads = [torch.zeros_like(states) for states in (query, key, value)]
        for part in ctx.parts:
            rows, keys = slice(part.first, part.last), slice(part.start, part.stop)
            found = _backward(
                grad[:, :, rows],
                query[:, :, rows],
                key[:, :, keys],
                value[:, :, keys],
                out[:, :, rows],
                total[:, :, rows],
                0.0,
                False,
                attn_mask=part.mask,
                scale=ctx.scale,
            )
            for whole, where, add in zip(grads, (rows, keys, keys), found, strict=True):
                whole[:, :, where] += add
        return (*grads, None, None)


AttentionInterface.register(NAME, tiled_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
