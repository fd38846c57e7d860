"""What `aspd transform` shows on standard error: its progress, and the tables at the end."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from aspd_cli.endpoint.tally import StageTally
from aspd_cli.transform.estimate import Estimate
from aspd_cli.transform.report import Report

SECONDS_BETWEEN_LINES = 10.0
"""How often a run tells its progress where there is no terminal."""
SECONDS_BETWEEN_FRAMES = 0.1


@contextmanager
def show_progress(expected: int | None, *, quiet: bool) -> Iterator[Callable[[Report], None]]:
    """A spinner with counts on a terminal, a line now and then elsewhere.

    Args:
        expected: how many records there are, where that is known.
    """
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
            line = progress_line(report, expected, now - started)
            if shown:
                bar.update(task, description=line)
            else:
                print(line, file=sys.stderr, flush=True)

        yield progress


def progress_line(report: Report, expected: int | None, seconds: float) -> str:
    """Records, parallel share, calls, tokens, cost, rate and what is left, as far as known."""
    done, rate = report.total, report.total / seconds
    answers = done - report.rejected
    share = f"{report.parallel / answers:.0%}" if answers else "0%"
    parts = [f"{done}{f' of {expected}' if expected else ''} records", f"{share} parallel"]
    if report.failed:
        parts.append(f"{report.failed} failed")
    if report.tally is not None:
        spent = report.tally.total
        parts += [f"{spent.calls} calls", f"{spent.tokens:,} tokens"]
        if spent.dollars:
            parts.append(f"${spent.dollars:.2f}")
    parts.append(f"{rate:.3g} a second")
    if expected and done:
        left = max(0, expected - done) / rate
        parts.append(f"{timedelta(seconds=round(left))} left")
    return ", ".join(parts)


def tell_report(report: Report, out: Path) -> None:
    """The tables at the end: stages with what they cost, and measures; then one line."""
    console = Console(stderr=True)
    asked = report.tally is not None
    columns = ("stage", "in", "out", "passed", *(("calls", "tokens", "cost") if asked else ()))
    stages = Table(*columns)
    for stage, before, after in report.stages():
        row = [stage, str(before), str(after), f"{after / before:.1%}" if before else "-"]
        if report.tally is not None:
            row += _spent(report, stage, report.tally.stages.get(stage))
        stages.add_row(*row)
    if report.tally is not None:
        stages.add_row("all", "", "", "", *_counts(report.tally.total), style="bold")
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
    if report.failed:
        parts.append(f"{report.failed} failed, which the same command tries again")
    print(", ".join(parts), file=sys.stderr)


def _spent(report: Report, stage: str, spent: StageTally | None) -> list[str]:
    if report.holds_by_construction(stage):
        return ["holds by construction", "", ""]
    return ["", "", ""] if spent is None else _counts(spent)


def _counts(spent: StageTally) -> list[str]:
    cost = f"${spent.dollars:.4f}" if spent.dollars else "-"
    return [f"{spent.calls:,}", f"{spent.tokens:,}", cost]


def tell_estimate(estimate: Estimate, samples: str) -> None:
    """The table of a dry run.

    Args:
        samples: how many proposals and votes an answer takes, in words.
    """
    table = Table("stage", "calls", "prompt tokens", "reply tokens", "cost")
    for stage, counts in [*estimate.stages.items(), ("all", estimate.total)]:
        table.add_row(
            stage,
            f"{counts.calls:,}",
            f"{counts.prompt_tokens:,}",
            f"{counts.completion_tokens:,}",
            f"${counts.dollars:.4f}" if counts.dollars else "-",
            style="bold" if stage == "all" else None,
        )
    Console(stderr=True).print(table)
    print(
        f"{estimate.asked} of {estimate.records} answers would be asked about, {samples}; an "
        "estimate, no call was made. It takes every answer to hold one block, and the endpoint to "
        "give all samples of a call at once",
        file=sys.stderr,
    )
