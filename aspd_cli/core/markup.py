"""Markup: a whole answer as a tree, and its one-line-per-rule grammar (paper section 3.1).

    document := (text | block)*
    block    := title{2,} <|para|> branch{2,} <|/para|>
    title    := <|title|> T <|/title|>
    branch   := <|branch|> lead content <|/branch|>       content := document

A block has a form, in which its first title is written, or has none. The lead of a branch is the
form filled in (`2. **Food**:`), and part of the plain text; in a block without a form it is
`T ": "`, and hidden.

`parse(render(d)) == d` for every document that nests at most `MAX_DEPTH` deep. Documents are
canonical by construction: neighbouring texts are one text and empty texts do not exist.
"""

import re
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NoReturn

from aspd_cli.core.forms import Form, Label, core_of, read_label, shared_label
from aspd_cli.errors import MarkupError

BRANCH, BRANCH_END = "<|branch|>", "<|/branch|>"
TITLE, TITLE_END = "<|title|>", "<|/title|>"
PARA, PARA_END = "<|para|>", "<|/para|>"
CONTROL_TOKENS = (BRANCH, BRANCH_END, TITLE, TITLE_END, PARA, PARA_END)
"""In the order in which they are added to a tokenizer (the order of the authors' checkpoints)."""

FORMAT = 2
"""Version of this grammar, stored with a model. 1: no block has a form."""

SEPARATOR = ": "
"""Stands between title and content of a branch whose block has no form."""

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

    @property
    def opening(self) -> str:
        """The text before the first block."""
        first = next(iter(self.parts), "")
        return first if isinstance(first, str) else ""

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
    form: Form | None = None
    """How the titles are written where the reader sees them; None: he does not see them."""

    def __post_init__(self) -> None:
        titles = [branch.title for branch in self.branches]
        if len(titles) < 2:
            raise MarkupError("a block needs at least two branches")
        if len(set(titles)) < len(titles):
            twice = Counter(titles).most_common(1)[0][0]
            raise MarkupError(f"two branches of a block have the same title {twice!r}")
        if self.form is None:
            if (label := _first_label(titles)) and self._reads_as(label.form):
                raise MarkupError(f"the title {titles[0]!r} reads as if the block had a form")
        else:
            self._check_form(self.form, titles)

    def _reads_as(self, form: Form) -> bool:
        """Whether what `render` writes of a block without a form would be read in this one."""
        first, second = (
            branch.title + SEPARATOR + branch.content.opening for branch in self.branches[:2]
        )
        return _begin((first, second), form, [branch.title for branch in self.branches])

    def _check_form(self, form: Form, titles: list[str]) -> None:
        first = form.lead(0, titles[0])
        if found := _CONTROL.search(first):
            raise MarkupError(f"a form contains the control token {found[0]}", found.start())
        if read_label(first) != (form, titles[0]):
            raise MarkupError(f"{first!r} is not the title {titles[0]!r} in its form")
        if twice := next((title for title in titles if core_of(title) != title), None):
            raise MarkupError(f"the title {twice!r} has a form beside that of its block")

    @classmethod
    def of(cls, branches: Sequence[Branch]) -> "Block":
        """The block of branches whose contents begin with their own labels.

        Where they share a form, the labels go into it, and titles are as the labels have them;
        what the reader sees stays the same.
        """
        titles, texts = zip(*((b.title, b.content.opening) for b in branches), strict=True)
        found = shared_label(titles, texts)
        if found is None:
            first = branches[0]
            return cls((Branch(core_of(first.title), first.content), *branches[1:]))
        form, named = found
        cut = [
            Branch(title, _without(branch.content, form.lead(place, title)))
            for place, (title, branch) in enumerate(zip(named, branches, strict=True))
        ]
        return cls(tuple(cut), form)

    @property
    def misread(self) -> str | None:
        """The first title of a block without a form, if a decoder would read a form off it."""
        title = self.branches[0].title
        return title if self.form is None and read_label(title) else None

    @property
    def leads(self) -> tuple[str, ...]:
        """What the reader sees of each branch before its content: its lead, or nothing."""
        if self.form is None:
            return ("",) * len(self.branches)
        return tuple(self.form.lead(i, b.title) for i, b in enumerate(self.branches))

    @property
    def titles(self) -> tuple[str, ...]:
        """The titles as the title list writes them: the first in the form of the block."""
        first, *others = (branch.title for branch in self.branches)
        return (first if self.form is None else self.form.lead(0, first), *others)

    @property
    def texts(self) -> tuple[str, ...]:
        """What the reader sees of each branch: its lead and its content."""
        pairs = zip(self.leads, self.branches, strict=True)
        return tuple(lead + plain(branch.content) for lead, branch in pairs)


