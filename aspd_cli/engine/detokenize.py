"""From token ids to text: a lane while it is decoded, and a whole answer as a document.

`TextStream` shows whole characters and notices stop strings, at which `until_stop` cuts.
`to_document` makes a document that is always well formed, whatever the model wrote, and `truncate`
ends one before a stop string. Both spell out control tokens that stand in text (`defuse`), so that
no text is ever taken for markup.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from aspd_cli.core.codec import Codec, StreamDecoder
from aspd_cli.core.forms import core_of
from aspd_cli.core.layout import Ids, TokenBlock, TokenTree
from aspd_cli.core.markup import CONTROL_TOKENS, Block, Branch, Document

_SPELLED = max(map(len, CONTROL_TOKENS)) - 1
"""Characters of a text in which a control token may have begun."""

_ZERO_WIDTH = "\u200b"


class TextStream:
    """Text of a lane as it may be shown: whole characters."""

    def __init__(self, codec: Codec, stop: Sequence[str]) -> None:
        self._codec, self._stop = codec, stop
        self._decoder = StreamDecoder(codec)
        self._tail = self._recent = ""
        self.stopped = False
        """Whether the lane has written a stop string: it need not go on."""

    def push(self, token: int) -> str:
        """The text that may be shown now."""
        return self._show(self._decoder.push(token))

    def push_text(self, text: str) -> str:
        """As `push`, for a text that no token wrote."""
        return self._show(text)

    def flush(self) -> str:
        """Ends a run of text: shows what was held back."""
        shown = self._show(self._decoder.flush())
        self._tail = self._recent = ""
        self._decoder = StreamDecoder(self._codec)
        return shown

    def _show(self, text: str) -> str:
        spelled = defuse(self._tail + text)
        text, self._tail = spelled[len(self._tail) :], spelled[-_SPELLED:]
        if self._stop and not self.stopped:
            recent = self._recent + text
            self.stopped = any(map(recent.__contains__, self._stop))
            longest = max(map(len, self._stop))
            self._recent = recent[max(0, len(recent) - longest + 1) :]
        return text


def to_document(tree: TokenTree, codec: Codec) -> Document:
    """The document of a decoded token tree.

    A block of a single branch (the model announced one title over and over) becomes its content.
    Control tokens that the model spelled out in ordinary tokens are defused.
    """
    parts: list[str | Block] = []
    for part in _unwrapped(tree):
        if isinstance(part, TokenBlock):
            titles = [defuse(codec.decode(branch.title)) for branch in part.branches]
            if part.form is not None:
                titles = list(map(core_of, titles))
            contents = [
                Document((*to_document(branch.content, codec).parts, branch.ending))
                for branch in part.branches
            ]
            parts.append(Block(tuple(map(Branch, titles, contents)), part.form))
        elif parts and isinstance(parts[-1], str):
            parts[-1] = defuse(parts[-1] + codec.decode(part))
        else:
            parts.append(defuse(codec.decode(part)))
    return Document(tuple(parts))


def defuse(text: str) -> str:
    """`text` with a zero-width space before the `>` of each control token that it spells.

    Text may not hold control tokens. The mark stands near the end so that a stream which has
    already shown the beginning of one need not take it back.
    """
    if ">" not in text:
        return text
    for token in CONTROL_TOKENS:
        text = text.replace(token, token[:-1] + _ZERO_WIDTH + token[-1])
    return text


def _unwrapped(tree: TokenTree) -> Iterator[Ids | TokenBlock]:
    """The parts of a tree, with the content of each single branch in place of its block."""
    for part in tree:
        if isinstance(part, TokenBlock) and len(part.branches) == 1:
            if part.form is not None:
                yield part.branches[0].lead
            yield from _unwrapped(part.branches[0].content)
        else:
            yield part


def truncate(document: Document, length: int) -> Document:
    """The document whose plain text is the first `length` characters.

    A block without a form keeps all its titles. One whose labels the reader sees keeps the branches
    that come before the cut; a branch that is cut ends it as text.
    """
    parts, _ = _truncate(document, length)
    return parts


def _truncate(document: Document, left: int) -> tuple[Document, int]:
    parts: list[str | Block] = []
    for part in document.parts:
        if left <= 0:
            break
        if isinstance(part, str):
            parts.append(part[:left])
            left -= len(part)
        elif part.form is None:
            branches = []
            for branch in part.branches:
                content, left = _truncate(branch.content, left)
                branches.append(Branch(branch.title, content))
            parts.append(Block(tuple(branches)))
        elif len(shown := "".join(part.texts)) <= left:
            parts.append(part)
            left -= len(shown)
        else:
            parts += _cut_block(part, left)
            left = 0
    return Document(tuple(parts)), max(left, 0)


def _cut_block(block: Block, left: int) -> list[str | Block]:
    """The first `left` characters of a block whose labels the reader sees."""
    ends = list(accumulate(map(len, block.texts)))
    whole = sum(end <= left for end in ends)
    text = "".join(block.texts)[:left]
    if whole < 2:
        return [text]
    return [Block(block.branches[:whole], block.form), text[ends[whole - 1] :]]
