"""A run of `aspd transform` as its user sees it: guards, progress, tables, exit code.

`run` refuses what would spoil an output, opens the back end and ends with the tables. Progress and
tables go to standard error.
"""

import asyncio
import json as jsonlib
import math
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aspd_cli.cli.progress import ProgressReporter
from aspd_cli.core.codec import Codec
from aspd_cli.endpoint.journal import remove_journal
from aspd_cli.endpoint.usage import StageTally
from aspd_cli.errors import UsageError
from aspd_cli.recipe import Recipe, load_recipe
from aspd_cli.recipe.sections import EndpointSection
from aspd_cli.resume import refuse_changes
from aspd_cli.transform.cost_estimate import Estimate
from aspd_cli.transform.io.readers import STDIN, read_values
from aspd_cli.transform.io.records import read_records
from aspd_cli.transform.pipeline import transform_file, transform_file_by
from aspd_cli.transform.report import Report
from aspd_cli.transform.token_counts import EstimatingCodec, open_codec

_REPLIES = ("model", "temperature", "top_p", "max_tokens", "extra_body")
"""The fields of an endpoint that decide what it replies; the others say how it is asked."""
_ASKED = ("method", "proposals", "samples", "accept")
"""The fields that only count where a model is asked."""


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
    parts = [f"{report.total - report.rejected} answers in {out}, {report.parallel} parallel"]
    if report.rejected:
        rejects = out.with_suffix(".rejected.jsonl")
        parts.append(f"{report.rejected} rejected, see {rejects}")
    if report.failed:
        parts.append(f"{report.failed} failed (run the same command to retry them)")
    print(", ".join(parts), file=sys.stderr)


def _spent(report: Report, stage: str, spent: StageTally | None) -> list[str]:
    if report.holds_by_construction(stage):
        return ["holds by construction", "", ""]
    return ["", "", ""] if spent is None else _counts(spent)


def _counts(spent: StageTally) -> list[str]:
    return [f"{spent.calls:,}", f"{spent.tokens:,}", spent.price()]


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
            counts.price(),
            style="bold" if stage == "all" else None,
        )
    Console(stderr=True).print(table)
    print(
        f"estimate only, no request was sent: {estimate.asked} of {estimate.records} answers would "
        f"be sent, {samples}. Assumes one block per answer, and an endpoint that returns all "
        "samples of a call at once.",
        file=sys.stderr,
    )


def run(
    recipe: Recipe,
    source: Path,
    out: Path,
    *,
    limit: int | None,
    fresh: bool,
    dry_run: bool,
    html: Path | None,
    json: bool,
    quiet: bool,
) -> int:
    """Transforms `source` into `out`; returns the exit code.

    Raises:
        UsageError: `out` is the input, or was made with other settings or by something else.
        DataError: a file cannot be read or written.
        ModelError: there is no such tokenizer.
        EndpointError: the endpoint does not work, or the budget is spent.
    """
    if source != STDIN and source.exists() and out.exists() and out.samefile(source):
        raise UsageError("IN and OUT are the same file; choose another OUT")
    codec, counter = open_codec(
        recipe.model.tokenizer or recipe.model.path,
        trust_remote_code=recipe.model.trust_remote_code,
    )
    endpoint = endpoint_of(recipe)
    if dry_run:
        return _estimate(recipe, source, codec, limit=limit, json=json, quiet=quiet)
    saved, journal = out.with_suffix(".recipe.yaml"), out.with_suffix(".journal.sqlite")
    if fresh:
        remove_journal(journal)
    else:
        _guard(recipe, out, saved)
    if not quiet:
        print(f"{_back_end(recipe)}; tokens by {counter}", file=sys.stderr)
    expected = None if quiet else _count(source, limit)
    with ProgressReporter(
        "records", quiet=quiet, total=expected, before="reading the input"
    ) as shown:

        def progress(report: Report) -> None:
            shown.reach(report.total, progress_details(report))

        if endpoint is None:
            section = recipe.transform
            report = transform_file(source, out, section, codec, limit=limit, progress=progress)
        else:
            report = _ask(recipe, source, out, journal, codec, limit, progress)
    saved.write_text(recipe.to_yaml(), encoding="utf-8")
    if html is not None:
        from aspd_cli.report.transform_page import write_page

        write_page(html, out, report, codec, f"{source}: {_back_end(recipe)}; tokens by {counter}")
    if json:
        print(jsonlib.dumps(report.as_dict()))
    if not quiet:
        tell_report(report, out)
    return 3 if report.faulty else 0


