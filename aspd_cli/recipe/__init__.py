"""The recipe: every setting of every command, in one YAML file.

`load_recipe` reads it with the precedence command line > recipe > default and reports all problems
at once. To print the JSON Schema that ships as assets/recipe.schema.json:
`python -m aspd_cli.recipe`.

- `sections`: the recipe, and its sections: each field with its default and what it is
- `training`, `serving`: the sections of `aspd train`; those of `aspd serve` and of vLLM
- `endpoint`: the fields of an endpoint, which several sections have
- `base`: what all sections share
- `packaged`: from the name of a recipe to its file
- `yaml_reader`: YAML with line numbers, so that a problem can be told with its place
- `advice`: what is said about a problem
- `template`: a recipe to start from
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aspd_cli.errors import RecipeError
from aspd_cli.recipe.advice import clarify, dotted, explain, field_names, one_line
from aspd_cli.recipe.packaged import find_recipe, packaged_recipes
from aspd_cli.recipe.sections import Recipe
from aspd_cli.recipe.template import new_recipe
from aspd_cli.recipe.yaml_reader import MAX_DEPTH, Source, read_file, read_yaml

__all__ = [
    "Recipe",
    "field_names",
    "find_recipe",
    "load_recipe",
    "new_recipe",
    "packaged_recipes",
    "recipe_text",
]

_At = tuple[str | int, ...]


def load_recipe(
    path: str | Path | None = None,
    overrides: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe of a command: `flags` > `overrides` > the file at `path` > defaults.

    Args:
        path: a YAML file or the name of a packaged recipe, or None for defaults only.
        overrides: the `section.field=value` of each `--set`.
        flags: values of command-line flags by dotted field name; those that are None do not count.

    Raises:
        RecipeError: all problems at once, each with its place, its field and what to do.
    """
    if path is not None:
        path = find_recipe(path)
    source = Source() if path is None else read_yaml(recipe_text(path))
    problems = [(f"{path}:{line}", at, text) for line, at, text in source.problems]
    if source.data is not None and not isinstance(source.data, dict):
        problems.append((f"{path}:1", (), "a recipe is a mapping of sections, such as `model:`"))
    data: dict[Any, Any] = source.data if isinstance(source.data, dict) else {}
    # An empty section, as in "training:" with all its fields commented out, means its defaults.
    data = {key: {} if value is None and key != "lora" else value for key, value in data.items()}
    places: dict[_At, str] = {at: f"{path}:{line}" for at, line in source.lines.items()}
    unclear = {at: clarify(found, at) for at, found in source.ambiguous.items()}

    for override in overrides:
        name, equals, value = override.partition("=")
        at = tuple(name.strip().split("."))
        place = f"--set {override}"
        if not equals or not all(at):
            problems.append((place, (), "write it as section.field=value"))
            continue
        if len(at) > MAX_DEPTH:
            problems.append((place, (), f"nested more than {MAX_DEPTH} levels deep"))
            continue
        given = read_yaml(value)
        problems += [(place, (*at, *inner), text) for _, inner, text in given.problems]
        unclear = {old: text for old, text in unclear.items() if old[: len(at)] != at}
        for inner, found in given.ambiguous.items():
            unclear[*at, *inner] = clarify(found, (*at, *inner), "\"'")
        _put(data, at, given.data)
        places.update({at[:end]: place for end in range(1, len(at)) if at[:end] not in places})
        places = {old: where for old, where in places.items() if old[: len(at)] != at}
        places[at] = place
    for name, value in (flags or {}).items():
        if value is not None:
            at = tuple(name.split("."))
            _put(data, at, value)
            unclear.pop(at, None)
            places[at] = "command line"

    told = {at: text for at, text in unclear.items() if text}
    problems += [(_place(at, places, path), at, text) for at, text in told.items()]
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        for detail in error.errors():
            field = _field_path(detail["loc"], data)
            if detail["type"] == "missing":  # it is nowhere: its section is
                field = detail["loc"]
            if field not in told:
                problems.append((_place(field, places, path), field, explain(detail)))
    if problems:
        lines = [
            one_line(": ".join(filter(None, (place, dotted(at), text))))
            for place, at, text in problems
        ]
        lines = list(dict.fromkeys(lines))
        head = f"{len(lines)} problems in the recipe:\n  " if len(lines) > 1 else ""
        raise RecipeError(head + "\n  ".join(lines))
    return recipe


def recipe_text(path: str | Path) -> str:
    """The text of a recipe as it stands, with its comments.

    Raises:
        RecipeError: there is none of that name, or it is no text that can be a recipe.
    """
    path = find_recipe(path)
    try:
        return read_file(path)
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error


def _put(data: dict[Any, Any], at: tuple[str, ...], value: Any) -> None:
    """Sets a field; mappings on the way are copied, because an alias may share them."""
    *sections, name = at
    for section in sections:
        inner = data.get(section)
        data[section] = dict(inner) if isinstance(inner, dict) else {}
        data = data[section]
    data[name] = value


def _field_path(loc: _At, data: Any) -> _At:
    """`loc` without what pydantic appends for the members of a union."""
    for end, key in enumerate(loc):
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return loc[:end] or loc
    return loc


def _place(at: _At, places: Mapping[_At, str], path: Path | None) -> str:
    """Where a field is given; that of its section if it came with it, as in `--set lora={r: 0}`."""
    while at and at not in places:
        at = at[:-1]
    return places.get(at, f"{path}:1" if path else "command line")
