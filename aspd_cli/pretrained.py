"""What transformers reads of a directory or a Hub id: the one place that calls it.

A model may come with Python code of its own, which runs when it is loaded. It runs only where the
user has allowed that; left to itself, transformers would ask on standard input, and take any `y`
that is piped into the program for an answer.
"""

from pathlib import Path
from typing import Any, Literal

from aspd_cli.errors import ModelError, reason

Kind = Literal["AutoConfig", "AutoTokenizer", "AutoModelForCausalLM"]


def from_pretrained(
    kind: Kind, where: str | Path, *, trust_remote_code: bool, place: str, **options: Any
) -> Any:
    """The configuration, tokenizer or model of a directory or Hub id.

    Args:
        kind: the class of transformers that reads it.
        trust_remote_code: whether Python code that comes with it may run.
        place: what to call it in an error, as in `the model runs/mine`.
        options: as for the `from_pretrained` of that class.

    Raises:
        ModelError: it needs code of its own and may not run it, or cannot be loaded.
    """
    import transformers

    try:
        if kind == "AutoTokenizer" and not trust_remote_code:
            _refuse_foreign_tokenizer(where, place, options)
        read = getattr(transformers, kind).from_pretrained
        return read(str(where), trust_remote_code=trust_remote_code, **options)
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged file makes of the libraries that read it
        if not trust_remote_code and "trust_remote_code" in str(error):
            raise needs_code(place) from error
        raise ModelError(f"cannot load {place}: {reason(error)}") from error


def from_config(config: Any, *, trust_remote_code: bool, **options: Any) -> Any:
    """A causal language model of an architecture, with random weights.

    Raises:
        ModelError: it needs code of its own and may not run it.
    """
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_config(
            config, trust_remote_code=trust_remote_code, **options
        )
    except ValueError as error:
        if not trust_remote_code and "trust_remote_code" in str(error):
            raise needs_code("the model") from error
        raise


def needs_code(place: str) -> ModelError:
    """The error about something that cannot be loaded without running its own code."""
    return ModelError(
        f"{place} comes with Python code of its own, which is not run: if you trust that code, "
        "pass --trust-remote-code, or set model.trust_remote_code: true in the recipe"
    )


def names_code(where: str | Path) -> bool:
    """Whether a model or its tokenizer names code of its own; False where neither can be read."""
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
