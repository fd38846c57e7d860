"""What a run with endpoints will ask for, about, without asking (`--dry-run`).

Prompts are made as the run will make them, and counted. What rules propose is known. What a model
will reply is not: each answer is taken to hold one block, which all proposals of `annotate` agree
on and those of `rewrite` do not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import Block, Branch, Document
from aspd_cli.endpoint.usage import StageTally, dollars
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.blocks import DECODED, Budgets, in_context
from aspd_cli.transform.io.records import Record, Rejected
from aspd_cli.transform.llm import annotate, judge, rewrite
from aspd_cli.transform.llm.backend import PROPOSE
from aspd_cli.transform.llm.prompts import fill
from aspd_cli.transform.llm.segments import cut_segments
from aspd_cli.transform.outcome import outside_limits, paying, question_of, serial
from aspd_cli.transform.rules import propose

VERDICT_TOKENS = 30
"""Of a reply with a verdict and its reason."""
PART_TOKENS = 10
"""Of one part in the JSON of `annotate`."""
MOST_PARTS = 12
REWRITE_OVERHEAD = 1.15
"""Tokens of a rewriting, tags included, for one of the answer."""


@dataclass(slots=True)
class Estimate:
    """Counts of what a run will ask for."""

    priced: bool
    """Whether the prices of all endpoints are known."""
    records: int = 0
    rejected: int = 0
    asked: int = 0
    """Answers that a model will be asked about; the others are too short, too long or one piece."""
    stages: dict[str, StageTally] = field(default_factory=dict)

    @property
    def total(self) -> StageTally:
        total = StageTally(dollars=0.0)
        for stage in self.stages.values():
            total.add(stage)
        if not self.priced:
            total.dollars = None
        return total

    def call(
        self,
        endpoint: EndpointSection,
        stage: str,
        prompt_tokens: int,
        reply_tokens: int,
        samples: int,
    ) -> None:
        """Counts one call of `endpoint` with `samples` replies of `reply_tokens` each."""
        written = samples * reply_tokens
        self.stages.setdefault(stage, StageTally()).add(
            StageTally(
                calls=1,
                replies=samples,
                prompt_tokens=prompt_tokens,
                completion_tokens=written,
                dollars=dollars(endpoint, prompt_tokens, written),
            )
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `dollars` is null where no price is known."""

        def counts(tally: StageTally) -> dict[str, Any]:
            names = ("calls", "prompt_tokens", "completion_tokens")
            return {
                **{name: getattr(tally, name) for name in names},
                "dollars": None if tally.dollars is None else round(tally.dollars, 4),
            }

        return {
            "dry_run": True,
            "records": self.records,
            "rejected": self.rejected,
            "asked": self.asked,
            "stages": [{"stage": name, **counts(tally)} for name, tally in self.stages.items()],
            "total": counts(self.total),
        }


def estimate(
    records: Iterable[Record | Rejected],
    transform: TransformSection,
    codec: Codec,
    endpoint_codec: Codec,
    budgets: Budgets = DECODED,
) -> Estimate:
    """About what transforming `records` with the endpoints of `transform` will take.

    Args:
        codec: counts the tokens of answers for the limits of the recipe.
        endpoint_codec: counts tokens as the endpoint's model does, as near as can be.
        budgets: what decoding cuts.
    """
    proposing, judging = transform.proposing, transform.judging
    assert judging is not None
    samples, _ = transform.votes_of(judging)
    endpoints = (proposing or judging, judging)
    found = Estimate(all(dollars(endpoint, 0, 0) is not None for endpoint in endpoints))

    def tokens(messages: Iterable[dict[str, Any]]) -> int:
        return sum(len(endpoint_codec.encode(turn["content"])) for turn in messages)

    def judged(stage: str, messages: Iterable[dict[str, Any]]) -> None:
        found.call(judging, stage, tokens(messages), VERDICT_TOKENS, samples)

    for record in records:
        found.records += 1
        if isinstance(record, Rejected):
            found.rejected += 1
            continue
        question, answer = question_of(record), record.example.answer
        if outside_limits(serial(record, codec), transform):
            continue
        if proposing is None:
            most = min(transform.max_branches, budgets.branches)
            proposed = propose(answer, question, most).document
            blocks = list(in_context(paying(proposed, codec, transform, budgets)))
            found.asked += bool(blocks)
            for each, before in blocks:
                judged(judge.INDEPENDENCE, judge.independence_messages(question, before, each))
            continue
        segments = cut_segments(answer)
        block = _likely_block(segments)
        if block is None or (transform.method == "rewrite" and not rewrite.can_write(answer)):
            continue
        found.asked += 1
        verdict = judge.independence_messages(question, "", block)
        if transform.method == "annotate":
            reply = PART_TOKENS * len(block.branches)
            asked = tokens(annotate.ask_for(question, segments))
            found.call(proposing, PROPOSE, asked, reply, transform.distinct_proposals)
            judged(judge.INDEPENDENCE, verdict)
            continue
        reply = int(REWRITE_OVERHEAD * len(endpoint_codec.encode(answer)))
        asked = tokens(rewrite.ask_for(question, answer))
        found.call(proposing, PROPOSE, asked, reply, transform.distinct_proposals)
        for _ in range(transform.distinct_proposals):
            judged(judge.INDEPENDENCE, verdict)
            for stage in (judge.INTEGRITY, judge.ANSWER):
                judged(stage, fill(stage, question=question, original=answer, rewritten=answer))
    return found


def _likely_block(segments: tuple[str, ...]) -> Block | None:
    """All of an answer as one block, as long as what a judge will read; None of a single piece."""
    if len(segments) < 2:
        return None
    parts = min(MOST_PARTS, max(2, len(segments) // 2))
    cuts = [at * len(segments) // parts for at in range(parts + 1)]
    return Block(
        tuple(
            Branch(f"part number {n}", Document(("".join(segments[low:high]),)))
            for n, (low, high) in enumerate(pairwise(cuts))
        )
    )
