"""From a name to a decoder: a directory, a hub id, or the embedded model."""

import json
from pathlib import Path
from typing import Any

import torch

from aspd_cli.core.markup import CONTROL_TOKENS
from aspd_cli.core.tokens import ControlIds
from aspd_cli.engine.adapter import merge_adapter
from aspd_cli.engine.decoder import Decoder
from aspd_cli.errors import ModelError

EMBEDDED = Path(__file__).parent.parent / "assets" / "tiny"
"""The embedded model: `base/`, a serial model, and `adapter/`, which makes it parallel."""

SETTINGS = "aspd.json"
"""Beside the weights: positions and depth that the model was trained with."""

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load(
    path: str | Path | None = None,
    adapter: str | Path | None = None,
    device: str | None = None,
    dtype: str | None = None,
) -> Decoder:
    """A decoder for a model.

    Args:
        path: a directory or a hub id; a directory that holds an adapter loads its base too.
            None: the embedded model with its adapter.
        adapter: directory or hub id of a LoRA adapter, merged into the weights.
        device: as torch names it; None or "auto": CUDA where there is one, otherwise CPU.
        dtype: float32, bfloat16 or float16; None or "auto": float32 on a CPU, otherwise bfloat16.

    Raises:
        ModelError: nothing loadable is there, or the family cannot be decoded in parallel.
    """
    if path is None:
        path, adapter = EMBEDDED / "base", adapter or EMBEDDED / "adapter"
    source = Path(path)
    if adapter is None and (source / "adapter_config.json").is_file():
        path, adapter = _base_of(source), source
    chosen = _device(device)
    model, tokenizer = _load_base(str(path), _dtype(dtype, chosen))
    settings = _settings(Path(path))
    if adapter is not None:
        folder = _fetch(str(adapter))
        settings |= _settings(folder)
        tokenizer = _adapter_tokenizer(folder) or tokenizer
        _resize(model, tokenizer)
        model = merge_adapter(model, folder)
    try:
        model = model.to(chosen)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"the device {chosen} cannot be used: {error}") from error
    return Decoder(
        model,
        tokenizer,
        positions=settings.get("positions", "same-seq"),
        max_depth=int(settings.get("max_depth", 1)),
    )


def _load_base(path: str, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if Path(path).is_dir() and not (Path(path) / "config.json").is_file():
        raise ModelError(f"{path} holds no config.json: it is not a model directory")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation="eager")
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"cannot load a model from {path!r}: {reason}") from error
    return model, tokenizer


def _base_of(adapter: Path) -> str:
    config = json.loads((adapter / "adapter_config.json").read_text())
    base = config.get("base_model_name_or_path")
    if not base:
        raise ModelError(f"{adapter} does not name its base: pass --model BASE --adapter {adapter}")
    return str(base)


def _fetch(adapter: str) -> Path:
    """The adapter's directory, downloaded when it is a hub id."""
    if Path(adapter).is_dir():
        return Path(adapter)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(adapter))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"there is no adapter directory {adapter!r}, and it cannot be fetched from the hub"
        ) from error


def _adapter_tokenizer(folder: Path) -> Any | None:
    from transformers import AutoTokenizer

    if not (folder / "tokenizer_config.json").is_file():
        return None
    return AutoTokenizer.from_pretrained(str(folder))


def _resize(model: Any, tokenizer: Any) -> None:
    """Room for control tokens past the embedding's end; never shrinks a padded vocabulary."""
    needed = max(ControlIds.of(tokenizer)) + 1 if _has_all(tokenizer) else 0
    if needed > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(needed)


def _has_all(tokenizer: Any) -> bool:
    vocabulary = tokenizer.get_vocab()
    return all(token in vocabulary for token in CONTROL_TOKENS)


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / SETTINGS
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def _device(name: str | None) -> torch.device:
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"{name!r} is not a device: use cpu, cuda or cuda:N") from error


def _dtype(name: str | None, device: torch.device) -> torch.dtype:
    if name is None or name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in _DTYPES:
        raise ModelError(f"{name!r} is not a dtype: use {', '.join(_DTYPES)} or auto")
    return _DTYPES[name]
