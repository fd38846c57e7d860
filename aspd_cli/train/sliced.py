"""torch's attention under a mask, one slice of queries after the other.

Told that a mask is causal, torch's kernel leaves out what lies above the diagonal; given any other
mask it computes everything, twice as much. A branch mask never shows a token what comes after it,
so a slice of queries needs the keys up to its own end only. A CUDA device has flex_attention, which
leaves out still more.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_sliced"
"""The name under which the attention function is registered with transformers."""

SLICE, SLICES = 256, 8
"""Queries of a slice, and how many slices there are at most: each costs a pass over the keys."""


def sliced_attention(
    module: torch.nn.Module,
    query: Tensor,  # (B, H, T, D)
    key: Tensor,  # (B, Hk, T, D)
    value: Tensor,
    attention_mask: Tensor | None,  # (B, 1, T, T)
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The registered attention function. Returns (B, T, H, D)."""
    tokens = query.shape[2]
    size = max(SLICE, -(-tokens // SLICES))
    if attention_mask is None or tokens <= size or key.shape[2] != tokens:
        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **kwargs
        )
        return out, None
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    slices = []
    for start in range(0, tokens, size):
        end = min(start + size, tokens)
        slices.append(
            scaled_dot_product_attention(
                query[:, :, start:end],
                key[:, :, :end],
                value[:, :, :end],
                attn_mask=attention_mask[..., start:end, :end],
                dropout_p=dropout,
                scale=scaling,
            )
        )
    return torch.cat(slices, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, sliced_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
