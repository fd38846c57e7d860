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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

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

CONTROL = re.compile("|".join(map(re.escape, CONTROL_TOKENS)))
"""Any control token."""


@dataclass(frozen=True, slots=True)
class Document:
    """A sequence of texts and blocks. Raises `MarkupError` when a text holds a control token."""

    parts: tuple["str | Block", ...] = ()

    def __post_init__(self) -> None:
        parts = _merged(self.parts) if len(self.parts) > 1 else self.parts
        for part in parts:
            if isinstance(part, str) and (found := CONTROL.search(part)):
                raise MarkupError(f"text contains the control token {found[0]}", found.start())
        object.__setattr__(self, "parts", tuple([part for part in parts if part != ""]))

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


def _merged(parts: Sequence["str | Block"]) -> list["str | Block"]:
    """Parts without texts that follow each other."""
    merged: list[str | Block] = []
    for are_texts, run in groupby(parts, lambda part: isinstance(part, str)):
        if are_texts:
            merged.append("".join(map(str, run)))
        else:
            merged.extend(run)
    return merged


@dataclass(frozen=True, slots=True)
class Branch:
    """One path of a block. The title is not empty and holds no control token."""

    title: str
    content: Document

    def __post_init__(self) -> None:
        if not self.title:
            raise MarkupError("a title is empty")
        if found := CONTROL.search(self.title):
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
            if (label := first_label(titles)) and self._reads_as(label.form):
                raise MarkupError(f"the title {titles[0]!r} reads as if the block had a form")
        else:
            self._check_form(self.form, titles)

    def _reads_as(self, form: Form) -> bool:
        """Whether what `render` writes of a block without a form would be read in this one."""
        first, second = (
            branch.title + SEPARATOR + branch.content.opening for branch in self.branches[:2]
        )
        return begin_with((first, second), form, [branch.title for branch in self.branches])

    def _check_form(self, form: Form, titles: list[str]) -> None:
        first = form.lead(0, titles[0])
        if found := CONTROL.search(first):
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


def first_label(titles: Sequence[str]) -> Label | None:
    """The label that the first title is, unless a later one has a form as well."""
    label = read_label(titles[0])
    return label if label and all(core_of(title) == title for title in titles[1:]) else None


def begin_with(texts: Sequence[str], form: Form, titles: Sequence[str]) -> bool:
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


def holds_markup(text: str) -> bool:
    """Whether any control token occurs literally in `text`."""
    return CONTROL.search(text) is not None
