"""`aspd transform`: ordinary answers to parallel-structured training data."""

from pathlib import Path
from typing import Annotated

import typer

from aspd_cli.cli.options import Debug, Json, Quiet, RecipeFile, Set


def transform(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="JSONL, JSON or Parquet, gzipped or not; - is standard input; or a dataset of the "
            "Hub: ORG/NAME, ORG/NAME:SPLIT, ORG/NAME/CONFIG:SPLIT.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="JSONL file of training data.")],
    recipe: RecipeFile = None,
    set: Set = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Read so many records only.", show_default=False),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            help="Dollars that OUT may cost in all, by the recipe's prices.",
            show_default=False,
        ),
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(
            "--budget-tokens", help="Tokens that OUT may cost in all.", show_default=False
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Replace OUT and its journal, and begin anew.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Estimate calls, tokens and cost; ask nothing."),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Also write a page with the figures and some answers.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find the parts of answers that do not depend on each other, and mark them as branches.

    Every record comes out once and in order, parallel, or serial with the reason why. Beside OUT
    are written OUT's report and the values that are no records. With an endpoint in the recipe a
    model proposes and judges; its replies are kept in OUT's journal, and the same command goes on
    after a stop without asking twice.
    """
    from aspd_cli.cli.views.transform import run
    from aspd_cli.recipe import load_recipe

    budgets = {
        "transform.endpoint.budget": budget,
        "transform.endpoint.budget_tokens": budget_tokens,
    }
    settings = load_recipe(recipe, set or (), budgets)
    code = run(
        settings,
        source,
        out,
        limit=limit,
        fresh=fresh,
        dry_run=dry_run,
        html=html,
        json=json,
        quiet=quiet,
    )
    raise typer.Exit(code)
