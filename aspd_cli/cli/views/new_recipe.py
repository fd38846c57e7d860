"""`aspd train --init`: a recipe to start from."""

import json as json_library
import sys
from pathlib import Path

from aspd_cli.errors import DataError, UsageError
from aspd_cli.recipe import load_recipe, new_recipe, recipe_text


def write(base: Path | None, path: Path, *, json: bool, quiet: bool) -> None:
    """Writes a copy of `base`, or a recipe with all fields, to a new file; `-` prints it.

    Raises:
        UsageError: there is such a file already; it is left as it is.
        DataError: it cannot be written.
    """
    if base is None:
        text = new_recipe("my.yaml" if path == Path("-") else path.name)
    else:
        load_recipe(base)
        text = recipe_text(base)
    if path == Path("-"):
        print(text, end="")
        return
    made = False
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            made = True
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists and is left as it is; give --init a new name") from None
    except OSError as error:
        if made:
            path.unlink(missing_ok=True)
        raise DataError(f"cannot write the recipe {path}: {error.strerror}") from error
    print(json_library.dumps({"recipe": str(path)}) if json else path)
    if not quiet:
        print(f"edit it, then check it with: aspd train {path} --dry-run", file=sys.stderr)
