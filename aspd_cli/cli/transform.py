"""`aspd transform`: ordinary answers to parallel-structured training data."""

from pathlib import Path
from typing import Annotated

import typer

from aspd_cli.cli.options import Debug, Json, Quiet, RecipeFile, Set


def transform(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="JSONL, JSON or Parquet, gzipped or not; - is standard input."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="JSONL file of training data.")],
    recipe: RecipeFile = None,
    set: Set = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Read so many records only.", show_default=False),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Replace OUT whatever it was made with.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find the parts of answers that do not depend on each other, and mark them as branches.

    Every record comes out once and in order, parallel, or serial with the reason why. Beside OUT
    are written OUT's report and the values that are no records.
    """
    from aspd_cli.cli.transforming import run
    from aspd_cli.recipe import load_recipe

    settings = load_recipe(recipe, set or ())
    raise typer.Exit(run(settings, source, out, limit=limit, fresh=fresh, json=json, quiet=quiet))
