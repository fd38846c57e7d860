"""`aspd transform`: ordinary answers to parallel-structured training data."""

from pathlib import Path
from typing import Annotated

import typer

from aspd_cli.cli.options import Debug, Json, Quiet, RecipeFile, Set, TrustRemoteCode


def transform(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="JSONL, JSON, CSV or Parquet file, with gzip or zstd too; - for standard input; "
            "or a Hub dataset: ORG/NAME, ORG/NAME:SPLIT, ORG/NAME/CONFIG:SPLIT.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="JSONL file to write the training data to; - for standard output."
        ),
    ],
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=1, help="Read at most N records.", show_default=False
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="Processes that apply the rules; OUT stays the same (default: 1).",
            show_default=False,
        ),
    ] = 1,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Read only part I of N of IN, counted from 1; the outputs of all parts, joined in "
            "order, equal that of IN.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="DOLLARS",
            help="Most dollars to spend on OUT, at the recipe's prices.",
            show_default=False,
        ),
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(
            "--budget-tokens", metavar="N", help="Most tokens to spend on OUT.", show_default=False
        ),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Replace OUT, even if another program wrote it; paid replies are kept."
        ),
    ] = False,
    discard_paid: Annotated[
        bool,
        typer.Option("--discard-paid", help="With --fresh: delete OUT's paid replies as well."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Estimate calls, tokens and cost; send no request."),
    ] = False,
    from_model: Annotated[
        str | None,
        typer.Option(
            "--from-model",
            metavar="DIR",
            help="IN holds prompts: a tuned model answers them, and its own sound blocks are kept.",
            show_default=False,
        ),
    ] = None,
    write_requests: Annotated[
        Path | None,
        typer.Option(
            "--write-requests",
            metavar="FILE",
            help="Write the next requests to FILE for a batch (OpenAI's, or vLLM's run-batch); "
            "send none.",
            show_default=False,
        ),
    ] = None,
    read_replies: Annotated[
        list[Path] | None,
        typer.Option(
            "--read-replies",
            metavar="FILE",
            help="Read the replies of a batch and continue; repeatable.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Also write an HTML report with figures and sample answers.",
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
    """Find the independent parts of answers and mark them as branches.

    Every record is written once, in order: parallel, or serial with the reason. The report and the
    rejected input lines are written next to OUT. If the recipe names an endpoint, a model proposes
    and judges the branches; its replies are kept in OUT's journal, so the same command resumes an
    interrupted run without paying twice.
    """
    from aspd_cli.cli.views.transform import run
    from aspd_cli.cli.views.transform_files import Batch
    from aspd_cli.recipe import find_recipe, load_recipe

    flags: dict[str, object] = {
        "model.trust_remote_code": trust_remote_code,
        "transform.from_model": from_model,
    }
    settings = load_recipe(recipe, set or (), flags)
    if budget is not None or budget_tokens is not None:
        asked = settings.transform.asked
        payer = "judge" if asked and asked is settings.transform.judge else "endpoint"
        flags[f"transform.{payer}.budget"] = budget
        flags[f"transform.{payer}.budget_tokens"] = budget_tokens
        settings = load_recipe(recipe, set or (), flags)
    code = run(
        settings,
        source,
        out,
        recipe_file=recipe and find_recipe(recipe),
        limit=limit,
        workers=workers,
        shard=shard,
        fresh=fresh,
        discard_paid=discard_paid,
        dry_run=dry_run,
        batch=Batch(write_requests, tuple(read_replies or ())),
        html=html,
        json=json,
        quiet=quiet,
    )
    raise typer.Exit(code)
