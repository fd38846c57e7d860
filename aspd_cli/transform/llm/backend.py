"""The openai back end: an answer becomes a document by what a model proposes and a judge accepts.

    propose -> independence -> integrity -> answer -> select

Blocks that the judge finds dependent are flattened, the rest of their proposal survives. With
`annotate` the text of an answer is never written again, so that integrity and answer hold by
construction and are not asked for; with `rewrite` the same goes for a proposal whose plain text is
the answer's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import Document, plain
from aspd_cli.core.metrics import Structure
from aspd_cli.endpoint.client import Endpoint
from aspd_cli.endpoint.messages import Call
from aspd_cli.errors import ReplyError
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.blocks import flatten, in_context
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


def prompts(transform: TransformSection) -> str:
    """The versions of the prompts that a run uses."""
    if transform.method == "annotate":
        return version(annotate.PROMPT, judge.INDEPENDENCE)
    return version(rewrite.PROMPT, judge.INDEPENDENCE, judge.INTEGRITY, judge.ANSWER)


class EndpointBackend:
    """Transforms answers one by one, many at the same time."""

    def __init__(self, endpoint: Endpoint, transform: TransformSection, codec: Codec) -> None:
        self.endpoint = endpoint
        self.transform = transform
        self.codec = codec
        self.judge = Judge(endpoint, transform.samples, transform.accept)

    async def outcome(self, record: Record) -> Outcome:
        """The document of one answer, or why it stays serial.

        Raises:
            BudgetError: the budget is spent.
            EndpointError: the endpoint cannot be used.
        """
        structure = serial(record, self.codec)
        document = Document((record.example.answer,))
        if reason := outside_limits(structure, self.transform):
            return Outcome(document, structure, "length", reason)
        work = _Work(self, record)
        try:
            chosen = await work.run()
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

    async def run(self) -> tuple[Document, Structure] | None:
        """The document and its structure; None, with `stage` and `reason`, if it stays serial."""
        documents = await self.propose()
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
        most = self.transform.max_branches
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
        call = Call(PROPOSE, messages, n=self.transform.proposals, schema=schema)
        try:
            documents: Sequence[Document] = await self.asking.endpoint.ask(call, read)
        except ReplyError as error:
            if not error.valid:
                raise
            documents = error.valid
        self.reason = "no independent parts are proposed"
        paid = [paying(each, self.asking.codec, self.transform) for each in documents]
        return list(dict.fromkeys(each for each in paid if any(each.blocks())))

    async def independent(self, documents: list[Document]) -> list[Document | None]:
        """The proposals less the blocks that the judge finds dependent; None where none is left."""
        assert self.votes is not None
        self.stage, self.reason = judge.INDEPENDENCE, "the judge finds no block independent"
        found = {block: before for each in documents for block, before in in_context(each)}
        votes = await asyncio.gather(
            *(self.judge.independence(self.question, found[block], block) for block in found)
        )
        yes = dict(zip(found, votes, strict=True))
        self.votes[self.stage] = [[yes[block] for block in each.blocks()] for each in documents]
        kept = [
            flatten(document, lambda block: yes[block] >= self.transform.accept)
            for document in documents
        ]
        return [document if any(document.blocks()) else None for document in kept]

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
        votes = await asyncio.gather(*(ask(self.question, self.answer, text) for text in changed))
        yes = dict(zip(changed, votes, strict=True))
        self.votes[stage] = [None if text is None else yes.get(text) for text in texts]
        return [
            document if text not in yes or yes[text] >= self.transform.accept else None
            for document, text in zip(documents, texts, strict=True)
        ]
