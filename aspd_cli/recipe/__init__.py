"""The recipe: every setting of every command, in one YAML file.

`load_recipe` reads it with the precedence command line > recipe > default and reports all problems
at once. To print the JSON Schema that ships as assets/recipe.schema.json:
`python -m aspd_cli.recipe`.

- `sections`: every field with its default and one line that says what it is
- `yaml_reader`: YAML with line numbers, so that a problem can be told with its place
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from aspd_cli.errors import RecipeError
from aspd_cli.recipe.sections import (
    DataSection,
    EvaluationSection,
    GenerationSection,
    LoraSection,
    ModelSection,
    Section,
    TrainingSection,
    TransformSection,
)
from aspd_cli.recipe.yaml_reader import Source, read_scalar, read_yaml

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


class Recipe(Section):
    """All settings. Every section and every field has a default."""

    model: ModelSection = ModelSection()
    """Which model to use, and how to load it."""
    data: DataSection = DataSection()
    """What to train on."""
    transform: TransformSection = TransformSection()
    """How ordinary answers become parallel-structured ones."""
    training: TrainingSection = TrainingSection()
    """How to train."""
    lora: LoraSection | None = None
    """Low-rank adaptation; null trains all weights."""
    generation: GenerationSection = GenerationSection()
    """How to decode answers."""
    evaluation: EvaluationSection = EvaluationSection()
    """What to measure."""

    def without_secrets(self) -> Self:
        """The recipe as it may be saved and shown."""
        asked, judge = self.transform.endpoint, self.evaluation.judge
        transform = {"endpoint": asked and asked.without_secrets()}
        evaluation = {"judge": judge and judge.without_secrets()}
        return self.model_copy(
            update={
                "transform": self.transform.model_copy(update=transform),
                "evaluation": self.evaluation.model_copy(update=evaluation),
            }
        )

    def to_yaml(self) -> str:
        """The resolved recipe without secrets; `load_recipe` on it gives an equal one else."""
        values = self.without_secrets().model_dump()
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


def load_recipe(
    path: str | Path | None = None,
    overrides: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe of a command: `flags` > `overrides` > the file at `path` > defaults.

    Args:
        path: a YAML file, or None for defaults only.
        overrides: the `section.field=value` of each `--set`.
        flags: values of command-line flags by dotted field name; those that are None do not count.

    Raises:
        RecipeError: all problems at once, each with its place, its field and what to do.
    """
    source = Source() if path is None else _read(Path(path))
    problems = [(f"{path}:{line}", at, text) for line, at, text in source.problems]
    if source.data is not None and not isinstance(source.data, dict):
        problems.append((f"{path}:1", (), "a recipe is a mapping of sections, such as `model:`"))
    data: dict[Any, Any] = source.data if isinstance(source.data, dict) else {}
    # An empty section, as in "training:" with all its fields commented out, means its defaults.
    data = {key: {} if value is None and key != "lora" else value for key, value in data.items()}
    places = {at: f"{path}:{line}" for at, line in source.lines.items()}

    for override in overrides:
        name, equals, value = override.partition("=")
        at = tuple(name.strip().split("."))
        place = f"--set {override}"
        if not equals or not all(at):
            problems.append((place, (), "write it as section.field=value"))
            continue
        try:
            _put(data, at, read_scalar(value))
        except ValueError as error:
            problems.append((place, at, str(error)))
        places.update({at[:end]: place for end in range(1, len(at)) if at[:end] not in places})
        places[at] = place
    for name, value in (flags or {}).items():
        if value is not None:
            at = tuple(name.split("."))
            _put(data, at, value)
            places[at] = "command line"

    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        for detail in error.errors():
            field = _field_path(detail["loc"], data)
            if detail["type"] == "missing":  # it is nowhere: its section is
                field = detail["loc"]
            problems.append((_place(field, places, str(path)), field, _explain(detail)))
    if problems:
        lines = [
            ": ".join(filter(None, (place, _dotted(at), text))) for place, at, text in problems
        ]
        lines = list(dict.fromkeys(lines))
        head = f"{len(lines)} problems in the recipe:\n  " if len(lines) > 1 else ""
        raise RecipeError(head + "\n  ".join(lines))
    return recipe


def _read(path: Path) -> Source:
    try:
        return read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"no recipe at {path}; give the path of a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from error


def _put(data: dict[Any, Any], at: tuple[str, ...], value: Any) -> None:
    *sections, name = at
    for section in sections:
        if not isinstance(data.get(section), dict):
            data[section] = {}
        data = data[section]
    data[name] = value


def _dotted(at: tuple[str | int, ...]) -> str:
    return ".".join(map(str, at))


def _field_path(loc: tuple[str | int, ...], data: Any) -> tuple[str | int, ...]:
    """`loc` without what pydantic appends for the members of a union."""
    for end, key in enumerate(loc):
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return loc[:end] or loc
    return loc


def _place(at: tuple[str | int, ...], places: Mapping[Any, str], path: str) -> str:
    """Where a field is given; that of its section if it came with it, as in `--set lora={r: 0}`."""
    while at and at not in places:
        at = at[:-1]
    return places.get(at, path)


def _explain(detail: ErrorDetails) -> str:
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
        return f"must be {detail['ctx']['expected']}, not {given!r}"
    return f"{re.sub('^(Input|String) should', 'must', detail['msg'])}, not {given!r}"


def _unknown(loc: tuple[str | int, ...], given: Any) -> str:
    """Why `loc` is no field, with the nearest one that is: first in its own section."""
    *parents, name = map(str, loc)
    fields = _fields()
    no_such = f"no such {'field' if parents else 'section'}"
    if name in _ELSEWHERE:
        return f"{no_such}; use {_ELSEWHERE[name]}"
    # Of several sections with a field, the outermost: a judge's temperature is rarely meant.
    sections = sorted(fields, key=lambda section: section.count("."), reverse=True)
    everywhere = {field: section for section in sections for field in fields[section]}
    here = fields[_dotted(tuple(parents))] if parents else list(Recipe.model_fields)
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
    found = {_dotted(at): list(section.model_fields)} if at else {}
    for name, field in section.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                found |= _fields(kind, (*at, name))
    return found
