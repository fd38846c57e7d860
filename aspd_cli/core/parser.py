"""From markup to a document: the grammar of `core.markup`, read piece by piece."""

from collections.abc import Container
from typing import NoReturn

from aspd_cli.core.forms import Form
from aspd_cli.core.markup import (
    BRANCH,
    BRANCH_END,
    CONTROL,
    CONTROL_TOKENS,
    MAX_DEPTH,
    PARA,
    PARA_END,
    SEPARATOR,
    TITLE,
    TITLE_END,
    Block,
    Branch,
    Document,
    begin_with,
    first_label,
)
from aspd_cli.errors import MarkupError


def parse(markup: str) -> Document:
    """The document that `markup` writes.

    Raises:
        MarkupError: the string is not in the grammar; gives character offset and reason.
    """
    return _Parser(markup).whole()


class _Parser:
    """Recursive descent over pieces that are control tokens or the text between them."""

    def __init__(self, markup: str) -> None:
        self.pieces: list[tuple[str, int]] = []
        end = 0
        for found in CONTROL.finditer(markup):
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
        try:
            return Block(branches, form)
        except MarkupError as error:
            self.fail(error.reason)

    def form(self, titles: list[str]) -> Form | None:
        """The form of the block whose first branch is next.

        Markup from before there were forms may hold a first title that looks like a label: what
        the first two branches begin with tells.
        """
        label = first_label(titles)
        if label is None:
            return None
        texts = [self.pieces[self.at + 1][0]] if self.at + 1 < len(self.pieces) else []
        if (end := self.ends.get(self.at)) is not None and end + 2 < len(self.pieces):
            texts.append(self.pieces[end + 2][0])
        if len(texts) == 2 and begin_with(texts, label.form, titles):
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
