"""From a name to a decoder: a directory, a GGUF file, a hub id, or the embedded model.

`load` reads tokenizer, settings and weights, merges an adapter, packs linear layers and hands over
a `Decoder`. `stock_copy` is the same model as `transformers` computes it, to compare with.
"""

import copy
import json
from pathlib import Path
from typing import Any, get_args

import torch

from aspd_cli.core.codec import ControlIds
from aspd_cli.core.layout import Positions
from aspd_cli.core.markup import CONTROL_TOKENS, FORMAT
from aspd_cli.engine.compiled_steps import check_compile
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.lora import base_of, merge_adapter
from aspd_cli.engine.packed_linear import pack_linears
from aspd_cli.engine.quantized_linear import Quantize, check_quantize
from aspd_cli.errors import ModelError
from aspd_cli.files import EMBEDDED_MODEL
from aspd_cli.pretrained import from_pretrained, gguf_file, is_local, not_a_model
from aspd_cli.sources import hub_answers

SETTINGS = "aspd.json"
"""Beside the weights: positions, depth, format and template arguments of their training."""

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load(
    path: str | Path | None = None,
    adapter: str | Path | None = None,
    device: str | None = None,
    dtype: str | None = None,
    device_map: str | dict[str, int | str] | None = None,
    keep_stock: bool = False,
    trust_remote_code: bool = False,
    chat_template_kwargs: dict[str, Any] | None = None,
    quantize: str | None = None,
    compile: bool = False,
) -> Decoder:
    """A decoder for a model.

    Args:
        path: a directory, a GGUF file or a hub id; a directory that holds an adapter loads its
            base too.
            None: the embedded model with its adapter.
        adapter: directory or hub id of a LoRA adapter, merged into the weights.
        device: as torch names it; None or "auto": CUDA where there is one, otherwise CPU.
        dtype: float32, bfloat16 or float16; None or "auto": float32 on a CPU, otherwise bfloat16.
        device_map: as for transformers' `from_pretrained`: spreads a large model over devices, in
            place of `device`.
        keep_stock: whether `decoder.stock` is the model as transformers computes it, to compare
            with; on a CPU it holds the weights a second time.
        trust_remote_code: whether Python code that comes with model, adapter or tokenizer may run.
        chat_template_kwargs: arguments of the chat template; None: those that the model was
            trained with.
        quantize: "int8": weights of 8 bits on a CPU, faster and less exact; None: as they are.
        compile: whether torch compiles the steps on a CPU, which then take less time; loading
            takes from half a minute to a few minutes more.

    Raises:
        ModelError: nothing loadable is there, it needs code of its own and may not run it, or the
            family cannot be decoded in parallel.
    """
    chosen = choose_device(device)
    number = choose_dtype(dtype, chosen)
    bits = check_quantize(quantize, chosen, number)
    check_compile(compile, chosen)
    model, tokenizer, settings = assemble(path, adapter, number, device_map, trust_remote_code)
    try:
        model = model if device_map else model.to(chosen)
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ModelError(f"cannot use the device {chosen}: {error}") from error
    if chat_template_kwargs is not None:
        settings["chat_template_kwargs"] = chat_template_kwargs
    decoder = Decoder(model, tokenizer, **settings)
    return finish(decoder, keep_stock=keep_stock, quantize=bits, compile=compile)


def assemble(
    path: str | Path | None,
    adapter: str | Path | None,
    dtype: torch.dtype,
    device_map: str | dict[str, int | str] | None = None,
    trust_remote_code: bool = False,
) -> tuple[Any, Any, dict[str, Any]]:
    """Model with its adapter merged, tokenizer, and settings as arguments of a `Decoder`.

    Raises:
        ModelError: as `load`.
    """
    if path is None and adapter is None:
        path, adapter = EMBEDDED_MODEL / "base", EMBEDDED_MODEL / "adapter"
    elif path is None:
        path, adapter = _fetch(str(adapter)), None  # it names its base
    source, named, revision = Path(path), None, None
    if adapter is None and (source / "adapter_config.json").is_file():
        named, revision = base_of(source)
        path, adapter = named, source
    folder = None if adapter is None else _fetch(str(adapter))
    try:
        model, tokenizer, settings = _load_base(
            str(path), dtype, device_map, trust_remote_code, revision
        )
    except ModelError as error:
        if named is None:
            raise
        raise ModelError(
            f"cannot load the base model of the adapter {source}: {error}; if the base is "
            f"elsewhere, pass --model BASE --adapter {source}"
        ) from error
    if folder is not None:
        settings |= read_settings(folder / SETTINGS)
        tokenizer = _adapter_tokenizer(folder, trust_remote_code) or tokenizer
        _resize(model, tokenizer)
        model = merge_adapter(model, folder)
    return model, tokenizer, settings


