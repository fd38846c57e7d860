"""The back ends with an endpoint: an answer becomes a document by what a judge accepts.

    propose -> independence -> integrity -> answer -> select

A model proposes, or what rules propose is judged. Branches that the judge finds dependent become
serial text; the rest of their block survives while it pays. With `annotate` the text of an answer
is never written again, so that integrity and answer hold by construction and are not asked for;
with `rewrite` the same goes for a proposal whose plain text is the answer's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import Document, plain
from aspd_cli.core.metrics import Structure
from aspd_cli.endpoint.client import Endpoint
from aspd_cli.endpoint.messages import Call
from aspd_cli.errors import ReplyError
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.blocks import DECODED, Budgets, in_context, keep_branches
from aspd_cli.transform.io.records import Record
from aspd_cli.transform.llm import annotate, judge, rewrite
from aspd_cli.transform.llm.judge import Judge
from aspd_cli.transform.llm.prompts import version
from aspd_cli.transform.llm.segments import cut_segments
from aspd_cli.transform.outcome import (
    Outcome,
    outside_limits,
    paying,
    question_of,
    select,
    serial,
)

PROPOSE = "propose"

T = TypeVar("T")


def prompts(transform: TransformSection) -> str:
    """The versions of the prompts that a run uses."""
    if transform.proposing is None:
        return version(judge.INDEPENDENCE)
    if transform.method == "annotate":
        return version(annotate.PROMPT, judge.INDEPENDENCE)
    return version(rewrite.PROMPT, judge.INDEPENDENCE, judge.INTEGRITY, judge.ANSWER)


class EndpointBackend:
    """Transforms answers one by one, many at the same time.

    Args:
        endpoint: proposes, and judges where there is no other judge.
        judging: the endpoint that judges; None: `endpoint`.
        budgets: what decoding cuts.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        transform: TransformSection,
        codec: Codec,
        judging: Endpoint | None = None,
        budgets: Budgets = DECODED,
    ) -> None:
        assert transform.judging is not None
        self.endpoint = endpoint
        self.transform = transform
        self.codec = codec
        self.budgets = budgets
        samples, self.accept = transform.votes_of(transform.judging)
        self.judge = Judge(judging or endpoint, samples, self.accept)

    async def judged(self, record: Record, proposed: Outcome) -> Outcome:
        """What the judge leaves of an outcome that something else has decided on.

        Raises:
            BudgetError: the budget is spent.
            EndpointError: the endpoint cannot be used.
        """
        if not any(proposed.document.blocks()):
            return proposed
        return await self._outcome(record, [proposed.document])

    async def outcome(self, record: Record) -> Outcome:
        """The document of one answer, or why it stays serial.

        Raises:
            BudgetError: the budget is spent.
            EndpointError: the endpoint cannot be used.
        """
        structure = serial(record, self.codec)
        if reason := outside_limits(structure, self.transform):
            return Outcome(Document((record.example.answer,)), structure, "length", reason)
        return await self._outcome(record, None)

    async def _outcome(self, record: Record, given: list[Document] | None) -> Outcome:
        structure = serial(record, self.codec)
        document = Document((record.example.answer,))
        work = _Work(self, record)
        try:
            chosen = await work.run(given)
        except ReplyError as error:
            reason = f"{work.stage} failed: {error}"
            return Outcome(document, structure, work.stage, reason, work.votes, failed=True)
        if chosen is None:
            return Outcome(document, structure, work.stage, work.reason, work.votes)
        document, structure = chosen
        return Outcome(document, structure, "parallel", votes=work.votes)


