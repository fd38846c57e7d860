"""The step loop: which requests hold a row, what a step feeds, and who samples from it.

Requests may come and go between any two steps, each with options of its own.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

import numpy as np
from torch import Tensor

from aspd_cli.core.visibility import LaneTree
from aspd_cli.engine.answer import Answer
from aspd_cli.engine.drafts import Drafts, price
from aspd_cli.engine.events import Done, Event
from aspd_cli.engine.forced_tokens import Script
from aspd_cli.engine.kv_cache import Feed
from aspd_cli.engine.lane import Pending
from aspd_cli.engine.model_runner import ModelRunner
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.request import Request
from aspd_cli.engine.sampler import Draw, Sampler
from aspd_cli.files import content_digest

OpenAnswer = Callable[[Sequence[int], GenerationOptions, LaneTree], Answer]
"""(prompt ids, options, lanes of its row) -> an answer that is ready for its first step"""

Work = list[tuple[Request, list[Pending]]]
"""What the requests of a step feed."""


class Scheduler:
    """Decodes a queue of requests, at most `rows` at once, each admitted as another finishes.

    Args:
        rows: requests that are decoded at once.
        max_lanes: lanes that sample at once, over all requests, at least `rows`; None: as many as
            answers fork into. Branches beyond it wait for a lane and write the same text later.
    """

    def __init__(
        self,
        runner: ModelRunner,
        open_answer: OpenAnswer,
        rows: int,
        max_lanes: int | None = None,
    ) -> None:
        self.runner, self._open_answer, self.max_lanes = runner, open_answer, max_lanes
        self.cache = runner.take_cache(rows)
        self.sampler = Sampler(runner.vocabulary, runner.device, runner.unnamed_ids)
        self.queue: deque[Request] = deque()
        self.active: dict[int, Request] = {}

    def submit(
        self,
        index: int,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        script: Script | None = None,
        *,
        draw: int = 1,
    ) -> None:
        """Queues a prompt.

        Args:
            index: names the request in events, and to `cancel`.
            draw: sampled answers to one prompt differ where this does.
        """
        digest = content_digest(np.asarray(prompt_ids, dtype=np.int64).tobytes()).hex()
        self.queue.append(Request(index, prompt_ids, options, f"{digest}/{draw}", script))

    def cancel(self, index: int) -> None:
        """Forgets a request: its lanes are free at the next step. Unknown ones are no error."""
        self.queue = deque(request for request in self.queue if request.index != index)
        for row in [row for row, request in self.active.items() if request.index == index]:
            del self.active[row]

    @property
    def idle(self) -> bool:
        return not (self.queue or self.active)

    @property
    def lanes(self) -> int:
        """Lanes that sample in the next step, of the requests that hold a row."""
        return sum(request.answer.running for request in self.active.values() if request.answer)

    def run(self) -> Iterator[tuple[int, Event]]:
        """(index of the request, event) until the queue is empty."""
        try:
            while not self.idle:
                yield from self.step()
        finally:
            self.close()

    def close(self) -> None:
        """Ends the use of the cache."""
        self.runner.give_back(self.cache)

    def step(self) -> Iterator[tuple[int, Event]]:
        """(index of the request, event) of one step, with the requests that can be admitted."""
        self._admit()
        if self.active:
            self._share_lanes()
            yield from self._step()

    def _admit(self) -> None:
        for row in range(self.cache.rows):
            if row in self.active or not self.queue:
                continue
            request = self.queue.popleft()
            request.row, request.started = row, time.perf_counter()
            lanes = self.cache.open_row(row)
            answer = self._open_answer(request.prompt_ids, request.options, lanes)
            if self.max_lanes is not None:
                answer.most_lanes = 1
            request.answer = answer
            if request.options.draft:
                request.drafts = Drafts(answer.grammar.control)
            self.active[row] = request
            self.runner.reserve(self.cache, len(request.prompt_ids) + answer.budget)

    def _share_lanes(self) -> None:
        """Begins branches that wait, as far as lanes are free; who has the fewest lanes is first.

        A lane is kept for each row that holds no request, so that none that comes has to wait.
        """
        if self.max_lanes is None:
            return
        free = self.max_lanes - (self.cache.rows - len(self.active)) - self.lanes
        wide = [
            answer
            for request in self.active.values()
            if (answer := request.answer) and request.options.mode == "parallel"
        ]
        for _ in range(free):
            # Each lane needs a token of the budget that is left.
            wide = [a for a in wide if a.waiting and a.running < a.remaining]
            if not wide:
                return
            min(wide, key=attrgetter("running")).start_next()

    def _step(self) -> Iterator[tuple[int, Event]]:
        """One forward pass for every runnable lane of every request, and what comes of it."""
        began = time.perf_counter()
        work = self._work()
        logits, rows = self._forward(work)
        sampled = iter(self._sample(work, logits if len(rows) == len(logits) else logits[rows]))
        now = time.perf_counter()
        for request, pending in work:
            fed = [each for each in pending if each.samples]
            tokens, own = [next(sampled) for _ in fed], [rows.pop(0) for _ in fed]
            request.count_step(len(fed), now, now - began)
            while fed:
                yield from self._take(request, fed, tokens)
                # A lane that samples what it had drafted samples from that as well.
                if fed := self._confirmed(request, fed):
                    own = [own[-1] + 1]
                    tokens = self._sample([(request, fed)], logits[own])

    def _work(self) -> Work:
        """What each request feeds; where a single lane of it samples, with drafts if they pay."""
        work: Work = []
        for row in sorted(self.active):
            request = self.active[row]
            assert request.answer is not None
            work.append((request, request.answer.drain()))
        width = sum(len(each.ids) for _, pending in work for each in pending)
        for request, pending in work:
            if request.drafts is not None:
                self._draft(request, request.drafts, pending, price(width))
        return work

    def _draft(
        self, request: Request, drafts: Drafts, pending: list[Pending], price: float
    ) -> None:
        for each in pending:
            drafts.write(each.lane.id, each.ids)
        assert request.answer is not None
        if request.answer.alone:
            at = next(i for i, each in enumerate(pending) if each.samples)
            lane, ids, position, samples, _ = pending[at]
            # The last token of a budget is sampled, but never fed.
            guessed = drafts.guess(lane.id, price)[: request.answer.remaining - 1]
            pending[at] = Pending(lane, ids, position, samples, guessed)
            request.drafted += len(guessed)

    def _confirmed(self, request: Request, fed: list[Pending]) -> list[Pending]:
        """What a lane has fed after these: its next draft, if that came true. The others go."""
        [*_, last] = fed
        if not last.drafts:
            return []
        assert request.answer is not None
        if following := request.answer.go_on(last):
            request.accepted += 1
            if request.drafts is not None:
                request.drafts.write(following.lane.id, following.ids)
            return [following]
        self.cache.take_back(request.row, len(last.drafts))
        return []

    def _take(
        self, request: Request, fed: list[Pending], tokens: list[int]
    ) -> Iterator[tuple[int, Event]]:
        """Gives an answer the tokens that its lanes have sampled."""
        answer = request.answer
        assert answer is not None
        for event in request.accept([each.lane for each in fed], tokens):
            yield request.index, event
        if answer.finish_reason:
            for event in answer.flush():
                yield request.index, event
            del self.active[request.row]
            yield request.index, Done(request.output(self.runner.codec))

    def _forward(self, work: Work) -> tuple[Tensor, list[int]]:
        """(n, V) logits of every lane that samples and of its drafts, and the row of each lane."""
        feeds: list[Feed] = []
        last: list[int] = []
        rows, at = list[int](), 0
        for request, pending in work:
            for each in pending:
                feeds.append(Feed(request.row, each.lane.id, each.ids, each.position))
                at += len(each.ids)
                if each.samples:
                    rows.append(len(last))
                    last.append(at - 1)
            for each in pending:  # behind all that stays, so that they can be taken back
                if each.drafts:
                    position = each.position + len(each.ids)
                    feeds.append(Feed(request.row, each.lane.id, each.drafts, position))
                    last += range(at, at + len(each.drafts))
                    at += len(each.drafts)
        return self.runner.forward(last, self.cache, self.cache.prepare(feeds)), rows

    def _sample(self, work: Work, logits: Tensor) -> list[int]:
        draws, writers = [], []
        for request, pending in work:
            assert request.answer is not None
            options = request.options
            draw, look_back = options.temperature > 0, options.repetition_penalty != 1.0
            for each in pending:
                if each.samples:
                    rng = request.rng(each.lane) if draw else None
                    history = self._history(request, each) if look_back else ()
                    choice = request.answer.choice(each.lane)
                    draws.append(Draw(choice, options, rng, history))
                    writers.append((request.script, each.lane.path))
        sampled = self.sampler(logits, draws)
        return [
            token if script is None else script.next(path)
            for token, (script, path) in zip(sampled, writers, strict=True)
        ]

    def _history(self, request: Request, fed: Pending) -> list[int]:
        """What the repetition penalty of a lane looks at: the text it sees."""
        cache, tree = self.cache, self.cache.trees[request.row]
        used = cache.used[request.row] - len(fed.drafts)
        seen = tree.sees[fed.lane.id][cache.lanes[request.row, :used]]
        ids = cache.tokens[request.row, :used][seen]
        return [int(i) for i in ids if i not in self.runner.unpenalised_ids]
