"""A lane: one line of decoding, and the part of the token tree that it has written so far."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aspd_cli.core.codec import Codec
from aspd_cli.core.forms import Form, core_of, read_label, title_key
from aspd_cli.core.layout import Ids, TokenBlock, TokenBranch, TokenTree, leads_of
from aspd_cli.engine.detokenize import TextStream, defuse
from aspd_cli.engine.grammar import Stage

_TAIL = 16
"""Tokens that surely hold the separator at the end of a branch."""


class Heads(NamedTuple):
    """What the titles that a lane has announced come to: the heads of its branches."""

    titles: list[Ids]
    """As announced, each once."""
    leads: list[Ids]
    """What is forced before each branch's own text."""
    shown: tuple[str, ...]
    """The titles as a reader sees them."""
    form: Form | None = None
    """The form of the block, which the first title gave; None: it gave none."""


@dataclass(eq=False, slots=True)
class OpenBlock:
    """A block being decoded."""

    id: int
    start: int
    """Position at which every branch starts."""
    titles: tuple[Ids, ...]
    """As announced, repetitions included."""
    form: Form | None = None
    branches: list["Lane"] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Lane:
    """The main lane, or a branch while it is decoded."""

    id: int
    path: tuple[tuple[int, int], ...] = ()
    """(number of the block in its lane, number of the branch) from the main lane down."""
    block: OpenBlock | None = None
    """The block this lane is a branch of; None for the main lane."""
    parent: "Lane | None" = None
    title: Ids = ()
    lead: Ids = ()
    """What is forced before the lane's own text."""
    ending: str = ""
    """What closes the lane's text after a budget cut it."""
    position: int = 0
    """Of the next token."""
    parts: list["list[int] | OpenBlock"] = field(default_factory=list)
    stage: Stage = Stage.TEXT
    titles: list[list[int]] = field(default_factory=list)
    """The title list being announced; the last one is open in stage TITLE."""
    text_tokens: int = 0
    stream: "TextStream | None" = None
    closed: bool = False
    cut: bool = False
    """Whether a budget ended it."""

    @property
    def depth(self) -> int:
        return len(self.path)

    def last_text(self, codec: Codec) -> str:
        """The end of what the lane and its branches show."""
        shows_lead = self.block is not None and self.block.form is not None
        for part in (*reversed(self.parts), self.lead if shows_lead else ()):
            if isinstance(part, OpenBlock):
                texts = (branch.last_text(codec) for branch in reversed(part.branches))
                text = next(filter(None, texts), "")
            else:
                text = codec.decode(part[-_TAIL:])
            if text:
                return text + self.ending
        return self.ending

    def missing_end(self, codec: Codec) -> str:
        """What the text of a branch lacks of the separator between it and the next."""
        assert self.block is not None
        branches = self.block.branches
        own = self.last_text(codec)
        if not own or len(branches) == 1:
            return ""
        whole = [b for b in branches if b.closed and not b.cut]
        ends = {b: _blank(text) for b in whole if (text := b.last_text(codec))}
        if not ends.get(branches[-1]):  # nothing need follow the last one
            ends.pop(branches[-1], None)
        separator = next(iter(ends.values()), "\n" if self.block.form else " ")
        blank = _blank(own)
        if blank and "\n" not in separator:
            return ""
        begun = next(n for n in range(len(separator), -1, -1) if blank.endswith(separator[:n]))
        return separator[begun:]

    def title_texts(self, codec: Codec) -> list[str]:
        """The titles being announced."""
        return [defuse(codec.decode(title)) for title in self.titles]

    def repeats_title(self, codec: Codec) -> bool:
        """Whether the last title being announced says again what an earlier one says."""
        *earlier, last = map(title_key, self.title_texts(codec))
        return last in earlier

    def heads(self, codec: Codec, *, forms: bool) -> Heads:
        """What the titles that were announced come to; one that repeats another counts once.

        Args:
            forms: whether a first title that is a label gives the block a form.
        """
        texts = self.title_texts(codec)
        keys = list(map(title_key, texts))
        first = [i for i, key in enumerate(keys) if key not in keys[:i]]
        titles, names = [tuple(self.titles[i]) for i in first], [texts[i] for i in first]
        label = read_label(names[0]) if forms else None
        if label is None:
            return Heads(titles, leads_of(None, names, titles, codec), tuple(names))
        names[0] = label.title
        leads = leads_of(label.form, names, titles, codec)
        return Heads(titles, leads, tuple(map(core_of, names)), label.form)

    def open_block(self, number: int, heads: Heads, lanes: Iterable[int]) -> OpenBlock:
        """Opens a block where the lane stands, with a branch under each head.

        Args:
            number: names the block in its answer.
            lanes: names the branches.
        """
        place = sum(isinstance(part, OpenBlock) for part in self.parts)
        block = OpenBlock(number, self.position, tuple(map(tuple, self.titles)), heads.form)
        block.branches += [
            Lane(
                lane,
                (*self.path, (place, i)),
                block,
                self,
                title=title,
                lead=lead,
                position=block.start,
            )
            for i, (lane, title, lead) in enumerate(
                zip(lanes, heads.titles, heads.leads, strict=True)
            )
        ]
        self.parts.append(block)
        self.stage, self.titles = Stage.TEXT, []
        return block

    def walk(self) -> Iterator["Lane"]:
        """This lane and all below it, in document order."""
        yield self
        for part in self.parts:
            if isinstance(part, OpenBlock):
                for branch in part.branches:
                    yield from branch.walk()

    def close_from(self, lane: "Lane") -> None:
        """Closes a lane below this one and all that would write behind what it has written."""
        order = list(self.walk())
        for later in order[order.index(lane) :]:
            later.closed = True
        above: Lane | None = lane
        while above is not None:  # lanes above stand earlier in the walk but would write later
            above.closed = True
            above = above.parent

    def add_text(self, token: int) -> None:
        if not self.parts or isinstance(self.parts[-1], OpenBlock):
            self.parts.append([])
        run = self.parts[-1]
        assert isinstance(run, list)
        run.append(token)
        self.text_tokens += 1

    def tree(self) -> TokenTree:
        """What this lane and its branches have written, as if everything open ended here."""
        return tuple(
            TokenBlock(
                part.titles,
                tuple(TokenBranch(b.title, b.lead, b.tree(), b.ending) for b in part.branches),
                part.form,
            )
            if isinstance(part, OpenBlock)
            else tuple(part)
            for part in self.parts
        )


class Pending(NamedTuple):
    """Tokens that a lane feeds in the next step."""

    lane: Lane
    ids: Sequence[int]
    position: int
    samples: bool
    """Whether the lane samples its next token from the last of these."""
    drafts: Sequence[int] = ()
    """Guesses that are fed behind them, see `engine.drafts`."""


def _blank(text: str) -> str:
    """The blanks at the end of a text."""
    return text[len(text.rstrip()) :]
