"""`aspd validate`: whether training data are in the grammar and worth training on."""

from pathlib import Path
from typing import Annotated

import typer

from aspd_cli.cli.options import Debug, Json, Quiet, RecipeFile, Set, TrustRemoteCode


def validate(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Training data; - for standard input."),
    ],
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            help="Directory, GGUF file or Hub id; used to count tokens.",
            show_default=False,
        ),
    ] = None,
    show: Annotated[
        int | None,
        typer.Option(
            "--show", metavar="N", min=1, help="Show the record on line N.", show_default=False
        ),
    ] = None,
    judge: Annotated[
        bool,
        typer.Option("--judge", help="Have the recipe's endpoint judge every block again."),
    ] = False,
    png: Annotated[
        Path | None,
        typer.Option(
            "--png",
            metavar="FILE",
            help="Write the attention mask of the --show record as an image.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FILE",
            help="Source of FILE: report lost, doubled, reordered and changed records, by id.",
            show_default=False,
        ),
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option(
            "--fix",
            metavar="NEW",
            help="Write a mended copy to NEW: faulty blocks become plain text, other faulty "
            "records are dropped.",
            show_default=False,
        ),
    ] = None,
    trust_remote_code: TrustRemoteCode = None,
    recipe: RecipeFile = None,
    set: Set = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check training data: grammar, branches, titles, references between branches, duplicates.

    What `aspd transform` wrote is checked with the settings that stand next to it, unless --recipe
    names others. The exit code is 0 if no problem is found, or if --fix removed all, and 3
    otherwise.
    """
    from aspd_cli.cli.views.validate import run, settings_beside
    from aspd_cli.recipe import find_recipe, load_recipe

    recipe = recipe or settings_beside(file)
    settings = load_recipe(
        recipe,
        set or (),
        {"model.tokenizer": tokenizer, "model.trust_remote_code": trust_remote_code},
    )
    code = run(
        settings,
        file,
        show=show,
        png=png,
        against=against,
        fix=fix,
        recipe_file=recipe and find_recipe(recipe),
        judge=judge,
        json=json,
        quiet=quiet,
    )
    raise typer.Exit(code)
