"""What is told of a transformation: figures while it runs, tables at its end and before it."""

import math
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aspd_cli.endpoint.usage import StageTally
from aspd_cli.outputs import REJECTED, STDOUT, beside
from aspd_cli.transform.cost_estimate import Estimate
from aspd_cli.transform.report import Report


def progress_details(report: Report) -> list[str]:
    """Parallel share, calls, tokens and cost so far."""
    answers = report.total - report.rejected
    parts = [f"{report.parallel / answers:.0%} parallel" if answers else "0% parallel"]
    if report.failed:
        parts.append(f"{report.failed} failed")
    if report.tally is not None:
        spent = report.tally.total
        parts += [f"{spent.calls} calls", f"{spent.tokens:,} tokens"]
        if spent.dollars is not None:
            parts.append(spent.price(2))
    return parts


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
    where = "on standard output" if out == STDOUT else f"in {out}"
    parts = [f"{report.total - report.rejected} answers {where}, {report.parallel} parallel"]
    if report.rejected:
        see = "" if out == STDOUT else f", see {beside(out, REJECTED)}"
        parts.append(f"{report.rejected} rejected{see}")
    if report.failed:
        parts.append(f"{report.failed} failed (run the same command to retry them)")
    print(", ".join(parts), file=sys.stderr)


def _spent(report: Report, stage: str, spent: StageTally | None) -> list[str]:
    if report.holds_by_construction(stage):
        return ["holds by construction", "", ""]
    return ["", "", ""] if spent is None else _counts(spent)


def _counts(spent: StageTally) -> list[str]:
    return [f"{spent.calls:,}", f"{spent.tokens:,}", spent.price()]


def tell_estimate(estimate: Estimate, samples: str, assumed: str) -> None:
    """The table of a dry run.

    Args:
        samples: how many proposals and votes an answer takes, in words.
        assumed: what is assumed of the answers, in words; empty where they are known.
    """
    table = Table("stage", "calls", "prompt tokens", "reply tokens", "cost")
    for stage, counts in [*estimate.stages.items(), ("all", estimate.total)]:
        table.add_row(
            stage,
            f"{counts.calls:,}",
            f"{counts.prompt_tokens:,}",
            f"{counts.completion_tokens:,}",
            counts.price(),
            style="bold" if stage == "all" else None,
        )
    Console(stderr=True).print(table)
    print(
        f"estimate only, no request was sent: {estimate.asked} of {estimate.records} answers would "
        f"be sent, {samples}. Assumes {assumed}an endpoint that returns all samples of a call at "
        "once.",
        file=sys.stderr,
    )
