"""Answers as texts and paths that were written side by side, and the documents made of them.

Where two parts would run together a line break is put between them; where the text as it was before
is known, blanks and line breaks are taken from there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from aspd_cli.core.forms import core_of, title_key
from aspd_cli.core.markup import Block, Branch, Document, plain, render
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError, MarkupError
from aspd_cli.transform.rules.markdown import cut_lines
from aspd_cli.transform.rules.titles import title_of, told_apart

_MAX_WORDS = 16
_MAX_TITLE = 80
"""Characters of the item of a plan that is a title as it stands; wide ones count four."""
_OUTER = " \t.,;:!?。，；：！？"


@dataclass(slots=True)
class MarkedFork:
    """Paths that were written side by side."""

    paths: list["MarkedPath"] = field(default_factory=list)


@dataclass(slots=True)
class MarkedPath:
    plan: str | None
    """What was announced of it."""
    parts: list["str | MarkedFork"]


MarkedParts = list[str | MarkedFork]


def document_of(parts: MarkedParts, original: str | None, *, tidy: bool = False) -> Document:
    """The document of parts, spaced as the original is, or without parts that run together.

    Args:
        tidy: tags stand on lines of their own, which leave no blank lines behind.
    """
    texts = list(texts_of(parts))
    spaced = None if original is None else respaced([text for text, _ in texts], original)
    given = _apart(texts, tidy) if spaced is None else spaced
    try:
        document = Document(tuple(_built(parts, iter(given))))
        same = parse(render(document)) == document
    except MarkupError as error:
        raise DataError(f"the answer cannot be written in our markup: {error.reason}") from None
    if not same:
        raise DataError("the answer is another one when it is written in our markup")
    return document


def texts_of(parts: MarkedParts, begins: bool = False) -> Iterator[tuple[str, bool]]:
    """All texts in order, and whether each begins a path or what follows the last path."""
    for part in parts:
        if isinstance(part, str):
            yield part, begins
            begins = begins and not part
            continue
        for path in part.paths:
            yield from texts_of(path.parts, True)
        begins = True


def _apart(texts: list[tuple[str, bool]], tidy: bool) -> list[str]:
    """Texts with a line break before each that begins a part and would run into the one before."""
    out: list[str] = []
    last, breaks = -1, 0
    for text, begins in texts:
        if tidy:
            text = text.lstrip(" \t") if begins else text
            text = _without_breaks(text, 2 - breaks if last >= 0 else 2 if not out else 0)
        if text and begins and last >= 0 and not (text[0].isspace() or out[last][-1].isspace()):
            out[last] += "\n"
        out.append(text)
        if text:
            last, bare = len(out) - 1, text.rstrip("\n")
            breaks = min(2, len(text) - len(bare) + (0 if bare else breaks))
    return out


def _without_breaks(text: str, most: int) -> str:
    """A text with no more line breaks at its begin than so many."""
    begin = len(text) - len(text.lstrip())
    return text if text.count("\n", 0, begin) <= most else "\n" * most + text[begin:]


def solid(text: str) -> str:
    return "".join(text.split())


def respaced(texts: Sequence[str], original: str) -> list[str] | None:
    """The texts with the blanks of the original; None where they differ in anything else."""
    if solid("".join(texts)) != solid(original):
        return None
    out, at = [], 0
    for text in texts:
        start, left = at, len(solid(text))
        while left or (start < at < len(original) and original[at].isspace()):
            left -= not original[at].isspace()
            at += 1
        out.append(original[start:at])
    return [*out[:-1], out[-1] + original[at:]]


def _built(parts: MarkedParts, texts: Iterator[str]) -> Iterator[str | Block]:
    for part in parts:
        if isinstance(part, str):
            yield next(texts)
            continue
        contents = [Document(tuple(_built(path.parts, texts))) for path in part.paths]
        yield from _block([path.plan for path in part.paths], contents)


def _block(plans: list[str | None], contents: list[Document]) -> Sequence[str | Block]:
    """The block of paths; a single path, and one without a word, is text."""
    if len(contents) < 2 or not all(plain(content).strip() for content in contents):
        return [part for content in contents for part in content.parts]
    contents[-1], rest = _ended_as(contents[-1], contents[-2])
    titles = _titles(plans, contents)
    branches = [Branch(title, content) for title, content in zip(titles, contents, strict=True)]
    try:
        return [Block.of(branches), rest]
    except MarkupError:
        return [Block(tuple(branches)), rest]


def _ended_as(last: Document, other: Document) -> tuple[Document, str]:
    """The last path without blanks that no other ends with, and these: they end the block."""
    *parts, text = last.parts
    whole = plain(other)
    ending = whole[len(whole.rstrip()) :]
    if not isinstance(text, str) or not text.strip():
        return last, ""
    length = len(text.rstrip())
    end = length + len(ending) if text.startswith(ending, length) else len(text)
    return Document((*parts, text[:end])), text[end:]


def _titles(plans: list[str | None], contents: list[Document]) -> list[str]:
    """Distinct titles of paths: of their plan, or of how they begin."""
    heads = [first_line(plain(content)) for content in contents]
    made = told_apart(heads, [title_of(head) or "" for head in heads])
    titles: list[str] = []
    for place, (plan, other) in enumerate(zip(plans, made, strict=True), start=1):
        title = core_of(_of_plan(plan) or core_of(other)).strip(_OUTER) or f"Path {place}"
        taken = set(map(title_key, titles))
        if not title_key(title) or title_key(title) in taken:
            title = f"Path {place}"
        while title_key(title) in taken:
            title += "'"
        titles.append(title)
    return titles


def _of_plan(plan: str | None) -> str:
    """The item of a plan as a title: on one line, and its label or first words if it is long."""
    text = " ".join((plan or "").split()).strip(_OUTER)
    size = sum(1 if character.isascii() else 4 for character in text)
    if size <= _MAX_TITLE and len(text.split()) <= _MAX_WORDS:
        return text
    return title_of(text) or ""


def first_line(text: str) -> str:
    lines = cut_lines(text)
    return next((line.body or line.text for line in lines if line.text), "")
