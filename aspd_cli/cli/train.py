"""`aspd train`: fine-tune a model on a recipe."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from aspd_cli.cli.libraries import hush
from aspd_cli.cli.options import Debug, Set


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file with all settings.")],
    set: Set = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint of the same run.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Train a model as a recipe says, and print the directory of the result."""
    from aspd_cli.recipe import load_recipe

    settings = load_recipe(recipe, set or ())
    hush()
    from aspd_cli.train.trainer import train as run

    with contextlib.redirect_stdout(sys.stderr):  # the trainer prints its log
        directory = run(settings, resume=resume)
    print(directory)
