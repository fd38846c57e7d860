"""Puts the branch mask into a stock model: a hook before its backbone builds it from lane ids.

The hook sits on the backbone because PEFT and TRL's fused head call that one directly, and it runs
on the device, so that no (T, T) mask travels through data loaders.

Shapes: B documents, T tokens, L lanes.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedConfig, PreTrainedModel

from aspd_cli.core.visibility import batch_mask
from aspd_cli.errors import ModelError

_ATTENTION = ("sdpa", "eager", "flex_attention")


def implementation(config: PreTrainedConfig, wanted: str = "auto", device: str = "cpu") -> str:
    """The attention implementation to load a model with.

    Raises:
        ModelError: the wanted one would compute something else, or does not train on the device.
    """
    text = config.get_text_config()
    soft_capped = getattr(text, "attn_logit_softcapping", None) is not None
    if wanted == "sdpa" and soft_capped:
        raise ModelError(
            f"{text.model_type} caps its attention scores, which sdpa silently ignores: set "
            "training.attention to auto or eager"
        )
    if wanted == "flex_attention" and device != "cuda":
        raise ModelError(
            f"flex_attention has no backward pass on {device}: set training.attention to auto"
        )
    if wanted == "auto":
        return "eager" if soft_capped else "sdpa"
    return wanted


def install(model: PreTrainedModel) -> RemovableHandle:
    """Lets `model` take `lanes` and `sees` beside its usual arguments.

    Raises:
        ModelError: the model's attention implementation would ignore or misread the mask.
    """
    config = model.config.get_text_config()
    if config._attn_implementation not in _ATTENTION:
        raise ModelError(
            f"attention {config._attn_implementation!r} cannot take a branch mask: load the "
            f"model with {' or '.join(_ATTENTION)}"
        )
    implementation(config, config._attn_implementation, model.device.type)

    def build(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        lanes, sees = kwargs.pop("lanes", None), kwargs.pop("sees", None)
        if lanes is None:
            return args, kwargs
        dtype = next(module.parameters()).dtype
        kwargs["attention_mask"] = masks(config, lanes, sees, kwargs["position_ids"], dtype)
        return args, kwargs

    return model.base_model.register_forward_pre_hook(build, with_kwargs=True)


def masks(
    config: PreTrainedConfig, lanes: Tensor, sees: Tensor, positions: Tensor, dtype: torch.dtype
) -> Any:
    """What the backbone takes as `attention_mask`: one (B, 1, T, T) mask, or one per layer type.

    A ready-made mask makes transformers forget a sliding window, so the window is part of it, cut
    by positions.

    Args:
        lanes: (B, T), -1 for padding.
        sees: (B, L, L).
        positions: (B, T).
        dtype: of the scores that an eager mask is added to.
    """
    window = getattr(config, "sliding_window", None)
    if not getattr(config, "use_sliding_window", True):
        window = None

    def mask(width: int | None) -> Any:
        if config._attn_implementation == "flex_attention":
            return _block_mask(lanes, sees, positions, width)
        allowed = batch_mask(lanes, sees, positions, width)
        if config._attn_implementation == "sdpa":
            return allowed
        return torch.zeros_like(allowed, dtype=dtype).masked_fill_(
            ~allowed, torch.finfo(dtype).min
        )  # eager adds its mask

    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return mask(window)
    if unknown := set(kinds) - {"full_attention", "sliding_attention"}:
        raise ModelError(f"layers of type {', '.join(sorted(unknown))} cannot take a branch mask")
    return {kind: mask(window if kind == "sliding_attention" else None) for kind in set(kinds)}


def flex_rule(lanes: Tensor, sees: Tensor, positions: Tensor, window: int | None) -> Any:
    """The visibility of `batch_mask` as a function of (document, head, query, key) indices.

    Blocks of keys that no query of a block sees are never computed: between branches that is most
    of them, and no (T, T) mask is held.
    """
    lane = lanes.clamp(min=0)

    def rule(document: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        both_real = (lanes[document, query] >= 0) & (lanes[document, key] >= 0)
        seen = sees[document, lane[document, query], lane[document, key]] & both_real
        if window is not None:
            seen = seen & (positions[document, query] - positions[document, key] < window)
        return (seen & (key <= query)) | (query == key)

    return rule


def _block_mask(lanes: Tensor, sees: Tensor, positions: Tensor, window: int | None) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    batch, tokens = lanes.shape
    rule = flex_rule(lanes, sees, positions, window)
    return create_block_mask(rule, batch, None, tokens, tokens, device=lanes.device)
