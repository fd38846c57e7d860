"""`aspd train`: fine-tune a model on a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from aspd_cli.cli.options import Debug, Json, Quiet, Set, TrustRemoteCode, tell_shadowed
from aspd_cli.errors import UsageError


def train(
    recipe: Annotated[
        Path | None,
        typer.Argument(
            metavar="RECIPE",
            help="YAML file with all settings, or the name of a packaged recipe, as in qwen.",
            callback=tell_shadowed,
            show_default=False,
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init",
            metavar="FILE",
            help="Write a commented recipe to FILE and stop; with RECIPE, a copy of that one.",
            show_default=False,
        ),
    ] = None,
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
    seq: Annotated[
        bool, typer.Option("--seq", help="Train the Seq model as well, in OUTPUT_DIR-seq.")
    ] = False,
    push: Annotated[
        str | None,
        typer.Option(
            "--push", metavar="REPO", help="Upload the result to the Hub.", show_default=False
        ),
    ] = None,
    trust_remote_code: TrustRemoteCode = None,
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
    if dry_run and (resume or fresh or merge or push or seq):
        raise UsageError(
            "--dry-run changes nothing: leave out --resume, --fresh, --merge, --push, --seq"
        )
    if push and seq:
        raise UsageError("--push uploads one result: leave out --seq, or upload with `hf upload`")
    if init is not None:
        if dry_run or resume or fresh or merge or push or seq or set:
            raise UsageError("--init only writes a recipe: leave out all other options")
        from aspd_cli.cli.views.new_recipe import write

        write(recipe, init, json=json, quiet=quiet)
        return
    if recipe is None:
        raise UsageError("no recipe given; name one, or write a new one with --init FILE")
    from aspd_cli.cli.views.train import check, run
    from aspd_cli.recipe import find_recipe, load_recipe

    settings = load_recipe(recipe, set or (), {"model.trust_remote_code": trust_remote_code})
    if dry_run:
        check(settings, json=json)
    else:
        run(
            settings,
            resume,
            fresh,
            merge,
            push,
            seq=seq,
            recipe_file=find_recipe(recipe),
            json=json,
            quiet=quiet,
        )
