"""Markup: a whole answer as a tree, and its one-line-per-rule grammar (paper section 3.1).

    document := (text | block)*
    block    := title{2,} <|para|> branch{2,} <|/para|>
    title    := <|title|> T <|/title|>
    branch   := <|branch|> T ": " content <|/branch|>     content := document

`parse(render(d)) == d` for every document that nests at most `MAX_DEPTH` deep. Documents are
canonical by construction: neighbouring texts are one text and empty texts do not exist.
"""

import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NoReturn

from aspd_cli.errors import MarkupError

BRANCH, BRANCH_END = "<|branch|>", "<|/branch|>"
TITLE, TITLE_END = "<|title|>", "<|/title|>"
PARA, PARA_END = "<|para|>", "<|/para|>"
CONTROL_TOKENS = (BRANCH, BRANCH_END, TITLE, TITLE_END, PARA, PARA_END)
"""In the order in which they are added to a tokenizer (the order of the authors' checkpoints)."""

SEPARATOR = ": "
"""Stands between a branch's title and its content."""

MAX_DEPTH = 32
"""Blocks within blocks that `parse` accepts: whatever it returns, recursion can walk."""

_CONTROL = re.compile("|".join(map(re.escape, CONTROL_TOKENS)))


@dataclass(frozen=True, slots=True)
class Document:
    """A sequence of texts and blocks. Raises `MarkupError` when a text holds a control token."""

    parts: tuple["str | Block", ...] = ()

    def __post_init__(self) -> None:
        merged: list[str | Block] = []
        for are_texts, run in groupby(self.parts, lambda part: isinstance(part, str)):
            if are_texts:
                merged.append("".join(map(str, run)))
            else:
                merged.extend(run)
        for part in merged:
            if isinstance(part, str) and (found := _CONTROL.search(part)):
                raise MarkupError(f"text contains the control token {found[0]}", found.start())
        object.__setattr__(self, "parts", tuple(part for part in merged if part != ""))

    def blocks(self) -> Iterator["Block"]:
        """All blocks in document order, nested ones after the block that holds them."""
        for part in self.parts:
            if isinstance(part, Block):
                yield part
                for branch in part.branches:
                    yield from branch.content.blocks()


@dataclass(frozen=True, slots=True)
class Branch:
    """One path of a block. The title is not empty and holds no control token."""

    title: str
    content: Document

    def __post_init__(self) -> None:
        if not self.title:
            raise MarkupError("a title is empty")
        if found := _CONTROL.search(self.title):
            raise MarkupError(f"a title contains the control token {found[0]}", found.start())


@dataclass(frozen=True, slots=True)
class Block:
    """One fork: at least two branches with distinct titles."""

    branches: tuple[Branch, ...]

    def __post_init__(self) -> None:
        titles = [branch.title for branch in self.branches]
        if len(titles) < 2:
            raise MarkupError("a block needs at least two branches")
        if len(set(titles)) < len(titles):
            twice = Counter(titles).most_common(1)[0][0]
            raise MarkupError(f"two branches of a block have the same title {twice!r}")


def render(document: Document) -> str:
    """The document written with control tokens."""
    out = []
    for part in document.parts:
        if isinstance(part, str):
            out.append(part)
            continue
        out += [TITLE + branch.title + TITLE_END for branch in part.branches]
        out.append(PARA)
        for branch in part.branches:
            out += [BRANCH, branch.title, SEPARATOR, render(branch.content), BRANCH_END]
        out.append(PARA_END)
    return "".join(out)


def plain(document: Document) -> str:
    """What the reader sees: contents concatenated, without titles, prefixes and control tokens."""
    return "".join(
        part if isinstance(part, str) else "".join(plain(b.content) for b in part.branches)
        for part in document.parts
    )


def parse(markup: str) -> Document:
    """The document that `markup` writes.

    Raises:
        MarkupError: the string is not in the grammar; gives character offset and reason.
    """
    return _Parser(markup).whole()


def holds_markup(text: str) -> bool:
    """Whether any control token occurs literally in `text`."""
    return _CONTROL.search(text) is not None


class _Parser:
    """Recursive descent over pieces that are control tokens or the text between them."""

    def __init__(self, markup: str) -> None:
        self.pieces: list[tuple[str, int]] = []
        end = 0
        for found in _CONTROL.finditer(markup):
            if found.start() > end:
                self.pieces.append((markup[end : found.start()], end))
            self.pieces.append((found[0], found.start()))
            end = found.end()
        if end < len(markup):
            self.pieces.append((markup[end:], end))
        self.pieces.append(("", len(markup)))  # the end of the string
        self.at = 0
        self.depth = 0

    @property
    def piece(self) -> str:
        return self.pieces[self.at][0]

    def fail(self, reason: str) -> NoReturn:
        raise MarkupError(reason, self.pieces[self.at][1])

    def take(self, token: str, where: str) -> None:
        if self.piece != token:
            found = repr(self.piece[:24]) if self.piece else "the end"
            self.fail(f"expected {token} {where}, found {found}")
        self.at += 1

    def whole(self) -> Document:
        document = self.document()
        if self.piece:
            self.fail(f"{self.piece} closes nothing that is open")
        return document

    def document(self) -> Document:
        parts: list[str | Block] = []
        while self.piece:
            if self.piece == TITLE:
                parts.append(self.block())
            elif self.piece in (PARA, BRANCH):
                self.fail(f"{self.piece} without a title list before it")
            elif self.piece in CONTROL_TOKENS:
                break
            else:
                parts.append(self.piece)
                self.at += 1
        return Document(tuple(parts))

    def block(self) -> Block:
        if self.depth == MAX_DEPTH:
            self.fail(f"blocks are nested more than {MAX_DEPTH} deep")
        self.depth += 1
        titles: dict[str, None] = {}  # in order, and quick to look up
        while self.piece == TITLE:
            titles[self.title(titles)] = None
        if len(titles) < 2:
            self.fail("a block needs at least two titles")
        self.take(PARA, "after the titles")
        branches = tuple(self.branch(title) for title in titles)
        if self.piece == BRANCH:
            self.fail("more branches than titles")
        self.take(PARA_END, "after the branches")
        self.depth -= 1
        return Block(branches)

    def title(self, earlier: Container[str]) -> str:
        self.take(TITLE, "before a title")
        title = self.piece
        if not title or title in CONTROL_TOKENS:
            self.fail("a title is empty")
        if title in earlier:
            self.fail(f"two titles of a block are the same: {title!r}")
        self.at += 1
        self.take(TITLE_END, "after a title")
        return title

    def branch(self, title: str) -> Branch:
        self.take(BRANCH, f"for the title {title!r}")
        prefix = title + SEPARATOR
        text, offset = self.pieces[self.at]
        if not text.startswith(prefix):
            self.fail(f"a branch must begin with its title and separator {prefix!r}")
        if text == prefix:
            self.at += 1
        else:
            self.pieces[self.at] = (text[len(prefix) :], offset + len(prefix))
        content = self.document()
        self.take(BRANCH_END, f"at the end of the branch {title!r}")
        return Branch(title, content)
