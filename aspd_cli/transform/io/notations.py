"""Answers that others have marked up, in the notations of their releases, as documents of ours.

Multiverse, ThreadWeaver, Parallel-R1, NPR and ParaThinker write tags: a plan or none, paths, and
what is concluded from them. The release of ASPD writes the control tokens of ours, and shows
`T: ` to the reader; APAR writes a main stream with marks at which others fork.

The plain text is what stands in paths, conclusions and around them: without tags, without the plan,
whose items become titles, and without the numbers that join a path to its plan. Where two parts
would run together a line break is put between them; where the release holds the text as it was
before (`raw_answer`, `reassembled_response`), blanks and line breaks are taken from there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from aspd_cli.core.forms import core_of, title_key
from aspd_cli.core.markup import (
    CONTROL,
    MAX_DEPTH,
    SEPARATOR,
    Block,
    Branch,
    Document,
    plain,
    render,
)
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError, MarkupError
from aspd_cli.transform.rules.markdown import cut_lines
from aspd_cli.transform.rules.titles import MAX_WORDS, title_of, told_apart

OURS, RELEASE, APAR = "ASPD", "ASPD release", "APAR"
FORK, STREAM = "[SplitMask]", "[SplitSop]"
"""APAR's marks: another stream forks here, and begins here."""

_MAX_TITLE = 80
"""Characters of the item of a plan that is a title as it stands; wide ones count four."""
_OUTER = " \t.,;:!?。，；：！？"
_NUMBER = re.compile(r"\s*(\d{1,3}(?:\.\d{1,3}){0,8})\s*[:：.)]\s*")
"""What joins a path to the item of its plan."""


class Marked(NamedTuple):
    """An answer that was marked up before."""

    document: Document
    notation: str


@dataclass(slots=True)
class _Fork:
    """Paths that were written side by side."""

    paths: list["_Path"] = field(default_factory=list)


@dataclass(slots=True)
class _Path:
    plan: str | None
    """What was announced of it."""
    parts: list["str | _Fork"]


_Parts = list[str | _Fork]


@dataclass(frozen=True, slots=True)
class _Tags:
    """The tags of one notation by what they enclose, and how an answer in it is known."""

    begin: re.Pattern[str]
    group: str = ""
    """Plan, paths and conclusion together."""
    plans: str = ""
    """All items of a plan."""
    plan: str = ""
    path: str = ""
    """A pattern where paths are numbered in their tags."""
    end: str = ""
    """What is concluded from the paths; it is serial text."""

    @property
    def pattern(self) -> re.Pattern[str]:
        names = filter(None, (self.group, self.plans, self.plan, self.path, self.end))
        return re.compile(rf"<(/?)({'|'.join(names)})>")


_NOTATIONS = {
    "Multiverse": _Tags(
        re.compile(r"<Parallel>\s*<Goal>|<Goal>[^<]*<Outline>"),
        *("Parallel", "Goal", "Outline", "Path", "Conclusion"),
    ),
    "ThreadWeaver": _Tags(
        re.compile(r"<Parallel>\s*<Outlines>"),
        *("Parallel", "Outlines", "Outline", "Thread", "Conclusion"),
    ),
    "Parallel-R1": _Tags(
        re.compile(r"<Parallel>\s*<Path>"), group="Parallel", path="Path", end="Summary"
    ),
    "NPR": _Tags(re.compile(r"<guideline>\s*<plan>"), "", "guideline", "plan", "step", "takeaway"),
    "ParaThinker": _Tags(re.compile(r"<think1>"), path=r"think\d{1,3}", end="summary"),
}


def read_marked(answer: str, *, ours: bool = False, original: object = None) -> Marked | None:
    """The document of an answer in somebody's notation; None for ordinary text.

    Args:
        ours: it was written by `aspd transform`: titles of blocks without a form are hidden.
        original: the text before it was marked up, where it is known.

    Raises:
        DataError: it begins in a notation and leaves it; gives character and reason.
    """
    known = original if isinstance(original, str) else None
    if CONTROL.search(answer):
        return _read_tokens(answer, ours, known)
    for name, tags in _NOTATIONS.items():
        if tags.begin.search(answer):
            return Marked(_document(_Reader(answer, name, tags).whole(), known, tidy=True), name)
    return None


def _read_tokens(answer: str, ours: bool, original: str | None) -> Marked:
    try:
        document = parse(answer)
    except MarkupError as error:
        raise DataError(f"the answer contains control tokens, but its {error}") from None
    if ours:
        return Marked(document, OURS)
    hidden = _parts_of(document, shown=False)
    if original is not None and _solid("".join(text for text, _ in _texts(hidden))) == _solid(
        original
    ):
        return Marked(_document(hidden, original), RELEASE)
    return Marked(_document(_parts_of(document, shown=True), original), RELEASE)


