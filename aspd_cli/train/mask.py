"""Puts the branch mask into a stock model: a hook before its backbone builds it from lane ids.

The hook sits on the backbone because PEFT and TRL's fused head call that one directly, and it runs
on the device, so that no (T, T) mask travels through data loaders.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedConfig, PreTrainedModel

from aspd_cli.core.visibility import batch_mask
from aspd_cli.errors import ModelError

_ATTENTION = ("sdpa", "eager")


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
) -> Tensor | dict[str, Tensor]:
    """What the backbone takes as `attention_mask`: one (B, 1, T, T) tensor, or one per layer type.

    A ready-made mask makes transformers forget a sliding window, so the window is part of it, cut
    by positions.
    """
    window = getattr(config, "sliding_window", None)
    if not getattr(config, "use_sliding_window", True):
        window = None

    def mask(width: int | None) -> Tensor:
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
