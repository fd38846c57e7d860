"""LoRA adapters for decoding: merged into the weights, because a step must not pay for them.

Plain LoRA with trained token rows, what `aspd train` writes, is merged here from its file:
importing PEFT takes longer than an answer. Any other kind goes through PEFT's own merge.
"""

import json
import re
from pathlib import Path
from typing import Any

import torch

from aspd_cli.errors import ModelError, reason
from aspd_cli.pretrained import gguf_file

_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_PREFIX = "base_model.model."
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")

_NEUTRAL = {
    *("r", "lora_alpha", "lora_dropout", "trainable_token_indices"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("base_model_name_or_path", "revision", "auto_mapping", "task_type", "inference_mode"),
    *("peft_type", "peft_version", "megatron_core", "qalora_group_size"),
}
"""Settings of any value under which a plain merge is right."""

_PLAIN: dict[str, list[object]] = {"bias": ["none"], "init_lora_weights": [True, "gaussian"]}
"""Settings with the values under which it is; every other setting must be off."""


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of an adapter. Raises `ModelError` when there is none to read."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} is not an adapter directory: {error}") from error
    if not isinstance(config, dict) or "peft_type" not in config:
        raise ModelError(f"{folder}/adapter_config.json is not an adapter configuration")
    return config


def base_of(adapter: Path) -> tuple[str, str | None]:
    """The base that an adapter in a directory names: a path, or a Hub id with its revision.

    A relative path may start from here, or from the adapter's directory or one that holds it.

    Raises:
        ModelError: it names none, or a path that is not there.
    """
    config = read_config(adapter)
    named, cure = config.get("base_model_name_or_path"), f"pass --model BASE --adapter {adapter}"
    if not named or not isinstance(named, str):
        raise ModelError(f"{adapter} does not name its base model: {cure}")
    folder = adapter.resolve()
    for start in (Path(), folder, *folder.parents[:2]):
        found = start / named
        if (found / "config.json").is_file() or (found.is_file() and gguf_file(found)):
            return str(found), None
    if Path(named).is_dir() or (_HUB_ID.fullmatch(named) and not gguf_file(named)):
        revision = config.get("revision")
        return named, revision if isinstance(revision, str) else None
    raise ModelError(
        f"the base model of the adapter {adapter} is missing: there is no {named}, here "
        f"or beside the adapter; {cure}"
    )


def merge_adapter(model: torch.nn.Module, folder: Path) -> torch.nn.Module:
    """The model with the adapter in `folder` merged into it.

    Raises:
        ModelError: the adapter cannot be read or belongs to another architecture.
    """
    config = read_config(folder)
    if not any((folder / name).is_file() for name in _WEIGHTS):
        raise ModelError(f"{folder} contains no {_WEIGHTS[0]}: it is not an adapter directory")
    try:
        if _is_plain(config) and (weights := _plain_tensors(folder)):
            _merge(model, weights, config)
            return model
        return _merge_with_peft(model, folder)
    except Exception as error:  # safetensors and PEFT have exceptions of their own
        fault = f"the adapter {folder} does not fit {type(model).__name__}: {reason(error)}"
        raise ModelError(fault) from error


def _is_plain(config: dict[str, Any]) -> bool:
    return config["peft_type"] == "LORA" and all(
        not value or name in _NEUTRAL or value in _PLAIN.get(name, [])
        for name, value in config.items()
    )


_A, _B, _ROWS = ".lora_A.weight", ".lora_B.weight", ".token_adapter.trainable_tokens_delta"


def _plain_tensors(folder: Path) -> dict[str, Any] | None:
    """The adapter's tensors by name in the base model; None when one is of another kind."""
    from safetensors.torch import load_file

    file = folder / _WEIGHTS[0]
    tensors = load_file(file) if file.is_file() else {}
    known = all(name.endswith((_A, _B, _ROWS)) for name in tensors)
    return {name.removeprefix(_PREFIX): t for name, t in tensors.items()} if known else None


@torch.no_grad()
def _merge(model: Any, tensors: dict[str, Any], config: dict[str, Any]) -> None:
    scale = config["lora_alpha"] / config["r"]
    for name, tensor in tensors.items():
        if name.endswith(_A):
            module = name.removesuffix(_A)
            if len(tensor) != config["r"]:
                raise ValueError(
                    f"{name} has the rank {len(tensor)}, and adapter_config.json says r = "
                    f"{config['r']}"
                )
            weight = model.get_submodule(module).weight
            weight += (scale * (tensors[module + _B].float() @ tensor.float())).to(weight)
        elif name.endswith(_ROWS):
            module = name.removesuffix(_ROWS)
            weight = model.get_submodule(module).weight
            weight[_token_ids(config["trainable_token_indices"], module)] = tensor.to(weight)


def _token_ids(trained: dict[str, list[int]] | list[int], module: str) -> list[int]:
    """The rows of `module` that were trained: listed by the end of its name, or for embeddings."""
    if isinstance(trained, list):
        return trained
    return next(ids for name, ids in trained.items() if f".{module}".endswith(f".{name}"))


def _merge_with_peft(model: torch.nn.Module, folder: Path) -> torch.nn.Module:
    from peft import PeftModel

    wrapped = PeftModel.from_pretrained(model, str(folder))
    # Loaded once more for what PEFT says about it: tensors that fit nowhere are dropped in silence.
    loaded = wrapped.load_adapter(str(folder), "default")
    if loaded.unexpected_keys:
        raise ValueError(
            f"it has a tensor for a layer that the model lacks: {loaded.unexpected_keys[0]}"
        )
    return wrapped.merge_and_unload()  # type: ignore[no-any-return]
