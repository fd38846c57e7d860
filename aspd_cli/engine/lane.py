"""A lane: one line of decoding, and the part of the token tree that it has written so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aspd_cli.core.layout import Ids, TokenBlock, TokenBranch, TokenTree
from aspd_cli.core.markup import CONTROL_TOKENS
from aspd_cli.core.tokens import Codec, StreamDecoder
from aspd_cli.engine.document import defuse
from aspd_cli.engine.grammar import Stage

_SPELLED = max(map(len, CONTROL_TOKENS)) - 1
"""Characters of a text in which a control token may have begun."""


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


class TextStream:
    """Text of a lane as it may be shown: whole characters, and nothing that a stop string eats."""

    def __init__(self, codec: Codec, stop: Sequence[str]) -> None:
        self._codec, self._stop = codec, stop
        self._decoder = StreamDecoder(codec)
        self._held = self._tail = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that may be shown now."""
        return self._show(self._decoder.push(token))

    def flush(self) -> str:
        """Ends a run of text: shows what was held back."""
        shown = self._show(self._decoder.flush()) + self._held
        self._held = self._tail = ""
        self._decoder = StreamDecoder(self._codec)
        return shown

    def _show(self, text: str) -> str:
        spelled = defuse(self._tail + text)
        text, self._tail = spelled[len(self._tail) :], spelled[-_SPELLED:]
        if not self._stop or self.stopped:
            return "" if self.stopped else text
        text = self._held + text
        found = min((at for s in self._stop if (at := text.find(s)) >= 0), default=-1)
        if found >= 0:
            self.stopped, self._held = True, ""
            return text[:found]
        hold = max(_overlap(text, s) for s in self._stop)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` could begin."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if stop.startswith(text[-n:])), 0)
