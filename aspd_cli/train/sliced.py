"""torch's attention under a mask, one slice of queries after the other.

Told that a mask is causal, torch's kernel leaves out what lies above the diagonal; given any other
mask it computes everything, twice as much. A branch mask never shows a token what comes after it,
so a slice of queries needs the keys up to its own end only. A CUDA device has flex_attention, which
leaves out still more.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_sliced"
"""The name under which the attention function is registered with transformers."""

SLICE = 512
"""Queries of a slice."""


def sliced_attention(
    module: torch.nn.Module,
    query: Tensor,  # (B, H, T, D)
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # (B, 1, T, T)
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The registered attention function. Returns (B, T, H, D)."""
    tokens = query.shape[2]
    if attention_mask is None or tokens <= SLICE or key.shape[2] != tokens:
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return out, None
    slices = []
    for start in range(0, tokens, SLICE):
        end = min(start + SLICE, tokens)
        seen = attention_mask[..., start:end, :end]
        queries, keys, values = query[:, :, start:end], key[:, :, :end], value[:, :, :end]
        slices.append(sdpa_attention_forward(module, queries, keys, values, seen, **kwargs)[0])
    return torch.cat(slices, dim=1), None


AttentionInterface.register(NAME, sliced_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