def finish(
    decoder: Decoder,
    *,
    keep_stock: bool = False,
    quantize: Quantize | None = None,
    compile: bool = False,
) -> Decoder:
    """The decoder with the fastest kernels for its linear layers, or with quantised weights.

    Raises:
        ModelError: no layer can be quantised.
    """
    if keep_stock:
        decoder.stock = stock_copy(decoder.model)
    decoder.kernels = pack_linears(decoder.model, decoder.runner.probe, quantize)
    if quantize and not decoder.kernels.packed:
        raise ModelError(
            f"{type(decoder.model).__name__} has no plain linear layers on the CPU that could be "
            "quantized: leave out --quantize"
        )
    if compile:
        decoder.runner.compile()
    return decoder


def _load_base(
    path: str,
    dtype: torch.dtype,
    device_map: str | dict[str, int | str] | None,
    trust_remote_code: bool,
    revision: str | None = None,
) -> tuple[Any, Any, dict[str, Any]]:
    """Model, tokenizer and settings of a directory, a GGUF file or a hub id."""
    local, place = is_local(path), f"a model from {path!r}"
    if not local:
        place += " (no such directory, so it was looked up on the Hub)"
    elif not (Path(path) / "config.json").is_file() and gguf_file(path) is None:
        raise ModelError(f"{path} {not_a_model(Path(path))}")
    only_files = local or not hub_answers(path)
    rest: dict[str, Any] = {
        "trust_remote_code": trust_remote_code,
        "place": place,
        "local_files_only": only_files,
        "revision": revision or "main",
    }
    tokenizer = from_pretrained("AutoTokenizer", path, **rest)
    loaded = from_pretrained(
        "AutoModelForCausalLM",
        path,
        dtype=dtype,
        device_map=device_map,
        attn_implementation="eager",
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        **rest,
    )
    settings = find_settings(path, only_files)
    model, report = loaded
    unfit = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    if unfit:
        raise ModelError(
            f"the weights in {path!r} do not fit their configuration: {len(unfit)} tensors of "
            f"{type(model).__name__} are missing or have another shape, for example {min(unfit)}"
        )
    return model, tokenizer, read_settings(settings) if settings else {}


def find_settings(path: str, only_files: bool) -> Path | None:
    """The file of a model's settings; few models have one."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if is_local(path):
        file = (Path(path) if Path(path).is_dir() else Path(path).parent) / SETTINGS
        return file if file.is_file() else None
    try:
        return Path(hf_hub_download(path, SETTINGS, local_files_only=only_files))
    except (EntryNotFoundError, LocalEntryNotFoundError):
        return None


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
            f"no adapter directory {adapter!r}, and it cannot be downloaded from the Hub"
        ) from error


def _adapter_tokenizer(folder: Path, trust_remote_code: bool) -> Any | None:
    if not (folder / "tokenizer_config.json").is_file():
        return None
    place = f"the tokenizer of the adapter {folder}"
    return from_pretrained(
        "AutoTokenizer", folder, trust_remote_code=trust_remote_code, place=place
    )


def _resize(model: Any, tokenizer: Any) -> None:
    """Room for control tokens past the embedding's end; never shrinks a padded vocabulary."""
    needed = max(ControlIds.of(tokenizer)) + 1 if _has_all(tokenizer) else 0
    if needed > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(needed)


def _has_all(tokenizer: Any) -> bool:
    vocabulary = tokenizer.get_vocab()
    return all(token in vocabulary for token in CONTROL_TOKENS)


def read_settings(file: Path) -> dict[str, Any]:
    """Those arguments of a decoder that the file names."""
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {file}: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{file} must contain an object with `positions` and `max_depth`")
    names = ("positions", "max_depth", "chat_template_kwargs")
    settings = {name: found[name] for name in names if name in found}
    # Weights from before there were forms, and those of others, name none.
    version = found.get("format", 1)
    if version not in range(1, FORMAT + 1):
        raise ModelError(
            f"{file}: format {version!r} is unknown to this version of aspd, which reads 1 to "
            f"{FORMAT}: update aspd"
        )
    settings["forms"] = version >= 2
    if settings.get("positions", "same-seq") not in get_args(Positions):
        raise ModelError(f"{file}: positions must be {' or '.join(get_args(Positions))}")
    depth = settings.get("max_depth", 1)
    if not isinstance(depth, int) or depth < 1:
        raise ModelError(f"{file}: max_depth must be a whole number of at least 1, not {depth!r}")
    if not isinstance(settings.get("chat_template_kwargs", {}), dict):
        raise ModelError(f"{file}: chat_template_kwargs must be an object")
    return settings


def choose_device(name: str | None) -> torch.device:
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"{name!r} is not a device: use cpu, cuda or cuda:N") from error


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    if name is None or name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in _DTYPES:
        raise ModelError(f"{name!r} is not a dtype: use {', '.join(_DTYPES)} or auto")
    return _DTYPES[name]


def stock_copy(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of a model's modules on the same weights, with stock attention.

    Made before the decoder's linear layers are packed: those keep weights of their own.
    """
    shared: dict[int, object] = {id(weight): weight for weight in model.parameters()}
    stock = copy.deepcopy(model, shared)
    try:
        stock.set_attn_implementation("sdpa")  # type: ignore[operator]
    except (ValueError, ImportError):  # a family that has no sdpa
        stock.set_attn_implementation("eager")  # type: ignore[operator]
    return stock
