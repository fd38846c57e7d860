"""`aspd train`: fine-tune a model on a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from aspd_cli.cli.options import Debug, Json, Quiet, Set
from aspd_cli.errors import UsageError


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML file with all settings.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and show one record; do not train.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run from its newest checkpoint.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete the earlier run and start over.")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="Also write the merged model to RUN/merged.")
    ] = False,
    push: Annotated[
        str | None,
        typer.Option(
            "--push", metavar="REPO", help="Upload the result to the Hub.", show_default=False
        ),
    ] = None,
    set: Set = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a model from a recipe and print the directory of the result.

    The recipe, the data and the memory estimate are checked before any weights are loaded.
    """
    if resume and fresh:
        raise UsageError("--resume continues a run and --fresh replaces it; choose one")
    if dry_run and (resume or fresh or merge or push):
        raise UsageError("--dry-run changes nothing: leave out --resume, --fresh, --merge, --push")
    from aspd_cli.cli.views.train import check, run
    from aspd_cli.recipe import load_recipe

    settings = load_recipe(recipe, set or ())
    if dry_run:
        check(settings, json=json)
    else:
        run(settings, resume, fresh, merge, push, recipe_file=recipe, json=json, quiet=quiet)
