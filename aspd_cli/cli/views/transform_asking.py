"""A run of `aspd transform` with endpoints: called, or through the files of a batch.

Who transforms, in one sentence; the journal of a run; and the run itself. Endpoints are called
unless `--write-requests` is given: then what a call would ask goes to a file, and the run ends
there until the replies are read with `--read-replies`.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from aspd_cli.cli.views.transform_files import DISCARD, Batch, TransformFiles, decisive
from aspd_cli.core.codec import Codec
from aspd_cli.recipe import Recipe
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.blocks import Budgets
from aspd_cli.transform.io.records import Record, Rejected
from aspd_cli.transform.llm.backend import PROPOSE
from aspd_cli.transform.llm.judge import ANSWER, INDEPENDENCE, INTEGRITY
from aspd_cli.transform.pipeline import transform_file_by
from aspd_cli.transform.report import Report


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a run that wrote requests ends with, in place of a report."""

    answers: int
    """How many wait for replies."""
    requests: dict[str, int]
    """File -> the requests in it."""

    def as_dict(self) -> dict[str, object]:
        return {"waiting": self.answers, "requests": self.requests}

    def sentence(self) -> str:
        written = " and ".join(
            f"{n:,} requests in {path}" for path, n in self.requests.items() if n
        )
        return (
            f"{written}; {self.answers:,} answers wait for them. Run the batch, then the same "
            "command with --read-replies FILE"
        )


def run_with_endpoints(
    recipe: Recipe,
    source: Path,
    out: Path,
    journal: Path,
    codec: Codec,
    batch: Batch,
    *,
    records: list[Record | Rejected] | None,
    settings: str,
    limit: int | None,
    part: range | None,
    progress: Callable[[Report], None],
    quiet: bool,
) -> tuple[Report | Waiting, bool]:
    """The report, or what the run waits for; and whether lines of a batch were no good."""
    from aspd_cli.endpoint.batch import Awaited, BatchEndpoint, Replies, requests_file, take_replies
    from aspd_cli.endpoint.client import Endpoint
    from aspd_cli.endpoint.journal import Journal
    from aspd_cli.endpoint.rate_limits import Budget
    from aspd_cli.endpoint.usage import Tally

    transform = recipe.transform
    first, judge = transform.asked, transform.judging
    assert first is not None
    assert judge is not None
    asked = {PROPOSE: first, INDEPENDENCE: judge, INTEGRITY: judge, ANSWER: judge}
    paths = [batch.write, batch.judge][: 1 if judge is first else 2] if batch.write else []

    async def ask(opened: Journal) -> tuple[Report | Waiting, bool]:
        budget, read = Budget(first, Tally(opened.history)), Replies()
        if batch.read:
            read = await take_replies(batch.read, opened, asked, budget.tally)
            if not quiet:
                print(read.sentence(", ".join(map(str, batch.read))), file=sys.stderr)
        async with AsyncExitStack() as stack:
            files = [stack.enter_context(requests_file(path)) for path in paths if path]

            async def opens(section: EndpointSection) -> Endpoint:
                if not files:
                    return await stack.enter_async_context(Endpoint(section, opened, budget))
                to = files[0 if section is first else 1]
                return BatchEndpoint(section, opened, to, read.refused, budget)

            endpoint = await opens(first)
            try:
                report = await transform_file_by(
                    endpoint,
                    source,
                    out,
                    transform,
                    codec,
                    judging=endpoint if judge is first else await opens(judge),
                    records=records,
                    settings=settings,
                    limit=limit,
                    part=part,
                    budgets=Budgets.of(recipe.generation),
                    progress=progress,
                )
            except Awaited as awaited:
                opened.await_replies(name for file in files for name in file.names)
                written = {
                    str(path): len(file.names) for path, file in zip(paths, files, strict=True)
                }
                return Waiting(awaited.answers, written), read.faulty
            return report, read.faulty

    try:
        with Journal(journal, decisive(recipe), discard=DISCARD) as opened:
            return asyncio.run(ask(opened))
    except KeyboardInterrupt:
        print(
            f"interrupted; the replies received are in {journal}, calls in flight are lost. "
            "Run the same command to resume.",
            file=sys.stderr,
        )
        raise


def journal_of_run(
    recipe: Recipe, files: TransformFiles, *, fresh: bool, discard: bool, quiet: bool
) -> Path:
    """The journal of a run with endpoints; deleted where the user said so twice."""
    from aspd_cli.endpoint.journal import Journal
    from aspd_cli.endpoint.journal_file import remove_journal

    if discard:
        for section in (recipe.transform.proposing, recipe.transform.judging):
            if section is not None:  # a missing key is told before anything is deleted
                asyncio.run(_open(section))
        remove_journal(files.journal)
        return files.journal
    path = files.journal_of(recipe)
    if fresh and path.exists():
        with Journal(path, decisive(recipe), discard=DISCARD) as opened:
            kept = opened.bill
        if kept and not quiet:
            print(
                f"{path} keeps replies that were paid for ({kept}), and they are used again; "
                f"{DISCARD} deletes them",
                file=sys.stderr,
            )
    return path


async def _open(section: EndpointSection) -> None:
    from aspd_cli.endpoint.client import Endpoint

    async with Endpoint(section):
        pass


def who_transforms(section: TransformSection) -> str:
    """One sentence that says who transforms."""
    proposing, judging = section.proposing, section.judging
    own = f"own answers of {section.from_model}, filtered by the rules"
    if judging is None:
        if section.from_model:
            return own
        chosen = section.back_end == "rules"
        return "using the rules" if chosen else "no endpoint configured: using the rules"
    samples, accept = votes(section)
    wanted = f"{accept} of {count_of(samples, 'vote')}"
    if proposing is None:
        proposed = own if section.from_model else "rules propose"
        return f"{proposed}, {_named(judging)} judges, {wanted}"
    judge = "" if judging is proposing else f" of {_named(judging)}"
    how = "; integrity and answer hold by construction" if section.method == "annotate" else ""
    proposals = count_of(section.distinct_proposals, "proposal")
    return f"{section.method} by {_named(proposing)}, {proposals}, {wanted}{judge}{how}"


def one_of_many(section: TransformSection) -> str | None:
    """The warning where several samples are wanted that would all be the same."""
    wanted = []
    if section.proposing is not None and section.distinct_proposals < section.proposals:
        wanted.append(f"1 proposal instead of {section.proposals}")
    if votes(section)[0] < section.samples:
        wanted.append(f"1 vote instead of {section.samples}")
    if not wanted:
        return None
    return f"at temperature 0 all samples are the same: asking for {' and '.join(wanted)}"


def votes(section: TransformSection) -> tuple[int, int]:
    """Votes asked for, and how many must be yes; as the recipe has them where none are."""
    judging = section.judging
    return section.votes_of(judging) if judging else (section.samples, section.accept)


def count_of(number: int, thing: str) -> str:
    """`3 votes`, `1 vote`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _named(endpoint: EndpointSection) -> str:
    return f"{endpoint.model} at {endpoint.without_secrets().base_url or 'the OpenAI API'}"
