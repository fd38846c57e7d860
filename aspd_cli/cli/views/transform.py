"""A run of `aspd transform` as its user sees it: guards, progress, exit code.

`run` refuses what would spoil an output, opens the back end and ends with the tables. Progress and
tables go to standard error.
"""

import json as jsonlib
import sys
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from aspd_cli.cli.progress import ProgressReporter
from aspd_cli.cli.views.transform_asking import (
    Waiting,
    count_of,
    journal_of_run,
    one_of_many,
    run_with_endpoints,
    votes,
    who_transforms,
)
from aspd_cli.cli.views.transform_files import COMMAND, Batch, TransformFiles, tokenizer_of
from aspd_cli.cli.views.transform_own import check_own, own_records
from aspd_cli.cli.views.transform_tables import progress_details, tell_estimate, tell_report
from aspd_cli.core.codec import Codec
from aspd_cli.errors import UsageError
from aspd_cli.outputs import STDOUT, claim
from aspd_cli.recipe import Recipe
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.resume import settings_text
from aspd_cli.transform.blocks import Budgets
from aspd_cli.transform.io.readers import STDIN, read_values
from aspd_cli.transform.io.records import read_records
from aspd_cli.transform.pipeline import transform_file
from aspd_cli.transform.report import Report
from aspd_cli.transform.token_counts import EstimatingCodec, open_codec


def run(
    recipe: Recipe,
    source: Path,
    out: Path,
    *,
    recipe_file: Path | None,
    limit: int | None,
    workers: int,
    shard: str | None,
    fresh: bool,
    discard_paid: bool,
    dry_run: bool,
    batch: Batch,
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
    if discard_paid and not fresh:
        raise UsageError("--discard-paid deletes paid replies for a new start; add --fresh")
    batch.check(recipe.transform, dry_run=dry_run)
    check_own(recipe, out, limit=limit, shard=shard, dry_run=dry_run)
    endpoint = recipe.transform.asked
    if workers > 1 and endpoint is not None:
        raise UsageError(
            "--workers are processes that apply the rules; an endpoint is asked many requests at "
            "once by transform.endpoint.concurrency"
        )
    files = TransformFiles.checked(recipe, source, out, recipe_file, html, batch)
    part = None if shard is None else _part(source, shard, limit)
    codec, counter = open_codec(
        tokenizer_of(recipe),
        trust_remote_code=recipe.model.trust_remote_code,
    )
    if dry_run:
        return _estimate(recipe, source, codec, limit=limit, part=part, json=json, quiet=quiet)
    if out == STDOUT:
        _check_stdout(endpoint, html=html, json=json, fresh=fresh)
    with nullcontext() if out == STDOUT else claim(out, "OUT"):
        settings = ""
        if out != STDOUT:
            origin = files.origin()
            files.guard(recipe, origin, shard=shard, fresh=fresh)
            facts: dict[str, Any] = {} if limit is None else {"limit": limit}
            if part is not None:
                facts |= {"shard": shard, "part": [part.start, part.stop]}
            settings = settings_text(COMMAND, recipe.to_yaml(), source=origin, **facts)
        if not quiet:
            print(f"{who_transforms(recipe.transform)}; tokens by {counter}", file=sys.stderr)
            if warning := one_of_many(recipe.transform):
                print(warning, file=sys.stderr)
        records = None
        if recipe.transform.from_model is not None:
            records = own_records(recipe, source, out, quiet=quiet)
        expected = len(part) if part is not None else None if quiet else _count(source, limit)
        faulty_lines = False
        with ProgressReporter(
            "records", quiet=quiet, total=expected, before="reading the input"
        ) as shown:

            def progress(report: Report) -> None:
                shown.reach(report.total, progress_details(report))

            report: Report | Waiting
            if endpoint is None:
                report = transform_file(
                    source,
                    out,
                    recipe.transform,
                    codec,
                    records=records,
                    settings=settings,
                    limit=limit,
                    part=part,
                    workers=workers,
                    budgets=Budgets.of(recipe.generation),
                    progress=progress,
                )
            else:
                paid = journal_of_run(recipe, files, fresh=fresh, discard=discard_paid, quiet=quiet)
                report, faulty_lines = run_with_endpoints(
                    recipe,
                    source,
                    out,
                    paid,
                    codec,
                    batch,
                    records=records,
                    settings=settings,
                    limit=limit,
                    part=part,
                    progress=progress,
                    quiet=quiet,
                )
        if isinstance(report, Waiting):
            if json:
                print(jsonlib.dumps(report.as_dict()))
            if not quiet:
                print(report.sentence(), file=sys.stderr)
            return 3 if faulty_lines else 0
        if html is not None:
            from aspd_cli.report.transform_page import write_page

            about = f"{source}: {who_transforms(recipe.transform)}; tokens by {counter}"
            write_page(html, out, report, codec, about)
    if json:
        print(jsonlib.dumps(report.as_dict()))
    if not quiet:
        tell_report(report, out)
    return 3 if report.faulty or faulty_lines else 0


def _check_stdout(
    endpoint: EndpointSection | None, *, html: Path | None, json: bool, fresh: bool
) -> None:
    """Refuses with OUT as standard output (-) what needs a file."""
    needs = {
        "an endpoint keeps the replies that are paid for in a journal beside OUT": endpoint,
        "--html draws what is in OUT": html,
        "--json prints the report on standard output too": json,
        "--fresh replaces OUT, and there is nothing to replace or resume": fresh,
    }
    for reason in (reason for reason, needed in needs.items() if needed):
        raise UsageError(f"OUT is standard output (-), but {reason}; give the name of a file")


def _estimate(
    recipe: Recipe,
    source: Path,
    codec: Codec,
    *,
    limit: int | None,
    part: range | None,
    json: bool,
    quiet: bool,
) -> int:
    """Tells what a run would ask for."""
    from aspd_cli.transform.cost_estimate import estimate

    section = recipe.transform
    if section.asked is None:
        raise UsageError(
            "--dry-run estimates the cost of an endpoint, and none is configured: the rules cost "
            "nothing; run without --dry-run"
        )
    # The embedded tokenizer is small and would count two or three times too many tokens.
    named = recipe.model.tokenizer or recipe.model.path
    records = islice(read_records(source, section.dialect, part=part), limit)
    theirs = codec if named else EstimatingCodec()
    found = estimate(records, section, codec, theirs, Budgets.of(recipe.generation))
    if json:
        print(jsonlib.dumps(found.as_dict()))
    if not quiet:
        samples, assumed = f"{count_of(votes(section)[0], 'vote')} for each block", ""
        if section.proposing is not None:
            proposals = count_of(section.distinct_proposals, "proposal")
            samples = f"{proposals} and {count_of(votes(section)[0], 'vote')} each"
            assumed = "one block per answer, and "
        tell_estimate(found, samples, assumed)
    return 0


def _part(source: Path, shard: str, limit: int | None) -> range:
    """The indices of the values of one part of a source, which is counted for it.

    Raises:
        UsageError: there is no such part, or the source can be read only once.
        DataError: the source cannot be read.
    """
    number, _, count = shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"--shard {shard} is no part: write I/N with I from 1 to N, as in 1/4")
    if source == STDIN:
        raise UsageError("--shard counts the records of IN first; give a file in place of -")
    total = sum(1 for _ in islice(read_values(source), limit))
    start, stop = (total * at // int(count) for at in (int(number) - 1, int(number)))
    return range(start, stop)


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
