"""From what was decoded to a document: ids to text, always well formed."""

from aspd_cli.core.layout import TokenBlock, TokenTree
from aspd_cli.core.markup import CONTROL_TOKENS, Block, Branch, Document
from aspd_cli.core.tokens import Codec

_ZERO_WIDTH = "\u200b"


def to_document(tree: TokenTree, codec: Codec) -> Document:
    """The document of a decoded token tree.

    A block of a single branch (the model announced one title over and over) becomes its content.
    A control token that the model spelled out in ordinary tokens gets a zero-width space after its
    `<`, because text may not hold control tokens.
    """
    parts: list[str | Block] = []
    for part in tree:
        if not isinstance(part, TokenBlock):
            parts.append(_text(codec, part))
            continue
        contents = [to_document(branch.content, codec) for branch in part.branches]
        if len(contents) < 2:
            parts += [p for content in contents for p in content.parts]
            continue
        titles = [_text(codec, branch.title) for branch in part.branches]
        parts.append(Block(tuple(map(Branch, titles, contents))))
    return Document(tuple(parts))


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


def _text(codec: Codec, ids: tuple[int, ...]) -> str:
    text = codec.decode(ids)
    for token in CONTROL_TOKENS:
        text = text.replace(token, token[0] + _ZERO_WIDTH + token[1:])
    return text
