"""`rewrite`: a model writes the answer again, with tags around its independent parts.

This is the paper's way. It can put sentences in another order, which chains of thought need to
become parallel; what it may lose or change on the way has to be judged.
"""

import re
from html import unescape

from aspd_cli.core.markup import Block, Branch, Document, holds_markup, plain
from aspd_cli.core.parser import parse
from aspd_cli.errors import MarkupError, ReplyError
from aspd_cli.transform.blocks import forks
from aspd_cli.transform.llm.naming import named
from aspd_cli.transform.llm.prompts import fill

PROMPT = "rewrite"
MAX_TITLE = 80
"""Characters of a title above which it is no title."""

_TAG = re.compile(
    r"<(?P<close>/?)(?P<name>parallel|branch)"
    r"(?:\s+title\s*=\s*(?P<quote>[\"'])(?P<title>.{0,400}?)(?P=quote))?\s*>",
    re.IGNORECASE,
)
_FENCED = re.compile(r"```\w*\n(?:(.*)\n)?```", re.DOTALL)


def can_write(answer: str) -> bool:
    """Whether an answer holds none of the tags itself."""
    return _TAG.search(answer) is None


def ask_for(question: str, answer: str) -> tuple[dict[str, str], ...]:
    """The messages that ask to write an answer again."""
    return fill(PROMPT, question=question, answer=answer)


def read_document(reply: str, answer: str, max_branches: int) -> Document:
    """The document that a reply writes; the answer's own white space where only that differs.

    Raises:
        ReplyError: the tags do not fit together, or nothing is left of the answer; says why.
    """
    text = reply.strip()
    fenced = _FENCED.fullmatch(text)
    if fenced is not None and not answer.lstrip().startswith("```"):
        text = fenced[1] or ""
    if not text:
        raise ReplyError("the reply is empty")
    body = answer.strip()
    before, _, after = answer.partition(body)
    text = f"{before}{text}{after}"  # which no model repeats
    try:
        document = parse(text) if holds_markup(text) else _Reader(text, max_branches).document()
    except MarkupError as error:
        raise ReplyError(error.reason) from error
    return with_white_space_of(answer, document)


class _Reader:
    """Reads tags one after another; a line break behind a tag belongs to the tag."""

    def __init__(self, text: str, max_branches: int) -> None:
        self.text = text
        self.max_branches = max_branches
        self.at = 0

    def document(self) -> Document:
        parts: list[str | Block] = []
        while True:
            before, tag = self._next()
            parts.append(before)
            if tag is None:
                return Document(tuple(parts))
            if _name(tag) != "parallel":
                raise ReplyError(f"{tag[0]} stands outside of <parallel>")
            parts += self._parallel()
            if self.text.startswith("\n", self.at):
                self.at += 1

    def _parallel(self) -> list[str | Block]:
        branches: list[tuple[str, str]] = []
        while True:
            between, tag = self._next()
            if between.strip():
                raise ReplyError(f"{between.strip()[:40]!r} stands between branches")
            if tag is None:
                raise ReplyError("<parallel> is not closed")
            if _name(tag) == "/parallel":
                break
            if _name(tag) != "branch":
                raise ReplyError(f"{tag[0]} stands between branches")
            branches.append((_title(tag), self._content()))
        if len(branches) < 2:
            return [content for _, content in branches]
        if (titled := named(branches)) is None:
            raise ReplyError("two branches of a block have the same title")
        return list(forks(titled, self.max_branches))

    def _content(self) -> str:
        if self.text.startswith("\n", self.at):
            self.at += 1
        content, tag = self._next()
        if tag is None or _name(tag) != "/branch":
            raise ReplyError("a <branch> is not closed")
        if not content.strip():
            raise ReplyError("a branch is empty")
        return content

    def _next(self) -> tuple[str, re.Match[str] | None]:
        """The text up to the next tag, and the tag."""
        tag = _TAG.search(self.text, self.at)
        text = self.text[self.at : tag.start() if tag else len(self.text)]
        self.at = tag.end() if tag else len(self.text)
        return text, tag


def _name(tag: re.Match[str]) -> str:
    return f"{tag['close']}{tag['name'].lower()}"


def _title(tag: re.Match[str]) -> str:
    title = " ".join(unescape(tag["title"] or "").split()).strip(" :：*#")
    if not title or len(title) > MAX_TITLE:
        raise ReplyError(f"{tag[0][:MAX_TITLE]!r} has no title")
    return title


def with_white_space_of(answer: str, document: Document) -> Document:
    """The document over the answer's own bytes, where they differ in white space at most."""
    words = answer.split()
    if not words or "".join(plain(document).split()) != "".join(words):
        return document
    at = 0

    def take(text: str) -> str:
        nonlocal at
        start, left = at, sum(not character.isspace() for character in text)
        if not left:
            return ""
        while left or (at < len(answer) and answer[at].isspace()):
            left -= not answer[at].isspace()
            at += 1
        return answer[start:at]

    def over(document: Document) -> Document:
        parts: list[str | Block] = []
        for part in document.parts:
            if isinstance(part, str):
                parts.append(take(part))
            else:
                branches = [
                    Branch(each.title, Document((take(lead), *over(each.content).parts)))
                    for lead, each in zip(part.leads, part.branches, strict=True)
                ]
                parts.append(Block.of(branches))
        return Document(tuple(parts))

    return over(document)
