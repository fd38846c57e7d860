"""`aspd train`: fine-tune a model on a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from aspd_cli.cli.options import Debug, Json, Quiet, Set
from aspd_cli.errors import UsageError


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file with all settings.")],
    set: Set = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, show a record, train nothing.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint of the same run.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Replace what an earlier run has left.")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="Write the whole model to RUN/merged too.")
    ] = False,
    push: Annotated[
        str | None,
        typer.Option(
            "--push", metavar="REPO", help="Upload the result to the Hub.", show_default=False
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a model as a recipe says, and print the directory of the result.

    Everything that can be checked is checked before the first weight is loaded.
    """
    if resume and fresh:
        raise UsageError("--resume goes on with a run and --fresh replaces it; choose one")
    if dry_run and (resume or fresh or merge or push):
        raise UsageError("--dry-run changes nothing: leave out --resume, --fresh, --merge, --push")
    from aspd_cli.cli.views.train import check, run
    from aspd_cli.recipe import load_recipe

    settings = load_recipe(recipe, set or ())
    if dry_run:
        check(settings, json=json)
    else:
        run(settings, resume, fresh, merge, push, json=json, quiet=quiet)
