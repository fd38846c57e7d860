"""The recipes that come with the program, by name: the folder `recipes/` of the repository.

A wheel holds a copy of it; an editable install reads the folder itself.
"""

import difflib
import os
from pathlib import Path

from aspd_cli.errors import RecipeError

_PACKAGE = Path(__file__).parents[1]
_FOLDERS = (_PACKAGE / "assets" / "recipes", _PACKAGE.parent / "recipes")


def packaged_recipes() -> dict[str, Path]:
    """Name -> file, sorted by name."""
    folder = next(filter(Path.is_dir, _FOLDERS), _FOLDERS[0])
    return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}


def find_recipe(given: str | Path) -> Path:
    """The file of a recipe: of a path, or of the name of a packaged one, as in `qwen`.

    A file `qwen` or `qwen.yaml` in the working directory comes before the packaged one.

    Raises:
        RecipeError: there is none; with the names that there are.
    """
    given = Path(given)
    if _is_file(given):
        return given
    ours = packaged_recipes()
    name = given.name.removesuffix(".yaml")
    local = given.with_name(f"{name}.yaml") if name else given
    if given.parent == Path() and name in ours:
        return local if _is_file(local) else ours[name]
    if os.path.isdir(given):
        raise RecipeError(f"{given} is a directory; give a YAML file or one of {', '.join(ours)}")
    near = [str(local)] if _is_file(local) else difflib.get_close_matches(name, ours, n=1)
    hint = f"did you mean {near[0]}?" if near else "give the path of a YAML file."
    raise RecipeError(f"no recipe at {given}: {hint} Packaged recipes: {', '.join(ours)}")


def shadowed(given: str | Path) -> Path | None:
    """The file of the working directory that is read in place of a packaged recipe of its name."""
    given = Path(given)
    ours = packaged_recipes().get(given.name.removesuffix(".yaml"))
    if ours is None or given.parent != Path():
        return None
    found = find_recipe(given)
    return found if found != ours else None


def _is_file(path: Path) -> bool:
    """Whether something can be read there; a pipe, as in `<(...)`, can. Never raises."""
    return os.path.exists(path) and not os.path.isdir(path)
