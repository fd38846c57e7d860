"""When each lane of an answer was decoded: the answer's critical path, step by step.

A lane samples one token a step: steps that drafts have saved are drawn as if they had been taken.
The first token of the answer comes out of the prompt's step, which is step 1; the first tokens of
all branches come out of the step after `<|para|>` was sampled; the token after a block comes out of
the step after its last branch has ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aspd_cli.core.codec import Codec, ControlIds
from aspd_cli.core.forms import core_of, read_label, title_key
from aspd_cli.core.layout import Ids, leads_of
from aspd_cli.engine.detokenize import defuse


@dataclass(frozen=True, slots=True)
class TimelineBar:
    """A stretch of steps in which one lane advanced."""

    lane: int
    """0 is the main lane, then one for each branch in the order of forking."""
    title: str
    """The branch's title; "" for the main lane."""
    start: int
    """The step that sampled its first token."""
    end: int
    """The step that sampled its last token."""
    titles: bool = False
    """Whether it wrote a list of titles."""


def timeline(token_ids: Sequence[int], codec: Codec) -> list[TimelineBar]:
    """The bars of an answer, by lane and then by time.

    Args:
        token_ids: the answer in document order, forced tokens and the end of turn included.
            As decoded: an answer that a budget cut ends with tokens that took no steps.
    """
    reader = _Reader(token_ids, codec)
    reader.lane(lane=0, title="", step=1)
    return sorted(reader.bars, key=lambda bar: (bar.lane, bar.start))


class _Reader:
    """Walks over the tokens and counts the steps of each lane."""

    def __init__(self, token_ids: Sequence[int], codec: Codec) -> None:
        self.ids, self.codec = token_ids, codec
        self.control: ControlIds = codec.control
        self.at = 0
        self.lanes = 1
        self.bars: list[TimelineBar] = []

    def lane(self, lane: int, title: str, step: int) -> int:
        """Reads a lane to its end, its first token sampled at `step`; the step after its last."""
        start = step
        while self.at < len(self.ids):
            token = self.ids[self.at]
            if token == self.control.title:
                self._bar(lane, title, start, step)
                start = step = self._block(lane, title, step)
                continue
            self.at += 1
            step += 1
            if token == self.control.branch_end:
                break
        self._bar(lane, title, start, step)
        return step

    def _block(self, lane: int, title: str, step: int) -> int:
        start, first = step, self.at
        while self.ids[self.at] != self.control.para:
            self.at += 1
        step += self.at + 1 - first
        self._bar(lane, title, start, step, titles=True)
        titles = self._titles(first)
        self.at += 1
        ends = [step]
        for name, lead in self._leads(titles):
            self.at += 1 + len(lead)  # forced: they take no step
            self.lanes += 1
            ends.append(self.lane(self.lanes - 1, name, step))
        self.at += 1  # <|/para|>
        return max(ends)

    def _leads(self, titles: list[tuple[str, Ids]]) -> list[tuple[str, Ids]]:
        """Name and lead of each branch: as the first branch shows, in a form or without one."""
        names, ids = [name for name, _ in titles], [ids for _, ids in titles]
        hidden = leads_of(None, names, ids, self.codec)
        if label := read_label(names[0]):
            shown = [label.title, *names[1:]]
            leads = leads_of(label.form, shown, ids, self.codec)
            if self._follows(leads[0]) and not self._follows(hidden[0]):
                return list(zip(map(core_of, shown), leads, strict=True))
        return list(zip(names, hidden, strict=True))

    def _follows(self, lead: Ids) -> bool:
        """Whether the branch that begins here has this lead."""
        return tuple(self.ids[self.at + 1 : self.at + 1 + len(lead)]) == lead

    def _titles(self, first: int) -> list[tuple[str, Ids]]:
        """The distinct titles from `first` up to here, each with its tokens."""
        titles: dict[str, tuple[str, Ids]] = {}
        begin = first
        for at in range(first, self.at):
            if self.ids[at] == self.control.title:
                begin = at + 1
            elif self.ids[at] == self.control.title_end:
                name = defuse(self.codec.decode(self.ids[begin:at]))
                titles.setdefault(title_key(name), (name, tuple(self.ids[begin:at])))
        return list(titles.values())

    def _bar(self, lane: int, title: str, start: int, step: int, *, titles: bool = False) -> None:
        if step > start:
            self.bars.append(TimelineBar(lane, title, start, step - 1, titles))