class _Work:
    """One answer on its way through the stages."""

    def __init__(self, asking: EndpointBackend, record: Record) -> None:
        self.asking = asking
        self.transform = asking.transform
        self.judge = asking.judge
        self.question = question_of(record)
        self.answer = record.example.answer
        self.stage = PROPOSE
        self.reason: str | None = None
        """Why the answer stays serial if it comes no further than `stage`."""
        self.votes: dict[str, Any] | None = None

    async def run(self, given: list[Document] | None) -> tuple[Document, Structure] | None:
        """The document and its structure; None, with `stage` and `reason`, if it stays serial.

        Args:
            given: what was proposed; None: a model is asked to.
        """
        documents = await self.propose() if given is None else given
        if not documents:
            return None
        self.votes = {"independence": [], "integrity": [], "answer": [], "selected": None}
        standing = await self.independent(documents)
        standing = await self.faithful(standing, judge.INTEGRITY, self.judge.integrity)
        standing = await self.faithful(standing, judge.ANSWER, self.judge.answer)
        chosen = select(standing, self.asking.codec)
        if chosen is None:
            return None
        self.votes["selected"], document, structure = chosen
        return document, structure

    async def propose(self) -> list[Document]:
        """The distinct proposals that hold a block."""
        read: Callable[[str], Document]
        most = min(self.transform.max_branches, self.asking.budgets.branches)
        if self.transform.method == "annotate":
            segments = cut_segments(self.answer)
            if len(segments) < 2:
                self.reason = "a single piece of text"
                return []
            messages, schema = annotate.ask_for(self.question, segments), annotate.SCHEMA
            read = partial(annotate.read_document, segments=segments, max_branches=most)
        else:
            if not rewrite.can_write(self.answer):
                self.reason = "the answer contains the tags used for rewriting"
                return []
            messages, schema = rewrite.ask_for(self.question, self.answer), None
            read = partial(rewrite.read_document, answer=self.answer, max_branches=most)
        call = Call(PROPOSE, messages, n=self.transform.distinct_proposals, schema=schema)
        try:
            documents: Sequence[Document] = await self.asking.endpoint.ask(call, read)
        except ReplyError as error:
            if not error.valid:
                raise
            documents = error.valid
        self.reason = "no independent parts are proposed"
        paid = [self._paying(each) for each in documents]
        return list(dict.fromkeys(each for each in paid if any(each.blocks())))

    def _paying(self, document: Document) -> Document:
        return paying(document, self.asking.codec, self.transform, self.asking.budgets)

    async def independent(self, documents: list[Document]) -> list[Document | None]:
        """The proposals less the branches that the judge finds dependent.

        None for one of which no block is left that pays.
        """
        assert self.votes is not None
        self.stage, self.reason = judge.INDEPENDENCE, "the judge finds no block independent"
        found = {block: before for each in documents for block, before in in_context(each)}
        votes = await _all(
            self.judge.independence(self.question, found[block], block) for block in found
        )
        yes = dict(zip(found, votes, strict=True))
        self.votes[self.stage] = [[yes[block] for block in each.blocks()] for each in documents]
        accept = self.asking.accept
        kept = (keep_branches(each, lambda b: [n >= accept for n in yes[b]]) for each in documents)
        paid = [self._paying(each) for each in kept]
        return [document if any(document.blocks()) else None for document in paid]

    async def faithful(
        self,
        documents: list[Document | None],
        stage: str,
        ask: Callable[[str, str, str], Awaitable[int]],
    ) -> list[Document | None]:
        """The proposals whose plain text is the answer's, or is accepted by the judge for it."""
        assert self.votes is not None
        texts = [None if document is None else plain(document) for document in documents]
        changed = {text: None for text in texts if text is not None and text != self.answer}
        if not changed:
            return documents
        self.stage, self.reason = stage, f"the judge accepts no rewriting for {stage}"
        votes = await _all(ask(self.question, self.answer, text) for text in changed)
        yes = dict(zip(changed, votes, strict=True))
        self.votes[stage] = [None if text is None else yes.get(text) for text in texts]
        return [
            document if text not in yes or yes[text] >= self.asking.accept else None
            for document, text in zip(documents, texts, strict=True)
        ]


async def _all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """The results of calls. All are awaited also when one fails: what they bring is paid for."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    if failed := next((each for each in results if isinstance(each, BaseException)), None):
        raise failed
    return [each for each in results if not isinstance(each, BaseException)]
