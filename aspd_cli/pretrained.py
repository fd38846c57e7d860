"""What transformers reads of a directory, a GGUF file or a Hub id: the one place that calls it.

A GGUF file holds configuration, tokenizer and weights. Its weights are unpacked as they are loaded:
a model from it is like any other, and is trained, merged and saved as such.

A model may come with Python code of its own, which runs when it is loaded. It runs only where the
user has allowed that; left to itself, transformers would ask on standard input, and take any `y`
that is piped into the program for an answer.
"""

import re
from contextlib import nullcontext, redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from aspd_cli.errors import ModelError, reason

Kind = Literal["AutoConfig", "AutoTokenizer", "AutoModelForCausalLM"]

_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$", re.IGNORECASE)


def from_pretrained(
    kind: Kind, where: str | Path, *, trust_remote_code: bool, place: str, **options: Any
) -> Any:
    """The configuration, tokenizer or model of a directory, GGUF file or Hub id.

    What comes from a GGUF file bears its whole path as `name_or_path`, which adapters note.

    Args:
        kind: the class of transformers that reads it.
        trust_remote_code: whether Python code that comes with it may run.
        place: what to call it in an error, as in `the model runs/mine`.
        options: as for the `from_pretrained` of that class.

    Raises:
        ModelError: it needs code of its own and may not run it, or cannot be loaded.
    """
    import transformers

    file = gguf_file(where)
    if file is not None:
        _check_gguf(file, place, options)
        where, options = file.parent, {**options, "gguf_file": file.name}
        if kind == "AutoModelForCausalLM":
            options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    try:
        if kind == "AutoTokenizer" and not trust_remote_code:
            _refuse_foreign_tokenizer(where, place, options)
        read = getattr(transformers, kind).from_pretrained
        # The reader of GGUF shows a progress bar that no setting of transformers turns off.
        with redirect_stderr(StringIO()) if file else nullcontext():
            found = read(str(where), trust_remote_code=trust_remote_code, **options)
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged file makes of the libraries that read it
        if not trust_remote_code and "trust_remote_code" in str(error):
            raise needs_code(place) from error
        raise ModelError(f"cannot load {place}: {reason(error)}") from error
    if kind == "AutoTokenizer" and len(found) <= len(found.all_special_tokens):
        raise ModelError(
            f"cannot load {place}: its tokenizer has no vocabulary (is tokenizer.json missing?)"
        )
    if file is not None:
        made = found[0] if isinstance(found, tuple) else found
        made.name_or_path = str(file.absolute())
    return found


def gguf_file(where: str | Path) -> Path | None:
    """The GGUF file that a name means: the file itself, or the only one of a directory.

    A directory that holds a model or an adapter of transformers' own form means that.
    """
    path = Path(where)
    if path.is_dir():
        if any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
            return None
        files = list(path.glob("*.gguf"))
        return files[0] if len(files) == 1 else None
    return path if path.suffix.lower() == ".gguf" else None


def is_local(where: str | Path) -> bool:
    """Whether a name means a directory or a GGUF file on the disk, and not the Hub."""
    return Path(where).is_dir() or gguf_file(where) is not None


def not_a_model(folder: Path) -> str:
    """What is wrong with a directory that is no model, to follow its name."""
    files = sorted(folder.glob("*.gguf"))
    if len(files) > 1:
        return f"contains {len(files)} GGUF files: name one of them, as in {files[0]}"
    return "contains no config.json: it is not a model directory"


def _check_gguf(file: Path, place: str, options: dict[str, Any]) -> None:
    """Raises `ModelError` when a GGUF file cannot be read, before transformers tries."""
    part = _PART.search(file.name)
    problem = None
    if not file.is_file():
        problem = f"there is no file {file}"
    elif find_spec("gguf") is None:
        problem = 'GGUF files need the package gguf: run `pip install "aspd[gguf]"`'
    elif part and int(part[1]) > 1:
        problem = (
            f"{file.name} is one of {int(part[1])} parts: join them to one file with "
            "`llama-gguf-split --merge`"
        )
    elif options.get("quantization_config") is not None:
        problem = "the weights of a GGUF file are unpacked and cannot be quantized again"
    if problem:
        raise ModelError(f"cannot load {place}: {problem}")


def from_config(config: Any, *, trust_remote_code: bool, **options: Any) -> Any:
    """A causal language model of an architecture, with random weights.

    Raises:
        ModelError: it needs code of its own and may not run it, or is none that can be built.
    """
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_config(
            config, trust_remote_code=trust_remote_code, **options
        )
    except Exception as error:  # as above
        if not trust_remote_code and "trust_remote_code" in str(error):
            raise needs_code("the model") from error
        raise ModelError(f"the model's configuration cannot be used: {reason(error)}") from error


def needs_code(place: str) -> ModelError:
    """The error about something that cannot be loaded without running its own code."""
    return ModelError(
        f"{place} comes with Python code of its own, which is not run: if you trust that code, "
        "pass --trust-remote-code, or set model.trust_remote_code: true in the recipe"
    )


def names_code(where: str | Path) -> bool:
    """Whether a model or its tokenizer names code of its own; False where neither can be read."""
    file = gguf_file(where)
    where = where if file is None else file.parent
    return any("auto_map" in found for found in (_config(where, {}), _tokenizer_config(where, {})))


def _refuse_foreign_tokenizer(where: str | Path, place: str, options: dict[str, Any]) -> None:
    """Refuses a tokenizer of a class of its own: transformers would take another in its place."""
    import transformers

    found = _tokenizer_config(where, options)
    named = found.get("auto_map")
    if not named or (isinstance(named, dict) and not named.get("AutoTokenizer")):
        return
    name = str(found.get("tokenizer_class") or "")
    if not any(hasattr(transformers, each) for each in (name, f"{name}Fast") if name):
        raise needs_code(place)


def _config(where: str | Path, options: dict[str, Any]) -> dict[str, Any]:
    from transformers import PretrainedConfig

    try:
        found: dict[str, Any] = PretrainedConfig.get_config_dict(str(where), **options)[0]
    except Exception:  # that is for whoever loads it to tell
        return {}
    return found


def _tokenizer_config(where: str | Path, options: dict[str, Any]) -> dict[str, Any]:
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    only_files = bool(options.get("local_files_only"))
    try:
        found = get_tokenizer_config(str(where), local_files_only=only_files)
    except Exception:  # as above
        return {}
    return found if isinstance(found, dict) else {}
