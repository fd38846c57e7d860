"""LoRA adapters for decoding: merged into the weights, because a step must not pay for them.

Plain LoRA with trained token rows, what `aspd train` writes, is merged here from its file:
importing PEFT takes longer than an answer. Any other kind goes through PEFT's own merge.
"""

import json
from pathlib import Path
from typing import Any

import torch

from aspd_cli.errors import ModelError

_PREFIX = "base_model.model."
_PLAIN = {"use_dora": False, "use_rslora": False, "fan_in_fan_out": False, "modules_to_save": None}
_PATTERNS = ("rank_pattern", "alpha_pattern")


def merge_adapter(model: torch.nn.Module, path: Path) -> torch.nn.Module:
    """The model with the adapter at `path` merged into it.

    Raises:
        ModelError: the adapter cannot be read or belongs to another architecture.
    """
    try:
        config = json.loads((path / "adapter_config.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is not an adapter directory: {error}") from error
    plain = config.get("peft_type") == "LORA" and not any(config.get(name) for name in _PATTERNS)
    plain = plain and all(config.get(name, value) == value for name, value in _PLAIN.items())
    weights = path / "adapter_model.safetensors"
    if not (plain and weights.is_file()):
        return _merge_with_peft(model, path)
    from safetensors.torch import load_file

    scale = config["lora_alpha"] / config["r"]
    tensors = {name.removeprefix(_PREFIX): tensor for name, tensor in load_file(weights).items()}
    if not all(name.endswith(_KNOWN) for name in tensors):
        return _merge_with_peft(model, path)
    try:
        _merge(model, tensors, scale, config.get("trainable_token_indices"))
    except (AttributeError, KeyError, RuntimeError, IndexError) as error:
        fault = f"the adapter {path} does not fit {type(model).__name__}: {error}"
        raise ModelError(fault) from error
    return model


_A, _B, _ROWS = ".lora_A.weight", ".lora_B.weight", ".token_adapter.trainable_tokens_delta"
_KNOWN = (_A, _B, _ROWS)


@torch.no_grad()
def _merge(model: Any, tensors: dict[str, Any], scale: float, token_ids: Any) -> None:
    for name, tensor in tensors.items():
        if name.endswith(_A):
            module = name.removesuffix(_A)
            weight = model.get_submodule(module).weight
            weight += (scale * (tensors[module + _B].float() @ tensor.float())).to(weight)
        elif name.endswith(_ROWS):
            module = name.removesuffix(_ROWS)
            weight = model.get_submodule(module).weight
            by_module = isinstance(token_ids, dict)
            rows = token_ids[module.rpartition(".")[2]] if by_module else token_ids
            weight[rows] = tensor.to(weight)


def _merge_with_peft(model: torch.nn.Module, path: Path) -> torch.nn.Module:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(path)).merge_and_unload()  # type: ignore[no-any-return]
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        raise ModelError(f"the adapter {path} cannot be merged: {error}") from error
