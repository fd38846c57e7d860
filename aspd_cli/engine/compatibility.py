"""Whether the engine can decode with a model: what its configuration says, then a self-test.

`check_family` refuses what cannot work before any weight is read. `self_test` runs at load: two
branches in one sequence must have the logits that each branch has alone.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from aspd_cli.core.visibility import MAIN
from aspd_cli.engine.attention.lane_attention import NAME
from aspd_cli.engine.kv_cache import Feed, LaneCache
from aspd_cli.engine.model_runner import ModelRunner
from aspd_cli.errors import ModelError

_ATTENTION = {"full_attention", "sliding_attention"}
_LENGTH_DEPENDENT_ROPE = {"dynamic", "longrope"}
"""Rotary frequencies that change with the longest position of a call: exact below the switch."""

_PREFIX, _BRANCH = 7, 5
_TOLERANCE = {torch.float32: 3e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def check_family(config: Any) -> None:
    """Refuses by name what cannot honour lanes and positions.

    Raises:
        ModelError: names the family and the reason.
    """
    text = config.get_text_config(decoder=True)
    name = config.model_type
    if config.is_encoder_decoder:
        raise ModelError(f"{name} is an encoder-decoder model; aspd needs a decoder-only model")
    kinds = set(getattr(text, "layer_types", None) or _ATTENTION)
    if foreign := sorted(kinds - _ATTENTION):
        raise ModelError(
            f"{name} has layers of the type {', '.join(foreign)}: branches can be kept apart "
            "only in full and sliding-window attention"
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


def self_test(runner: ModelRunner, stock: str = "eager") -> None:
    """Compares the engine's attention with the stock one on a prefix and two branches.

    The engine decodes both branches in one row and one forward; the stock model reads prefix +
    branch as an ordinary sequence. Leaves the engine's attention set.

    Raises:
        ModelError: the mean difference of the logits, over their spread, exceeds what the float
            type explains: this family does not honour the mask or the positions. Or it fails under
            the engine's attention, or keeps its sliding window from it.
    """
    model = runner.model
    try:
        error, windows = _compare(runner, stock)
    except ModelError:
        raise
    except Exception as failure:  # any modeling code may run here
        reason = f"{type(failure).__name__}: {failure}".splitlines()[0]
        raise ModelError(f"{type(model).__name__} fails in the self-test: {reason}") from failure
    dtype = next(model.parameters()).dtype
    if not error <= _TOLERANCE.get(dtype, 1e-1):
        raise ModelError(
            f"{type(model).__name__} does not honour the branch mask (self-test: its branch logits "
            f"are off by {error:.2g} of their spread in {dtype}): it cannot be decoded exactly"
        )
    window = sliding_window(model.config)
    if window not in {None, *windows}:
        raise ModelError(
            f"{type(model).__name__} has a sliding window of {window} and does not hand it to the "
            "attention: it cannot be decoded exactly"
        )


def _compare(runner: ModelRunner, stock: str) -> tuple[float, set[int | None]]:
    """Mean difference of the logits over their spread, and the windows that layers asked for."""
    model, device = runner.model, runner.device
    draw = torch.Generator().manual_seed(0)
    size = _PREFIX + 2 * _BRANCH
    ids = torch.randint(0, runner.known_ids, (size,), generator=draw).tolist()
    prefix, one, two = ids[:_PREFIX], ids[_PREFIX:-_BRANCH], ids[-_BRANCH:]
    with torch.inference_mode():
        model.set_attn_implementation(stock)
        expected = torch.cat([_alone(model, prefix + branch, device) for branch in (one, two)])
        model.set_attn_implementation(NAME)
        cache = LaneCache(runner.layers, 1, device)
        tree = cache.open_row(0)
        plan = cache.prepare([Feed(0, MAIN, prefix, 0)])
        runner.forward([], cache, plan)
        first, second = tree.fork(MAIN, 2)
        plan = cache.prepare([Feed(0, first, one, _PREFIX), Feed(0, second, two, _PREFIX)])
        found = runner.forward(range(2 * _BRANCH), cache, plan).float()
    spread = expected.std().clamp(min=1e-6)
    return float((found - expected).abs().mean() / spread), plan.windows


def _alone(model: torch.nn.Module, ids: list[int], device: torch.device) -> Tensor:
    batch = torch.tensor([ids], device=device)
    positions = torch.arange(len(ids), device=device)[None]
    logits = model(batch, attention_mask=torch.ones_like(batch), position_ids=positions).logits
    return logits[0, _PREFIX:].float()  # type: ignore[no-any-return]
