"""One file of answers to one file of training data: every record out once, in order.

Everything is written beside the output first and put in its place at the end, the output last, so
that a file that bears its name is whole and has its settings beside it. A run that was killed is
simply done again and ends with the same file: with rules nothing was paid for, and what an endpoint
was paid for is in the journal.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from aspd_cli.core.codec import Codec
from aspd_cli.endpoint.batch import Awaited
from aspd_cli.endpoint.client import Endpoint
from aspd_cli.errors import DataError
from aspd_cli.files import json_line, write_atomically, write_jsonl, write_text
from aspd_cli.outputs import RECIPE, REJECTED, REPORT, STDOUT, beside
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.blocks import DECODED, Budgets
from aspd_cli.transform.io.concurrency import in_order
from aspd_cli.transform.io.records import Record, Rejected, read_records
from aspd_cli.transform.llm.backend import PROPOSE, EndpointBackend
from aspd_cli.transform.marked import marked_outcome
from aspd_cli.transform.report import Report
from aspd_cli.transform.rows import transform_record
from aspd_cli.transform.workers import Written, by_rules, written

SECONDS_BETWEEN_LOOKS = 0.2
"""How often the progress of calls is told while no record is finished."""

Progress = Callable[[Report], None]


def transform_file(
    source: Path,
    out: Path,
    transform: TransformSection,
    codec: Codec,
    *,
    records: Iterable[Record | Rejected] | None = None,
    settings: str = "",
    limit: int | None = None,
    part: range | None = None,
    workers: int = 1,
    budgets: Budgets = DECODED,
    progress: Progress = lambda report: None,
) -> Report:
    """Writes `out` by rules, and beside it `OUT.rejected.jsonl` and `OUT.report.json`.

    Args:
        out: a file, or `-` for standard output, which has nothing beside it.
        records: what is transformed, in place of those of `source`.
        settings: the text of `OUT.recipe.yaml`; none is written when empty.
        limit: how many values of the source are read; all when None.
        part: which of them by their index; all when None.
        workers: how many processes apply the rules; the output is the same.
        budgets: what decoding cuts; no block is written beyond it.
        progress: called after every record.

    Raises:
        DataError: a file cannot be read or written.
    """
    report = Report(transform.proposer)
    if records is None:
        records = read_records(source, transform.dialect, part=part)
    with (
        _output(out, report, settings) as write,
        closing(by_rules(islice(records, limit), transform, codec, workers, budgets)) as results,
    ):
        for result in results:
            write(result)
            progress(report)
    return report


async def transform_file_by(
    endpoint: Endpoint,
    source: Path,
    out: Path,
    transform: TransformSection,
    codec: Codec,
    *,
    judging: Endpoint | None = None,
    records: Iterable[Record | Rejected] | None = None,
    settings: str = "",
    limit: int | None = None,
    part: range | None = None,
    budgets: Budgets = DECODED,
    progress: Progress = lambda report: None,
) -> Report:
    """As `transform_file`, by an endpoint, many records at once.

    Args:
        endpoint: proposes and judges; where rules propose, judges alone.
        judging: judges in place of `endpoint`.
        progress: called after every record, and some times a second while none is finished.

    Raises:
        DataError: a file cannot be read or written.
        BudgetError: the budget is spent; `out` is not written, the journal holds what was paid for.
        EndpointError: the endpoint cannot be used.
        Awaited: some answers wait for the replies of a batch; `out` is not written.
    """
    proposes = transform.proposing is not None
    if proposes:
        report = Report("openai", method=transform.method)
    else:
        report = Report(f"{transform.proposer}+judge")
    report.tally = endpoint.tally
    asking = EndpointBackend(endpoint, transform, codec, judging, budgets)

    awaited = 0

    async def work(record: Record | Rejected) -> Written | Rejected | None:
        nonlocal awaited
        if isinstance(record, Rejected):
            return record
        marked = record.example.marked
        try:
            if not proposes:
                by_rules = transform_record(record, transform, codec, budgets)
                return written(record, await asking.judged(record, by_rules))
            if marked is not None:
                found = marked_outcome(record, marked, transform, codec, budgets, PROPOSE)
                return written(record, found)
            return written(record, await asking.outcome(record))
        except Awaited:
            awaited += 1
            return None

    if records is None:
        records = read_records(source, transform.dialect, part=part)
    # An answer is between two calls now and then; others fill its place.
    sections = (transform.proposing, transform.judging)
    at_once = 2 * max(section.concurrency for section in sections if section)
    with _output(out, report, settings) as write:
        async with (
            aclosing(in_order(islice(records, limit), work, at_once=at_once)) as results,
            _looking(progress, report),
        ):
            async for result in results:
                if result is not None:
                    write(result)
                progress(report)
        if awaited:
            raise Awaited(awaited)
    return report


Write = Callable[[Written | Rejected], None]


@contextmanager
def _output(out: Path, report: Report, settings: str) -> Iterator[Write]:
    """What writes one record to its file and counts it; the files are there at the end."""
    rejects = beside(out, REJECTED)
    try:
        if out == STDOUT:
            yield _writer(report, sys.stdout.buffer, _tell_rejected)
            sys.stdout.flush()
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(out) as answers:
            with write_atomically(rejects) as rejected:
                yield _writer(
                    report, answers, lambda record: rejected.write(json_line(record.as_dict()))
                )
                if settings:
                    write_text(beside(out, RECIPE), settings)
            if not report.rejected:
                rejects.unlink()
            write_jsonl(beside(out, REPORT), [report.as_dict()])
    except BrokenPipeError:
        raise
    except OSError as error:
        place = "standard output" if out == STDOUT else error.filename or out
        raise DataError(f"cannot write {place}: {error.strerror}") from error


def _writer(report: Report, answers: IO[bytes], reject: Callable[[Rejected], object]) -> Write:
    def write(result: Written | Rejected) -> None:
        if isinstance(result, Rejected):
            report.reject(result)
            reject(result)
        else:
            line, outcome = result
            report.add(outcome.stage, outcome.reason, outcome.structure, failed=outcome.failed)
            answers.write(line)

    return write


def _tell_rejected(record: Rejected) -> None:
    """A record that no file lists."""
    print(f"line {record.line} is rejected: {record.reason}", file=sys.stderr)


@asynccontextmanager
async def _looking(progress: Progress, report: Report) -> AsyncIterator[None]:
    """Tells the progress of calls even while the first record is not finished."""

    async def look() -> None:
        while True:
            progress(report)
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
