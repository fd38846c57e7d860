"""The branch mask in the form in which a stock model takes it.

The rule held for 18 configurations of 12 families (float32, branch in a flat sequence against prefix
and branch alone): a configuration with `layer_types` takes one mask a kind of layer; otherwise one
mask, windowed when a sliding window is set. A 4-D mask is handed on as it is by transformers, so the
window must be cut here, and it is cut by position, not by index.

Shapes: B documents, T tokens, L lanes.
"""

from typing import Any

import torch
from torch import Tensor

from aspd_cli.core.visibility import batch_mask


def attention_masks(
    config: Any, lanes: Tensor, sees: Tensor, positions: Tensor, dtype: torch.dtype
) -> Tensor | dict[str, Tensor]:
    """What to pass as `attention_mask`, on the device of `lanes`.

    Args:
        config: the model's configuration; its attention implementation decides the mask's type.
        lanes: (B, T) lane of each token, -1 for padding.
        sees: (B, L, L) bool, which lanes see each other.
        positions: (B, T) position ids.
        dtype: of the model, for additive masks.

    Returns:
        (B, 1, T, T) bool for sdpa, additive for eager; or a dict of those by kind of layer.
    """
    text = config.get_text_config(decoder=True)
    additive = config._attn_implementation == "eager"

    def mask(window: int | None) -> Tensor:
        allowed = batch_mask(lanes, sees, positions, window)
        if not additive:
            return allowed
        # The smallest number, not -inf: a row that is blocked everywhere would become NaN.
        return torch.where(allowed, 0.0, torch.finfo(dtype).min).to(dtype)

    window = getattr(text, "sliding_window", None)
    kinds = getattr(text, "layer_types", None)
    if kinds is None:
        return mask(window)
    return {kind: mask(window if kind == "sliding_attention" else None) for kind in sorted(set(kinds))}
