"""A run of `aspd transform` as its user sees it: guards, progress, the table at the end."""

import json as jsonlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from aspd_cli.errors import UsageError
from aspd_cli.recipe import Recipe, load_recipe
from aspd_cli.transform.counting import open_codec
from aspd_cli.transform.pipeline import transform_file
from aspd_cli.transform.readers import STDIN
from aspd_cli.transform.report import Report

SECONDS_BETWEEN_LINES = 10.0
"""How often a run tells its progress where there is no terminal."""
SECONDS_BETWEEN_FRAMES = 0.1


def run(
    recipe: Recipe,
    source: Path,
    out: Path,
    *,
    limit: int | None,
    fresh: bool,
    json: bool,
    quiet: bool,
) -> int:
    """Transforms `source` into `out`; returns the exit code.

    Raises:
        UsageError: `out` is the input, or was made with other settings or by something else.
        DataError: a file cannot be read or written.
        ModelError: there is no such tokenizer.
    """
    section = recipe.transform
    if source != STDIN and source.exists() and out.exists() and out.samefile(source):
        raise UsageError("IN and OUT are the same file; choose another OUT")
    saved = out.with_suffix(".recipe.yaml")
    if not fresh:
        _guard(recipe, out, saved)
    codec, counter = open_codec(recipe.model.tokenizer or recipe.model.path)
    if not quiet:
        print(f"no endpoint is configured: rules are used; tokens by {counter}", file=sys.stderr)
    with _progress(quiet=quiet) as progress:
        report = transform_file(source, out, section, codec, limit=limit, progress=progress)
    saved.write_text(recipe.to_yaml(), encoding="utf-8")
    if json:
        print(jsonlib.dumps(report.as_dict()))
    if not quiet:
        _tell(report, out)
    return 3 if report.rejected else 0


def _guard(recipe: Recipe, out: Path, saved: Path) -> None:
    """Refuses to replace what this command with these settings has not made."""
    if not out.exists():
        return
    if not saved.exists():
        raise UsageError(
            f"{out} was not made by `aspd transform`; choose another OUT, or replace it "
            "with --fresh"
        )
    before, now = _decisive(load_recipe(saved)), _decisive(recipe)
    if changed := [name for name in now if now[name] != before[name]]:
        raise UsageError(
            f"{out} was made with another {' and '.join(changed)}; choose another OUT, or "
            "replace it with --fresh"
        )


def _decisive(recipe: Recipe) -> dict[str, object]:
    """The fields that decide what comes out."""
    fields = {f"transform.{name}": value for name, value in recipe.transform}
    tokenizer = recipe.model.tokenizer or recipe.model.path
    return {**fields, "model.tokenizer": tokenizer}


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Report], None]]:
    """A spinner with counts on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    shown = console.is_terminal and not quiet
    every = SECONDS_BETWEEN_FRAMES if shown else SECONDS_BETWEEN_LINES
    started = told = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("reading")

        def progress(report: Report) -> None:
            nonlocal told
            now = time.monotonic()
            if quiet or now - told < every:
                return
            told = now
            rate = report.total / (now - started)
            line = f"{report.total} records, {report.parallel} parallel, {rate:.0f} a second"
            if shown:
                bar.update(task, description=line)
            else:
                print(line, file=sys.stderr, flush=True)

        yield progress


def _tell(report: Report, out: Path) -> None:
    """The tables at the end, on standard error."""
    console = Console(stderr=True)
    stages = Table("stage", "in", "out", "passed")
    for stage, before, after in report.stages():
        stages.add_row(stage, str(before), str(after), f"{after / before:.1%}" if before else "-")
    console.print(stages)
    measures = Table("measure", "value", "95% interval")
    for name, (value, low, high) in report.measures().items():
        undefined = math.isnan(value)
        interval = "-" if undefined else f"{low:.3f} to {high:.3f}"
        measures.add_row(name.upper(), "-" if undefined else f"{value:.3f}", interval)
    console.print(measures)
    parts = [f"{report.total - report.rejected} answers in {out}, {report.parallel} parallel"]
    if report.rejected:
        rejects = out.with_suffix(".rejected.jsonl")
        parts.append(f"{report.rejected} rejected, see {rejects}")
    print(", ".join(parts), file=sys.stderr)