def _parts_of(document: Document, *, shown: bool) -> _Parts:
    """A document of control tokens as parts; leads are text again, and `T: ` is where shown."""
    parts: _Parts = []
    for part in document.parts:
        if isinstance(part, str):
            parts.append(part)
            continue
        fork = _Fork()
        for lead, branch in zip(part.leads, part.branches, strict=True):
            label = lead or (branch.title + SEPARATOR if shown else "")
            inner = _parts_of(branch.content, shown=shown)
            fork.paths.append(_Path(branch.title, [label, *inner]))
        parts.append(fork)
    return parts


class _Reader:
    """Recursive descent over tags and the text between them."""

    def __init__(self, answer: str, name: str, tags: _Tags) -> None:
        self.name, self.tags = name, tags
        self.pieces: list[tuple[str, int, bool]] = []
        """Text, its place, and whether it is a tag."""
        end = 0
        for found in tags.pattern.finditer(answer):
            self.pieces.append((answer[end : found.start()], end, False))
            self.pieces.append((found[1] + found[2], found.start(), True))
            end = found.end()
        self.pieces += [(answer[end:], end, False), ("", len(answer), True)]
        self.at = 0
        self.depth = 0

    @property
    def tag(self) -> str:
        """The tag that is next, without brackets; empty at a text and at the end."""
        text, _, is_tag = self.pieces[self.at]
        return text if is_tag else ""

    def fail(self, reason: str) -> NoReturn:
        place = self.pieces[self.at][1]
        raise DataError(f"the {self.name} tags are not well formed at character {place}: {reason}")

    def take(self, tag: str) -> None:
        if self.tag != tag:
            self.fail(f"expected <{tag}>, found {f'<{self.tag}>' if self.tag else 'text'}")
        self.at += 1

    def blank(self) -> str:
        """The white space before a tag; other text is none of the notation."""
        text, _, is_tag = self.pieces[self.at]
        if is_tag:
            return ""
        if text.strip():
            self.fail("text between two paths or items of a plan")
        self.at += 1
        return text

    def is_path(self, tag: str) -> bool:
        return re.fullmatch(self.tags.path, tag) is not None

    def whole(self) -> _Parts:
        parts = self.parts()
        if self.at < len(self.pieces) - 1:
            self.fail(f"<{self.tag}> closes nothing that is open")
        return parts

    def parts(self) -> _Parts:
        """Everything up to a tag that closes, or to the end."""
        if self.depth == MAX_DEPTH:
            self.fail(f"tags are nested more than {MAX_DEPTH} deep")
        self.depth += 1
        parts: _Parts = []
        tags = self.tags
        while self.at < len(self.pieces) - 1:
            text, _, is_tag = self.pieces[self.at]
            if not is_tag:
                parts.append(text)
                self.at += 1
            elif text == tags.group:
                self.at += 1
                parts += self.parts()
                self.take(f"/{tags.group}")
            elif text == tags.end:
                self.at += 1
                parts += self.parts()
                self.take(f"/{tags.end}")
            elif text == tags.plans or self.is_path(text):
                parts += self.fork()
            elif text.startswith("/"):
                break
            else:
                self.fail(f"<{text}> stands outside of <{tags.plans}>")
        self.depth -= 1
        return parts

    def fork(self) -> Iterator[str | _Fork]:
        """A plan, if there is one, and its paths."""
        plans: list[str] = []
        if self.tag == self.tags.plans:
            before, plans = self.plan()
            yield before
            yield self.blank()
        fork = _Fork()
        while self.is_path(self.tag):
            name = self.tag
            self.at += 1
            parts = self.parts()
            self.take(f"/{name}")
            if self._next_is_path():
                parts.append(self.blank())
            fork.paths.append(_Path(None, parts))
        if plans and len(plans) != len(fork.paths):
            self.fail(f"a plan of {len(plans)} items has {len(fork.paths)} paths")
        for path, plan in zip(fork.paths, plans, strict=False):
            _join(path, plan)
        yield fork

    def plan(self) -> tuple[str, list[str]]:
        """What stands before the items of a plan, and the items."""
        self.take(self.tags.plans)
        before, items = "", list[str]()
        while self.tag != f"/{self.tags.plans}":
            text, _, is_tag = self.pieces[self.at]
            if not is_tag and not items:
                before += text
                self.at += 1
            elif not is_tag:
                self.blank()
            else:
                self.take(self.tags.plan)
                items.append(self.pieces[self.at][0])
                self.at += 1
                self.take(f"/{self.tags.plan}")
        self.at += 1
        return before.strip() and before, items

    def _next_is_path(self) -> bool:
        """Whether another path follows a text."""
        _, _, is_tag = self.pieces[self.at]
        return not is_tag and self.is_path(self.pieces[self.at + 1][0])


