"""Puts the branch mask into a stock model: a hook before its backbone builds it from lane ids.

The hook sits on the backbone because PEFT and TRL's fused head call that one directly, and it runs
on the device, so that no (T, T) mask travels through data loaders.

A row may hold several records, which see nothing of each other. flex_attention skips what is
between them; for sdpa `attend_by_record` computes each record by itself, so that a row costs the
sum of its records' squares and not the square of their sum.

Shapes: N records, B rows of T tokens, L lanes, W tokens of the longest record, H heads of size D.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.hooks import RemovableHandle
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from aspd_cli.core.visibility import MAIN, batch_mask
from aspd_cli.errors import ModelError

BY_RECORD = "aspd_by_record"
"""sdpa that takes rows of several records, as it is registered with transformers."""

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


def takes_rows_of_records(config: PreTrainedConfig) -> bool:
    """Whether a row of several records costs a model no more than the records do.

    eager attention would compute, and hold for its backward pass, what is between them.
    """
    return bool(config.get_text_config()._attn_implementation != "eager")


def install(model: PreTrainedModel) -> RemovableHandle:
    """Lets `model` take `lanes`, `records` and `sees` beside its usual arguments.

    Raises:
        ModelError: the model's attention implementation would ignore or misread the mask.
    """
    config = model.config.get_text_config()
    if config._attn_implementation not in (*_ATTENTION, BY_RECORD):
        raise ModelError(
            f"attention {config._attn_implementation!r} cannot take a branch mask: load the "
            f"model with {' or '.join(_ATTENTION)}"
        )
    implementation(config, config._attn_implementation, model.device.type)
    if config._attn_implementation == "sdpa":
        model.set_attn_implementation(BY_RECORD)

    def build(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        lanes, sees, records = (kwargs.pop(name, None) for name in ("lanes", "sees", "records"))
        if lanes is None:
            return args, kwargs
        dtype = next(module.parameters()).dtype
        positions = kwargs["position_ids"]
        kwargs["attention_mask"] = masks(config, lanes, sees, positions, dtype, records)
        return args, kwargs

    return model.base_model.register_forward_pre_hook(build, with_kwargs=True)


def masks(
    config: PreTrainedConfig,
    lanes: Tensor,
    sees: Tensor,
    positions: Tensor,
    dtype: torch.dtype,
    records: Tensor | None = None,
) -> Any:
    """What the backbone takes as `attention_mask`: one (B, 1, T, T) mask, or one per layer type.

    A ready-made mask makes transformers forget a sliding window, so the window is part of it, cut
    by positions.

    Args:
        lanes: (B, T), of each record by itself; -1 for padding.
        sees: (N, L, L).
        positions: (B, T).
        dtype: of the scores that an eager mask is added to.
        records: (B, T) the record of each token; None: each row is one. With fewer rows than
            records the mask of sdpa is (N, 1, W, W), see `attend_by_record`.
    """
    window = getattr(config, "sliding_window", None)
    if not getattr(config, "use_sliding_window", True):
        window = None
    row = None
    if len(sees) > len(lanes) and config._attn_implementation != "flex_attention":
        assert records is not None
        row = _Row.of(config, lanes[0], sees, positions[0], records[0])

    def mask(width: int | None) -> Any:
        if config._attn_implementation == "flex_attention":
            return _block_mask(lanes, sees, positions, width, records)
        if row is not None:
            return row.mask(width)
        allowed = batch_mask(lanes, sees, positions, width)
        if config._attn_implementation != "eager":
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


@dataclass(frozen=True, slots=True)
class _Row:
    """The records of one row of several, apart."""

    lanes: Tensor  # (N, W)
    sees: Tensor  # (N, L, L)
    positions: Tensor  # (N, W)
    lengths: list[int]
    forks: list[bool]
    """Whether a record has a block."""

    @classmethod
    def of(
        cls,
        config: PreTrainedConfig,
        lanes: Tensor,  # (T), as all of these
        sees: Tensor,
        positions: Tensor,
        records: Tensor,
    ) -> "_Row":
        """Raises `ModelError` when the attention computes a row as a whole."""
        if config._attn_implementation != BY_RECORD:
            raise ModelError(
                f"attention {config._attn_implementation!r} cannot take a row of several records"
            )
        last = lanes.new_zeros(len(sees)).scatter_reduce_(0, records, lanes, "amax")
        lengths, lasts = torch.stack([records.bincount(), last]).tolist()
        apart = [pad_sequence(list(lanes.split(lengths)), batch_first=True, padding_value=-1)]
        apart += [pad_sequence(list(positions.split(lengths)), batch_first=True)]
        return cls(apart[0], sees, apart[1], lengths, [lane != MAIN for lane in lasts])

    def mask(self, window: int | None) -> Tensor:
        """(N, 1, W, W), which knows how long the records are and which of them are causal."""
        found = batch_mask(self.lanes, self.sees, self.positions, window)
        sizes = zip(self.lengths, self.forks, strict=True)
        causal = [not fork and (window is None or size <= window) for size, fork in sizes]
        # Models hand a ready mask on as it is, and with it what they know nothing of.
        found.records = list(zip(self.lengths, causal, strict=True))  # type: ignore[attr-defined]
        return found


def attend_by_record(
    module: torch.nn.Module,
    query: Tensor,  # (B, H, T, D)
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' sdpa, a record at a time where the mask is of a row of several records.

    A record without blocks needs no mask, and its kernel skips what lies after each token.

    Returns (B, T, H, D), and no weights.
    """
    records: list[tuple[int, bool]] | None = getattr(attention_mask, "records", None)
    if attention_mask is None or records is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    found, at = [], 0
    for mask, (size, causal) in zip(attention_mask, records, strict=True):
        q, k, v = (each[:, :, at : at + size] for each in (query, key, value))
        own = None if causal else mask[None, :, :size, :size]
        found.append(sdpa_attention_forward(module, q, k, v, own, **kwargs)[0])
        at += size
    return torch.cat(found, dim=1), None


AttentionInterface.register(BY_RECORD, attend_by_record)
AttentionMaskInterface.register(BY_RECORD, sdpa_mask)


def flex_rule(
    lanes: Tensor,
    sees: Tensor,
    positions: Tensor,
    window: int | None,
    records: Tensor | None = None,
) -> Any:
    """The visibility of `batch_mask` as a function of (row, head, query, key) indices.

    Blocks of keys that no query of a block sees are never computed: between branches, and between
    the records of a row, that is most of them, and no (T, T) mask is held.
    """
    lane = lanes.clamp(min=0)
    if records is None:
        records = torch.arange(len(lanes), device=lanes.device)[:, None].expand_as(lanes)

    def rule(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        both_real = (lanes[row, query] >= 0) & (lanes[row, key] >= 0)
        record = records[row, query]
        seen = sees[record, lane[row, query], lane[row, key]] & both_real
        seen = seen & (record == records[row, key])
        if window is not None:
            seen = seen & (positions[row, query] - positions[row, key] < window)
        return (seen & (key <= query)) | (query == key)

    return rule


def _block_mask(
    lanes: Tensor, sees: Tensor, positions: Tensor, window: int | None, records: Tensor | None
) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    rows, tokens = lanes.shape
    rule = flex_rule(lanes, sees, positions, window, records)
    return create_block_mask(rule, rows, None, tokens, tokens, device=lanes.device)
