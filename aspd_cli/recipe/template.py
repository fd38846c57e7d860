"""A recipe to start from: every field with what it is and its default."""

from collections.abc import Iterator
from textwrap import wrap
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from aspd_cli.recipe.base import Section
from aspd_cli.recipe.sections import Recipe
from aspd_cli.recipe.training import LoraSection

_FIRST = {
    "model.path": ("null", "change this, as in Qwen/Qwen2.5-0.5B-Instruct"),
    "data.train": ("synth", "change this, as in train.jsonl from `aspd transform`"),
    "training.output_dir": ("runs/my", "change this: a directory for each run"),
    "lora.r": ("16", "remove the whole section to train all weights"),
}
"""Fields that are set -> their value, and what is said behind it."""

_HEAD = """\
# A recipe: aspd train {name} --dry-run checks it, aspd train {name} runs it.
#
# Set the fields marked "change this". Until then it trains the embedded model on made-up questions.
# All other fields stand behind a #, with their defaults; remove the # to change one.
"""


_WIDTH = 92
"""Characters of a line, without the indentation."""


def new_recipe(name: str) -> str:
    """The text of a commented recipe for a file called `name`, which is valid as it is."""
    return _HEAD.format(name=name) + "".join(f"{line}\n" for line in _sections())


def _sections() -> Iterator[str]:
    written: dict[type[Section], str] = {}
    for name, field in Recipe.model_fields.items():
        yield ""
        yield f"# {field.description}"
        yield f"{name}:"
        kind = LoraSection if name == "lora" else _section(field)
        assert kind is not None, "a recipe holds sections only"
        for line in _fields(kind, name, written):
            yield f"  {line}" if line else ""


def _fields(kind: type[Section], at: str, written: dict[type[Section], str]) -> Iterator[str]:
    """The lines of a section, those of its first fields first."""
    written[kind] = at
    fields = kind.model_fields
    for name in sorted(fields, key=lambda name: f"{at}.{name}" not in _FIRST):
        field, path = fields[name], f"{at}.{name}"
        inner = _section(field)
        yield f"# {field.description}"
        if path in _FIRST:
            value, remark = _FIRST[path]
            yield f"{name}: {value}  # {remark}"
        elif inner is None:
            line, choices = f"#{name}: {_default(field)}", _choices(field)
            if choices and len(line) + len(choices) > _WIDTH:
                yield from (f"# {part}" for part in wrap(f"One of {choices}.", _WIDTH))
                yield line
            else:
                yield f"{line}  # {choices}" if choices else line
        else:
            yield f"#{name}:"
            if inner in written:
                yield f"#  model: NAME  # and the other fields of {written[inner]}"
            else:
                for line in _fields(inner, path, written):
                    yield f"#  {line.removeprefix('#') if not line.startswith('# ') else line}"


def _section(field: FieldInfo) -> type[Section] | None:
    kinds = (field.annotation, *get_args(field.annotation))
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, Section)), None)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "NAME"
    value: Any = field.get_default(call_default_factory=True)
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def _choices(field: FieldInfo) -> str:
    for kind in (field.annotation, *get_args(field.annotation)):
        if get_origin(kind) is Literal and len(get_args(kind)) > 1:
            return ", ".join(map(str, get_args(kind)))
    return ""