def _join(path: _Path, plan: str) -> None:
    """Gives a path the item of its plan, and takes the number off that joins them."""
    number = _NUMBER.match(plan)
    path.plan = plan[number.end() :] if number else plan
    first = path.parts[0] if path.parts else ""
    if number and isinstance(first, str):
        found = _NUMBER.match(first)
        if found and found[1] == number[1]:
            path.parts[0] = first[found.end() :]


def read_streams(turn: Mapping[str, Any]) -> tuple[str, Document | None]:
    """The plain text of an answer of APAR, and its document; None where nothing forks.

    The response is the main stream: stream k forks at its k-th mark, and goes on with the line
    that the mark ends, as the text of an item goes on after its label.

    Raises:
        DataError: marks and streams do not fit together.
    """
    response, streams = turn.get("response"), turn.get("streams") or []
    whole = turn.get("reassembled_response")
    if not isinstance(response, str) or not isinstance(streams, list):
        raise DataError("a turn of `dialog` needs a `response`, and `streams` as a list")
    if not all(isinstance(stream, str) and FORK not in stream for stream in streams):
        raise DataError(f"a stream is no text, or holds {FORK} itself")
    main = response.split(FORK)
    if len(main) != len(streams) + 1:
        raise DataError(f"{len(main) - 1} marks {FORK} for {len(streams)} streams")
    pieces = [main[0]]
    for stream, text in zip(streams, main[1:], strict=True):
        pieces += [stream.removeprefix(STREAM), text]
    if isinstance(whole, str):
        spaced = _respaced(pieces, whole)
        if spaced is None:
            raise DataError("the streams do not give `reassembled_response`")
        pieces = spaced
    if not streams:
        return pieces[0], None
    document = _document(list(_runs(pieces)), None)
    return plain(document), document


def _runs(pieces: list[str]) -> Iterator[str | _Fork]:
    """Main stream and other streams in turn: forks with nothing but a label between are one."""
    fork = _Fork()
    for at in range(0, len(pieces) - 1, 2):
        text, stream = pieces[at], pieces[at + 1]
        cut = max(text.rfind("\n"), text.rfind("\r")) + 1
        between, label = text[:cut], text[cut:]
        if fork.paths and between.strip():
            yield from _whole(fork)
            fork = _Fork()
        if fork.paths:
            fork.paths[-1].parts.append(between)
        else:
            yield between
        named = title_of(_first_line(label)) if label.strip() else None
        fork.paths.append(_Path(named, [label + stream]))
    yield from _whole(fork)
    yield pieces[-1]


def _whole(fork: _Fork) -> _Parts:
    return [fork] if len(fork.paths) > 1 else fork.paths[0].parts


def _document(parts: _Parts, original: str | None, *, tidy: bool = False) -> Document:
    """The document of parts, spaced as the original is, or without parts that run together.

    Args:
        tidy: tags stand on lines of their own, which leave no blank lines behind.
    """
    texts = list(_texts(parts))
    spaced = None if original is None else _respaced([text for text, _ in texts], original)
    given = _apart(texts, tidy) if spaced is None else spaced
    try:
        document = Document(tuple(_built(parts, iter(given))))
        same = parse(render(document)) == document
    except MarkupError as error:
        raise DataError(f"the answer cannot be written in our markup: {error.reason}") from None
    if not same:
        raise DataError("the answer is another one when it is written in our markup")
    return document


def _texts(parts: _Parts, begins: bool = False) -> Iterator[tuple[str, bool]]:
    """All texts in order, and whether each begins a path or what follows the last path."""
    for part in parts:
        if isinstance(part, str):
            yield part, begins
            begins = begins and not part
            continue
        for path in part.paths:
            yield from _texts(path.parts, True)
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


def _solid(text: str) -> str:
    return "".join(text.split())


def _respaced(texts: Sequence[str], original: str) -> list[str] | None:
    """The texts with the blanks of the original; None where they differ in anything else."""
    if _solid("".join(texts)) != _solid(original):
        return None
    out, at = [], 0
    for text in texts:
        start, left = at, len(_solid(text))
        while left or (start < at < len(original) and original[at].isspace()):
            left -= not original[at].isspace()
            at += 1
        out.append(original[start:at])
    return [*out[:-1], out[-1] + original[at:]]


def _built(parts: _Parts, texts: Iterator[str]) -> Iterator[str | Block]:
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
    heads = [_first_line(plain(content)) for content in contents]
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
    if size <= _MAX_TITLE and len(text.split()) <= 2 * MAX_WORDS:
        return text
    return title_of(text) or ""


def _first_line(text: str) -> str:
    lines = cut_lines(text)
    return next((line.body or line.text for line in lines if line.text), "")