def _first_label(titles: Sequence[str]) -> Label | None:
    """The label that the first title is, unless a later one has a form as well."""
    label = read_label(titles[0])
    return label if label and all(core_of(title) == title for title in titles[1:]) else None


def _begin(texts: Sequence[str], form: Form, titles: Sequence[str]) -> bool:
    """Whether the first two branches begin with their titles in `form`."""
    leads = (titles[0], form.lead(1, titles[1]))
    return all(text.startswith(lead) for text, lead in zip(texts, leads, strict=True))


def _without(content: Document, lead: str) -> Document:
    first, *others = content.parts
    return Document((str(first)[len(lead) :], *others))


def render(document: Document) -> str:
    """The document written with control tokens."""
    out = []
    for part in document.parts:
        if isinstance(part, str):
            out.append(part)
            continue
        out += [TITLE + title + TITLE_END for title in part.titles]
        out.append(PARA)
        for lead, branch in zip(part.leads, part.branches, strict=True):
            out += [BRANCH, lead or branch.title + SEPARATOR, render(branch.content), BRANCH_END]
        out.append(PARA_END)
    return "".join(out)


def plain(document: Document) -> str:
    """What the reader sees: leads and contents, without title lists and control tokens."""
    return "".join(
        part if isinstance(part, str) else "".join(part.texts) for part in document.parts
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
        self.ends: dict[int, int] = {}  # of branches, by where they begin
        opened: list[int] = []
        for at, (piece, _) in enumerate(self.pieces):
            if piece == BRANCH:
                opened.append(at)
            elif piece == BRANCH_END and opened:
                self.ends[opened.pop()] = at
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
        names = list(titles)
        form = self.form(names)
        if form is None:
            leads = [title + SEPARATOR for title in names]
        else:
            leads = [names[0], *(form.lead(i, names[i]) for i in range(1, len(names)))]
            names[0] = leads[0][len(form.opening(0)) : len(leads[0]) - len(form.after)]
        branches = tuple(map(self.branch, names, leads))
        if self.piece == BRANCH:
            self.fail("more branches than titles")
        self.take(PARA_END, "after the branches")
        self.depth -= 1
        return Block(branches, form)

    def form(self, titles: list[str]) -> Form | None:
        """The form of the block whose first branch is next.

        Markup from before there were forms may hold a first title that looks like a label: what
        the first two branches begin with tells.
        """
        label = _first_label(titles)
        if label is None:
            return None
        texts = [self.pieces[self.at + 1][0]] if self.at + 1 < len(self.pieces) else []
        if (end := self.ends.get(self.at)) is not None and end + 2 < len(self.pieces):
            texts.append(self.pieces[end + 2][0])
        if len(texts) == 2 and _begin(texts, label.form, titles):
            return label.form
        hidden = [title + SEPARATOR for title in titles[:2]]
        old = len(texts) == 2 and all(map(str.startswith, texts, hidden))
        return None if old else label.form

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

    def branch(self, title: str, lead: str) -> Branch:
        self.take(BRANCH, f"for the title {title!r}")
        text, offset = self.pieces[self.at]
        if not text.startswith(lead):
            self.fail(f"a branch must begin with its lead {lead!r}")
        if text == lead:
            self.at += 1
        else:
            self.pieces[self.at] = (text[len(lead) :], offset + len(lead))
        content = self.document()
        self.take(BRANCH_END, f"at the end of the branch {title!r}")
        return Branch(title, content)