def endpoint_of(recipe: Recipe) -> EndpointSection | None:
    """The endpoint that transforms; None where rules do."""
    transform = recipe.transform
    return None if transform.back_end == "rules" else transform.endpoint


def _ask(
    recipe: Recipe,
    source: Path,
    out: Path,
    journal: Path,
    codec: Codec,
    limit: int | None,
    progress: Callable[[Report], None],
) -> Report:
    """The run with an endpoint and its journal."""
    from aspd_cli.endpoint.client import Endpoint
    from aspd_cli.endpoint.journal import Journal

    section = endpoint_of(recipe)
    assert section is not None

    async def ask(opened: Journal) -> Report:
        async with Endpoint(section, opened) as endpoint:
            return await transform_file_by(
                endpoint, source, out, recipe.transform, codec, limit=limit, progress=progress
            )

    try:
        with Journal(journal, decisive(recipe)) as opened:
            return asyncio.run(ask(opened))
    except KeyboardInterrupt:
        print(
            f"interrupted; all paid replies are in {journal}. Run the same command to resume.",
            file=sys.stderr,
        )
        raise


def _estimate(
    recipe: Recipe, source: Path, codec: Codec, *, limit: int | None, json: bool, quiet: bool
) -> int:
    """Tells what a run would ask for."""
    from aspd_cli.transform.cost_estimate import estimate

    section = recipe.transform
    if endpoint_of(recipe) is None:
        raise UsageError(
            "--dry-run estimates the cost of an endpoint, and none is configured: the rules cost "
            "nothing; run without --dry-run"
        )
    # The embedded tokenizer is small and would count two or three times too many tokens.
    named = recipe.model.tokenizer or recipe.model.path
    records = islice(read_records(source, section.dialect), limit)
    found = estimate(records, section, codec, codec if named else EstimatingCodec())
    if json:
        print(jsonlib.dumps(found.as_dict()))
    if not quiet:
        tell_estimate(found, f"{section.proposals} proposals and {section.samples} votes each")
    return 0


def _back_end(recipe: Recipe) -> str:
    """One sentence that says who transforms."""
    section, endpoint = recipe.transform, endpoint_of(recipe)
    if endpoint is None:
        chosen = section.back_end == "rules"
        return "using the rules" if chosen else "no endpoint configured: using the rules"
    how = "integrity and answer hold by construction" if section.method == "annotate" else ""
    return (
        f"{section.method} by {endpoint.model} at "
        f"{endpoint.without_secrets().base_url or 'the OpenAI API'}, "
        f"{section.proposals} proposals, {section.accept} of {section.samples} votes"
        + (f"; {how}" if how else "")
    )


def _guard(recipe: Recipe, out: Path, saved: Path) -> None:
    """Refuses to replace what this command with these settings has not made."""
    if not out.exists():
        return
    if not saved.exists():
        raise UsageError(
            f"{out} was not made by `aspd transform`; choose another OUT, or overwrite it "
            "with --fresh"
        )
    cure = "choose another OUT, or overwrite it with --fresh"
    refuse_changes(out, decisive(load_recipe(saved)), decisive(recipe), cure)


def decisive(recipe: Recipe) -> dict[str, object]:
    """What decides what comes out: fields of the recipe, and the wording of the prompts."""
    from aspd_cli.transform.llm.backend import prompts

    endpoint = endpoint_of(recipe)
    skipped = {"endpoint", "back_end", *(() if endpoint else _ASKED)}
    fields: dict[str, object] = {
        f"transform.{name}": value for name, value in recipe.transform if name not in skipped
    }
    if endpoint is not None:
        said = endpoint.without_secrets()
        fields |= {f"transform.endpoint.{name}": getattr(said, name) for name in _REPLIES}
        fields["prompts"] = prompts(recipe.transform)
    tokenizer = recipe.model.tokenizer or recipe.model.path
    return {**fields, "model.tokenizer": tokenizer}


def _count(source: Path, limit: int | None) -> int | None:
    """How many values a run will read; None where only reading them would tell."""
    if source == STDIN or not source.is_file():
        return limit
    with source.open("rb") as file:
        head = file.read(4)
        if head[:1] in (b"{", b'"'):
            file.seek(0)
            found = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
        else:
            found = sum(1 for _ in islice(read_values(source), limit))
    return min(found, limit or found)
