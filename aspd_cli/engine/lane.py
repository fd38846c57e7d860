"""A lane: one line of decoding, and the part of the token tree that it has written so far."""

from dataclasses import dataclass, field

from aspd_cli.core.codec import Codec
from aspd_cli.core.forms import Form
from aspd_cli.core.layout import Ids, TokenBlock, TokenBranch, TokenTree
from aspd_cli.engine.detokenize import TextStream
from aspd_cli.engine.grammar import Stage

_TAIL = 16
"""Tokens that surely hold the separator at the end of a branch."""


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
