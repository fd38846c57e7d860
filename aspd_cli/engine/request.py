"""A request: a prompt in the queue, its answer once it holds a row, and what was measured of it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import lay_out
from aspd_cli.core.markup import plain, render
from aspd_cli.core.metrics import AnswerStats, structure
from aspd_cli.engine.answer import Answer
from aspd_cli.engine.detokenize import to_document, truncate
from aspd_cli.engine.drafts import Drafts
from aspd_cli.engine.events import Event, Output
from aspd_cli.engine.forced_tokens import Script
from aspd_cli.engine.lane import Lane
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.sampler import generator


@dataclass(eq=False, slots=True)
class Request:
    """A prompt in the queue, and its answer once it holds a row."""

    index: int
    prompt_ids: Sequence[int]
    options: GenerationOptions
    identity: str
    """Names the request to its random generators, wherever it stands in whatever batch."""
    script: Script | None = None
    """What its lanes write whatever the model would choose; None: what the model chooses."""
    answer: Answer | None = None
    drafts: Drafts | None = None
    """None where it does without."""
    row: int = -1
    rngs: dict[int, np.random.Generator] = field(default_factory=dict)
    started: float = 0.0
    first_token: float = 0.0
    steps: int = 0
    parallel_steps: int = 0
    parallel_s: float = 0.0
    parallel_useful: int = 0
    max_lanes: int = 1
    drafted: int = 0
    accepted: int = 0

    def rng(self, lane: Lane) -> np.random.Generator:
        """The generator that a lane draws from."""
        if lane.id not in self.rngs:
            self.rngs[lane.id] = generator(self.options.seed, self.identity, lane.path)
        return self.rngs[lane.id]

    def count_step(self, lanes: int, now: float, seconds: float) -> None:
        """Counts a step in which so many lanes have sampled."""
        self.first_token = self.first_token or now
        self.steps += 1
        self.max_lanes = max(self.max_lanes, lanes)
        if lanes > 1:
            self.parallel_steps += 1
            self.parallel_s += seconds

    def accept(self, lanes: Sequence[Lane], tokens: Sequence[int]) -> Iterator[Event]:
        """Gives the answer what its lanes have sampled in one step, and ends it where it must."""
        assert self.answer is not None
        before = sum(lane.text_tokens for lane in lanes)
        for lane, token in zip(lanes, tokens, strict=True):
            yield from self.answer.accept(lane, token)
        if len(lanes) > 1:
            self.parallel_useful += sum(lane.text_tokens for lane in lanes) - before
        if self.answer.exhausted and not self.answer.finish_reason:
            self.answer.finish("length")

    def output(self, codec: Codec) -> Output:
        """The answer as it is handed over, once it is finished."""
        answer = self.answer
        assert answer is not None
        assert answer.finish_reason is not None
        tree = answer.main.tree()
        layout = lay_out(tree, codec, end_ids=answer.end_ids, positions=answer.positions)
        counts = structure(tree, layout)
        document, reason = to_document(tree, codec), answer.finish_reason
        if answer.until_stop and answer.until_stop.stopped:
            document, reason = truncate(document, answer.until_stop.length), "stop"
        stats = AnswerStats(
            prompt_tokens=len(self.prompt_ids),
            tokens=counts.tokens,
            useful_tokens=counts.useful_tokens,
            steps=self.steps,
            parallel_steps=self.parallel_steps,
            blocks=counts.blocks,
            branches=counts.branches,
            branch_tokens=counts.branch_tokens,
            title_tokens=counts.title_tokens,
            max_lanes=self.max_lanes,
            ttft_s=self.first_token - self.started,
            time_s=time.perf_counter() - self.started,
            parallel_s=self.parallel_s,
            parallel_useful_tokens=self.parallel_useful,
            decoded_tokens=answer.tokens,
            drafted_tokens=self.drafted,
            accepted_tokens=self.accepted,
        )
        return Output(
            text=plain(document),
            markup=render(document),
            document=document,
            finish_reason=reason,
            token_ids=[int(i) for i in layout.input_ids],
            stats=stats,
            tree=tree,
            cut_by=answer.cut_by if reason == "length" else None,
        )
