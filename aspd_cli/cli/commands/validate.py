"""`aspd validate`: whether training data are in the grammar and worth training on."""

from pathlib import Path
from typing import Annotated

import typer

from aspd_cli.cli.options import Debug, Json, Quiet, RecipeFile, Set


def validate(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Training data; - is standard input."),
    ],
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", help="Directory or Hub id; counts tokens.", show_default=False),
    ] = None,
    show: Annotated[
        int | None,
        typer.Option(
            "--show", metavar="N", min=1, help="Draw the record on line N.", show_default=False
        ),
    ] = None,
    judge: Annotated[
        bool,
        typer.Option("--judge", help="Let the endpoint of the recipe vote on every block again."),
    ] = False,
    png: Annotated[
        Path | None,
        typer.Option(
            "--png",
            metavar="FILE",
            help="Write the mask of the record of --show as a picture.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FILE",
            help="The raw answers FILE was made of; plain texts must be theirs, by id.",
            show_default=False,
        ),
    ] = None,
    recipe: RecipeFile = None,
    set: Set = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check training data: grammar, branches, titles, references between branches, duplicates.

    The exit code is 0 when nothing is found and 3 when something is.
    """
    from aspd_cli.cli.views.validate import run
    from aspd_cli.recipe import load_recipe

    settings = load_recipe(recipe, set or (), {"model.tokenizer": tokenizer})
    code = run(
        settings, file, show=show, png=png, against=against, judge=judge, json=json, quiet=quiet
    )
    raise typer.Exit(code)
