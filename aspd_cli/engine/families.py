"""What the engine needs of a model, read from its configuration before any token is decoded."""

from collections.abc import Iterator
from typing import Any

from aspd_cli.errors import ModelError

_ATTENTION = {"full_attention", "sliding_attention"}
_LENGTH_DEPENDENT_ROPE = {"dynamic", "longrope"}
"""Rotary frequencies that change with the longest position of a call: exact below the switch."""


def check_family(config: Any) -> None:
    """Refuses by name what cannot honour lanes and positions.

    Raises:
        ModelError: names the family and the reason.
    """
    text = config.get_text_config(decoder=True)
    name = config.model_type
    if config.is_encoder_decoder:
        raise ModelError(f"{name} is an encoder-decoder model: aspd needs a decoder-only model")
    kinds = set(getattr(text, "layer_types", None) or _ATTENTION)
    if foreign := sorted(kinds - _ATTENTION):
        raise ModelError(
            f"{name} has layers of kind {', '.join(foreign)}: branches can be kept apart only in "
            "full and in sliding attention"
        )
    if getattr(text, "alibi", False):
        raise ModelError(f"{name} uses ALiBi, which counts distance by index, not by position ids")
    if not any(True for _ in _rope(text)):
        raise ModelError(f"{name} has no rotary positions: aspd needs keys rotated by position ids")


def context_length(config: Any) -> int | None:
    """Most positions a sequence may take; None when the configuration names no limit."""
    text = config.get_text_config(decoder=True)
    limits = [getattr(text, "max_position_embeddings", None)]
    for rope in _rope(text):
        if rope.get("rope_type") in _LENGTH_DEPENDENT_ROPE:
            original = rope.get("original_max_position_embeddings")
            limits.append(original or getattr(text, "original_max_position_embeddings", None))
    known = [int(limit) for limit in limits if limit]
    return min(known) if known else None


def sliding_window(config: Any) -> int | None:
    """The window of those layers that have one, in positions; None when it never cuts."""
    text = config.get_text_config(decoder=True)
    kinds = getattr(text, "layer_types", None)
    window = getattr(text, "sliding_window", None)
    if not window or (kinds is not None and "sliding_attention" not in kinds):
        return None
    return window if window < (context_length(config) or window + 1) else None


def _rope(text: Any) -> Iterator[dict[str, Any]]:
    """The rotary parameters, one dict a kind of layer in families that have several."""
    parameters = getattr(text, "rope_parameters", None) or {}
    nested = [value for value in parameters.values() if isinstance(value, dict)]
    yield from nested or ([parameters] if parameters else [])
