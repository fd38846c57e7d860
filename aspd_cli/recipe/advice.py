"""What is said of a value that a recipe cannot have: one sentence, with what to write instead."""

import difflib
import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic_core import ErrorDetails

from aspd_cli.recipe.base import Section
from aspd_cli.recipe.sections import Recipe
from aspd_cli.recipe.yaml_reader import Ambiguous

_ELSEWHERE = {
    "base_model": "model.path",
    "model_name_or_path": "model.path",
    "adapter_name_or_path": "model.adapter",
    "lora_model_dir": "model.adapter",
    "torch_dtype": "model.dtype",
    "dataset": "data.train",
    "datasets": "data.train",
    "cutoff_len": "data.max_length",
    "max_seq_length": "data.max_length",
    "sequence_len": "data.max_length",
    "val_set_size": "data.eval_share",
    "val_size": "data.eval_share",
    "micro_batch_size": "training.per_device_train_batch_size",
    "epochs": "training.num_train_epochs",
    "num_epochs": "training.num_train_epochs",
    "lr": "training.learning_rate",
    "lr_scheduler": "training.lr_scheduler_type",
    "optimizer": "training.optim",
    "warmup_steps": "training.warmup_ratio",
    "rank": "lora.r",
    "lora_r": "lora.r",
    "lora_rank": "lora.r",
    "lora_alpha": "lora.alpha",
    "lora_dropout": "lora.dropout",
    "lora_target": "lora.target_modules",
    "lora_target_modules": "lora.target_modules",
    "load_in_4bit": "lora.quantization",
    "quantization_bit": "lora.quantization",
}
"""What PEFT, axolotl and LLaMA-Factory call a field -> the field."""

_LONGEST = 80
"""Characters that are shown of a value."""


def dotted(at: tuple[str | int, ...]) -> str:
    """A field path as a person writes it."""
    return ".".join(map(str, at))


def one_line(text: str) -> str:
    """`text` with everything escaped that would break the line or that a terminal would obey."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def explain(detail: ErrorDetails) -> str:
    """Why pydantic refused a value, and what to do."""
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return _unknown(detail["loc"], given)
    if kind == "missing":
        return "is required; give it a value"
    if kind == "model_type":
        return "must be a mapping of fields, such as `name: value`"
    if kind == "value_error":  # of a section's own check
        return str(detail["ctx"]["error"])
    if kind == "literal_error":
        return f"must be {detail['ctx']['expected']}, not {_shown(given)}"
    if kind == "string_pattern_mismatch":  # every pattern of a recipe is that of an address
        return f"must begin with http:// or https://, not {_shown(given)}"
    must = re.sub("^(Input|String) should", "must", detail["msg"])
    if kind == "string_type" and isinstance(given, bool | int | float):
        return f"{must}, not {_shown(given)}; put it in quotes"
    return f"{must}, not {_shown(given)}"


def clarify(found: Ambiguous, at: tuple[str | int, ...], quote: str = "'") -> str | None:
    """What to write instead of a scalar with two meanings; None where the field has only one.

    Args:
        at: the field that it is the value of.
        quote: what makes a text of it where it stands.
    """
    kinds = set(_kinds(at))
    if found.switch and kinds <= {bool, type(None)}:
        return None
    if found.is_text and kinds <= {str, type(None)}:
        return None
    literal = {bool, Any} if found.switch else {int, float, Any}
    options = list(found.instead) if kinds & literal else []
    if kinds & {str, Any}:
        options.append(f"{quote}{found.text}{quote[::-1]} for the text")
    return f"{found.text} {found.meaning}; write {' or '.join(options) or 'a number'}"


def _kinds(at: tuple[str | int, ...]) -> Iterator[Any]:
    """The types that the value at a field path may have; Any where everything goes."""
    kinds: list[Any] = [Recipe]
    for key in at:
        inner: list[Any] = []
        for kind in kinds:
            origin, args = get_origin(kind), get_args(kind)
            if isinstance(kind, type) and issubclass(kind, Section):
                if key in kind.model_fields:
                    inner += _members(kind.model_fields[str(key)].annotation)
            elif origin is dict or origin is list:
                inner += _members(args[-1])
        kinds = inner
    yield from kinds or [Any]


def _members(annotation: Any) -> Iterator[Any]:
    """The types of a union; those of the choices of a Literal."""
    origin, args = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):  # Annotated
        yield from _members(annotation.__origin__)
    elif origin in (dict, list) or not args:
        yield annotation
    else:
        for arg in args:
            yield from _members(arg) if not isinstance(arg, str | int) else [type(arg)]


def _unknown(loc: tuple[str | int, ...], given: Any) -> str:
    """Why `loc` is no field, with the nearest one that is: first in its own section."""
    *parents, name = map(str, loc)
    fields = _fields()
    no_such = f"no such {'field' if parents else 'section'}"
    if name in _ELSEWHERE:
        return f"{no_such}; use {_ELSEWHERE[name]}"
    if parents and name in Recipe.model_fields:
        return f"{no_such} here; {name} is a section of its own, without indentation"
    # Of several sections with a field, one within its own, then the outermost: a judge's
    # temperature is rarely meant; of equals the first. What comes last is kept.
    own = dotted((*parents, ""))
    order = reversed(list(fields))
    sections = sorted(order, key=lambda s: (s.startswith(own) and own != "", -s.count(".")))
    everywhere = {field: section for section in sections for field in fields[section]}
    here = fields[dotted(tuple(parents))] if parents else list(Recipe.model_fields)
    near = difflib.get_close_matches(name, here, n=1)
    if near and (parents or name not in everywhere):
        return f"{no_such}; did you mean {near[0]}?"
    for word in map(str, given) if isinstance(given, dict) and not parents else [name]:
        if near := difflib.get_close_matches(word, everywhere, n=1):
            where = " here" if parents else ""
            return f"{no_such}{where}; did you mean {everywhere[near[0]]}.{near[0]}?"
    return f"{no_such}; choose from {', '.join(here)}"


def field_names() -> list[str]:
    """The dotted names of all fields, as `--set` takes them."""
    return [f"{section}.{field}" for section, names in _fields().items() for field in names]


def _fields(section: type[Section] = Recipe, at: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """The names of the fields of every section within `section`, by the section's dotted name."""
    found = {dotted(at): list(section.model_fields)} if at else {}
    for name, field in section.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                found |= _fields(kind, (*at, name))
    return found
