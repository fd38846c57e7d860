"""An answer while it is decoded: the rules of forking, merging, closing and budgets."""

import sys
from collections.abc import Iterator, Sequence
from operator import attrgetter

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import Positions, branch_prefix, position_after
from aspd_cli.core.visibility import MAIN, LaneTree
from aspd_cli.engine.detokenize import TextStream, defuse
from aspd_cli.engine.events import Close, CutBy, Event, Fork, Merge, Text
from aspd_cli.engine.grammar import Choice, Grammar, Stage
from aspd_cli.engine.lane import Lane, OpenBlock, Pending
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.until_stop import UntilStop


class Answer:
    """Takes sampled tokens, gives the tokens to feed next and the events to show.

    Pending tokens are in the order in which the cache takes them: `<|para|>` before the prefixes of
    its branches, the last `<|/branch|>` before `<|/para|>`.
    """

    def __init__(
        self,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        grammar: Grammar,
        codec: Codec,
        lane_tree: LaneTree,
        positions: Positions,
        budget: int,
        *,
        forms: bool = True,
    ) -> None:
        self.options, self.grammar, self.codec, self.positions = options, grammar, codec, positions
        self.forms = forms
        """Whether a first title that is a label gives its block a form."""
        self.budget = budget
        """Most answer tokens: `max_new_tokens`, or what the context leaves."""
        self.lane_tree = lane_tree
        self.main = Lane(MAIN, stream=TextStream(codec, options.stop))
        self.main.position = len(prompt_ids)
        self.pending = [Pending(self.main, prompt_ids, 0, samples=True)]
        self.tokens = 0
        self.awaited = 0
        """Lanes of the step under way whose token has not been taken yet."""
        self.open_branches = self.open_blocks = self.blocks = 0
        self.waiting: list[Lane] = []
        """Branches of open blocks that have not begun, in document order."""
        self.most_lanes = 1 if options.mode == "serial" else sys.maxsize
        """Lanes up to which waiting branches begin by themselves; `start_next` begins others."""
        self.end_ids: list[int] = []
        self.finish_reason: str | None = None
        self.cut = False
        """Whether a branch was closed by its budget."""
        self.until_stop = UntilStop(options.stop) if options.stop else None
        # A fork must be affordable: two titles of a token, two branches of one, their markup.
        self._cheapest = 2 * 3 + 1 + 2 * (4 + len(codec.separator)) + 1
        self._choices: dict[tuple[int, bool | None], Choice] = {}

    @property
    def cut_by(self) -> CutBy | None:
        """The budget that closed something; None where none did."""
        if self.finish_reason != "length":
            return None
        if self.end_ids:
            return "max_branch_tokens"
        return "context" if self.budget < self.options.max_new_tokens else "max_new_tokens"

    @property
    def remaining(self) -> int:
        """Tokens that may still be added once everything open is paid for."""
        return self.budget - self.tokens - self.open_branches - self.open_blocks

    @property
    def running(self) -> int:
        """Lanes that sample in the step under way and in the next one."""
        return self.awaited + sum(each.samples for each in self.pending)

    @property
    def alone(self) -> bool:
        """Whether a single lane samples, so that nothing depends on how soon it goes on."""
        return self.running == 1 and (not self.waiting or self.options.mode == "serial")

    @property
    def exhausted(self) -> bool:
        """Whether the lanes that sample next could overrun the budget."""
        return self.remaining < sum(each.samples for each in self.pending)

    def drain(self) -> list[Pending]:
        """The tokens of the next step."""
        pending, self.pending = self.pending, []
        self.awaited = sum(each.samples for each in pending)
        return pending

    def go_on(self, fed: Pending) -> Pending | None:
        """What the lane of `fed` feeds next, where that is the first of its drafts.

        It has been fed in the step under way, so the lane samples in this step once more.
        """
        if not (fed.drafts and self.pending):
            return None
        lane, ids, position, samples, _ = self.pending[-1]
        if lane is not fed.lane or not samples or ids != [fed.drafts[0]]:
            return None
        self.pending.pop()
        self.awaited += 1
        return Pending(lane, ids, position, samples, fed.drafts[1:])

    def choice(self, lane: Lane) -> Choice:
        """What the lane may sample next."""
        if lane.stage is Stage.BETWEEN:
            repeated = lane.repeats_title(self.codec)
            return self.grammar.between(len(lane.titles), repeated=repeated)
        if lane.stage is Stage.TITLE:
            key: tuple[int, bool | None] = len(lane.titles[-1]), None
        else:
            key = len(lane.path), self.remaining >= self._cheapest
        if key not in self._choices:
            grammar, (n, may_fork) = self.grammar, key
            found = grammar.title(n) if may_fork is None else grammar.text(n, may_fork=may_fork)
            self._choices[key] = found
        return self._choices[key]

    def accept(self, lane: Lane, token: int) -> Iterator[Event]:
        """Takes a sampled token."""
        yield from self._shown(self._accept(lane, token))
        if self.until_stop and self.until_stop.stopped and not self.finish_reason:
            self.finish("stop")
        if self.waiting:
            for _ in range(self.running, self.most_lanes):
                if not self.start_next():
                    break

    def start_next(self) -> bool:
        """Begins the first branch that waits; False where none does or the answer has ended."""
        while self.waiting and not self.finish_reason:
            branch = self.waiting.pop(0)
            if not branch.closed:  # by a stop string
                assert self.grammar.control is not None
                self._feed(branch, branch_prefix(branch.lead, self.grammar.control))
                return True
        return False

    def _accept(self, lane: Lane, token: int) -> Iterator[Event]:
        self.awaited -= 1
        if self.finish_reason or lane.closed:
            return
        control = self.grammar.control
        self.tokens += 1
        if lane.stage is Stage.TITLE:
            assert control is not None
            if token == control.title_end:
                lane.stage = Stage.BETWEEN
            else:
                lane.titles[-1].append(token)
            self._feed(lane, [token])
        elif control is not None and token == control.title:
            if lane.stage is Stage.TEXT:
                yield from self._end_run(lane)
            lane.stage = Stage.TITLE
            lane.titles.append([])
            self._feed(lane, [token])
        elif control is not None and token == control.para:
            yield from self._fork(lane)
        elif control is not None and token == control.branch_end:
            self.tokens -= 1  # counted when the close pays for it
            yield from self._close(lane)
        elif token in self.grammar.ends:
            self.end_ids = [token]
            yield from self._end_run(lane)
            self.finish("length" if self.cut else "stop")
        else:
            yield from self._text(lane, token)

    def finish(self, reason: str) -> None:
        """Ends the answer; what is open counts as closed here."""
        self.finish_reason = reason
        self.pending = []

    def flush(self) -> Iterator[Event]:
        """The text that is still held back."""
        open_lanes = [lane for lane in self.main.walk() if not lane.closed]
        for lane in open_lanes:
            yield from self._shown(self._end_run(lane))
        if self.finish_reason == "length":
            for lane in reversed(open_lanes):  # a branch ends after those that it holds
                if lane.block is not None:
                    yield from self._shown(self._cut(lane))
        if self.until_stop:
            yield from self.until_stop.end()

    def _shown(self, events: Iterator[Event]) -> Iterator[Event]:
        """The events as they may be shown."""
        for event in events:
            if self.until_stop:
                yield from self.until_stop.take(event)
            else:
                yield event

    def _feed(self, lane: Lane, ids: Sequence[int], *, samples: bool = True) -> None:
        self.pending.append(Pending(lane, ids, lane.position, samples))
        lane.position += len(ids)

    def _text(self, lane: Lane, token: int) -> Iterator[Event]:
        lane.add_text(token)
        assert lane.stream is not None
        if shown := lane.stream.push(token):
            yield Text(lane.id, shown)
        if lane.stream.stopped:
            self._stop(lane)
            return
        limit = self.options.max_branch_tokens
        full = lane.depth > 0 and limit is not None and lane.text_tokens >= limit
        self._feed(lane, [token], samples=not full)
        if full:
            self.cut = True
            yield from self._end_run(lane)
            yield from self._cut(lane)
            yield from self._close(lane)

    def _fork(self, lane: Lane) -> Iterator[Event]:
        control = self.grammar.control
        assert control is not None
        heads = lane.heads(self.codec, forms=self.forms)
        prefixes = [branch_prefix(lead, control) for lead in heads.leads]
        # Each branch: its prefix, one token of content, <|/branch|>; then <|/para|>.
        if sum(len(p) + 2 for p in prefixes) + 1 > self.remaining - self.awaited:
            self.finish("length")
            return
        self._feed(lane, [control.para], samples=False)
        ids = self.lane_tree.fork(lane.id, len(heads.leads))
        block = lane.open_block(self.blocks, heads, ids)
        for branch in block.branches:
            branch.stream = TextStream(self.codec, self.options.stop)
        self.blocks += 1
        self.open_blocks += 1
        self.open_branches += len(ids)
        self.tokens += sum(map(len, prefixes))
        yield Fork(lane.id, block.id, heads.shown, tuple(ids))
        if heads.form:
            yield from self._show_leads(block)
        self.waiting = sorted([*self.waiting, *block.branches], key=attrgetter("path"))

    def _show_leads(self, block: OpenBlock) -> Iterator[Event]:
        """The labels, all at once: the reader sees what is to come."""
        for branch in block.branches:
            assert branch.stream is not None
            if shown := branch.stream.push_text(defuse(self.codec.decode(branch.lead))):
                yield Text(branch.id, shown)
            if branch.stream.stopped:
                self._stop(branch)
                return

    def _close(self, lane: Lane) -> Iterator[Event]:
        """Ends a branch, and its block when it was the last."""
        assert self.grammar.control is not None
        assert lane.block is not None
        assert lane.parent is not None
        yield from self._end_run(lane)
        self._feed(lane, [self.grammar.control.branch_end], samples=False)
        self.tokens += 1
        self.open_branches -= 1
        lane.closed = True
        yield Close(lane.id)
        block, parent = lane.block, lane.parent
        if not all(branch.closed for branch in block.branches):
            return
        if parent.closed:  # a stop string ended what would come after the block
            self._finish_when_all_closed()
            return
        extents = [branch.position - block.start for branch in block.branches]
        parent.position = position_after(block.start, extents, self.positions)
        self._feed(parent, [self.grammar.control.para_end])
        self.tokens += 1
        self.open_blocks -= 1
        yield Merge(block.id, parent.id)

    def _stop(self, lane: Lane) -> None:
        """A stop string in `lane`: it and all that comes later ends; earlier branches go on."""
        self.main.close_from(lane)
        self._finish_when_all_closed()

    def _cut(self, lane: Lane) -> Iterator[Event]:
        """Ends the text of a branch that a budget cut as its neighbours end."""
        assert lane.stream is not None
        lane.cut, lane.ending = True, lane.missing_end(self.codec)
        if shown := lane.stream.push_text(lane.ending) + lane.stream.flush():
            yield Text(lane.id, shown)

    def _finish_when_all_closed(self) -> None:
        if all(lane.closed for lane in self.main.walk()):
            self.finish("stop")

    def _end_run(self, lane: Lane) -> Iterator[Event]:
        assert lane.stream is not None
        if shown := lane.stream.flush():
            yield Text(lane.id, shown)
