"""A lane: one line of decoding, and the part of the token tree that it has written so far."""

from dataclasses import dataclass, field

from aspd_cli.core.layout import Ids, TokenBlock, TokenBranch, TokenTree
from aspd_cli.engine.detokenize import TextStream
from aspd_cli.engine.grammar import Stage


@dataclass(eq=False, slots=True)
class OpenBlock:
    """A block being decoded."""

    id: int
    start: int
    """Position at which every branch starts."""
    titles: tuple[Ids, ...]
    """As announced, repetitions included."""
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
    position: int = 0
    """Of the next token."""
    parts: list["list[int] | OpenBlock"] = field(default_factory=list)
    stage: Stage = Stage.TEXT
    titles: list[list[int]] = field(default_factory=list)
    """The title list being announced; the last one is open in stage TITLE."""
    text_tokens: int = 0
    stream: "TextStream | None" = None
    closed: bool = False

    @property
    def depth(self) -> int:
        return len(self.path)

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
            TokenBlock(part.titles, tuple(TokenBranch(b.title, b.tree()) for b in part.branches))
            if isinstance(part, OpenBlock)
            else tuple(part)
            for part in self.parts
        )
