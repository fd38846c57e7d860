"""From what was decoded to a document: ids to text, always well formed."""

from collections.abc import Iterator

from aspd_cli.core.layout import Ids, TokenBlock, TokenTree
from aspd_cli.core.markup import CONTROL_TOKENS, Block, Branch, Document
from aspd_cli.core.tokens import Codec

_ZERO_WIDTH = "\u200b"


def to_document(tree: TokenTree, codec: Codec) -> Document:
    """The document of a decoded token tree.

    A block of a single branch (the model announced one title over and over) becomes its content.
    Control tokens that the model spelled out in ordinary tokens are defused.
    """
    parts: list[str | Block] = []
    for part in _unwrapped(tree):
        if isinstance(part, TokenBlock):
            titles = [defuse(codec.decode(branch.title)) for branch in part.branches]
            contents = [to_document(branch.content, codec) for branch in part.branches]
            parts.append(Block(tuple(map(Branch, titles, contents))))
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
            yield from _unwrapped(part.branches[0].content)
        else:
            yield part


def truncate(document: Document, length: int) -> Document:
    """The document whose plain text is the first `length` characters; blocks keep their titles."""
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
            continue
        branches = []
        for branch in part.branches:
            content, left = _truncate(branch.content, left)
            branches.append(Branch(branch.title, content))
        parts.append(Block(tuple(branches)))
    return Document(tuple(parts)), max(left, 0)
