"""An answer as lines, each with the one thing that Markdown says about it.

What CommonMark takes as it stands (code, raw HTML, quotes, tables) is found by markdown-it, and
formulas by their delimiters: a line in these is no item and no heading, whatever it looks like.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from markdown_it import MarkdownIt


class Kind(Enum):
    """What a line is."""

    BLANK = auto()
    TEXT = auto()
    HEADING = auto()
    NUMBERED = auto()
    BULLET = auto()
    CODE = auto()
    TABLE = auto()
    RULE = auto()
    VERBATIM = auto()
    """In raw HTML, a quote or a formula."""


BOLD_RANK, LABEL_RANK = 7, 8
"""Ranks of headings that are a line in bold, or a `Label:` on a line of its own; `#` has rank 1."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line; offsets are characters of the answer, its newline included."""

    start: int
    end: int
    text: str
    """Without indentation and newline."""
    kind: Kind
    indent: int = 0
    rank: int = 0
    """Of a heading."""
    marker: str = ""
    """Of a list item: its bullet, or what follows its number."""
    number: int = 0
    """Of a numbered item."""
    body: str = ""
    """What follows the marker of an item; the words of a heading."""


_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
"""Lines as CommonMark ends them, which other line separators of Unicode do not."""
_READER = MarkdownIt("commonmark").enable("table").disable(["inline", "reference"])
_MAY_HOLD_BLOCKS = re.compile(r"```|~~~|<|\||(?:\A|[\r\n])(?:\t| {4}| {0,3}>)")
"""Whether there is anything to find: reading takes a third of the time of all rules."""
_KINDS = {
    "fence": Kind.CODE,
    "code_block": Kind.CODE,
    "html_block": Kind.VERBATIM,
    "blockquote_open": Kind.VERBATIM,
    "table_open": Kind.TABLE,
}
_FORMULAS = {"$$": "$$", r"\[": r"\]"}
_HASHES = re.compile(r"(#{1,6})\s+")
_BOLD = re.compile(r"(\*\*|__)(?=\S)((?:(?!\1).){1,100})\1\s*:?$")
_LABEL = re.compile(
    r"(?!(?:Here|Sure|Certainly|These|This|Below|For|In|To|When|If|As|So|Then|Note|Some|Of|以下|下面)\b)"
    r"((?:[IVX]{1,5}\.\s)?[A-ZÀ-ÖØ-Þ][^.:!?*|]{1,60}|[\u4e00-\u9fff][^。，：:！？*|]{1,15})[:：]$"
)
_NUMBERED = re.compile(
    r"(?:\*\*)?(?:(\d{1,3})([.)])(?:\s+|(?=\*\*))|(\d{1,3})([、．])\s*|[（(](\d{1,2})([)）])\s*)(.*)$"
)
_CHINESE = re.compile(
    r"(?:\*\*)?(第|[（(])?([一二三四五六七八九十]{1,3})([、，,：:.．]|[)）]、?)\s*(.*)$"
)
_DIGITS = {digit: at for at, digit in enumerate("一二三四五六七八九", start=1)}
_BULLET = re.compile(r"([-*+•●▪–·◦‣])\s+(.*)$")
_RULE = re.compile(r"([-*_])(?:\s*\1){2,}$")
MAX_LABEL_WORDS = 8
MAX_INDENT = 64
"""Columns: what stands further in is no item, so that how deep lists nest is bounded."""


def cut_lines(text: str) -> list[Line]:
    """All lines of `text`; their spans join up to the whole of it."""
    raws = _LINE.findall(text)
    bodies = [raw.strip() for raw in raws]
    kinds = _blocks(text) if _MAY_HOLD_BLOCKS.search(text) else {}
    if any(map(text.__contains__, _FORMULAS)):
        kinds |= dict.fromkeys(_formulas(bodies, kinds), Kind.VERBATIM)
    lines, at = [], 0
    for number, (raw, body) in enumerate(zip(raws, bodies, strict=True)):
        start, at = at, at + len(raw)
        indent = 0
        if raw[0] in " \t":
            wide = raw.expandtabs(4)
            indent = len(wide) - len(wide.lstrip())
        if kind := kinds.get(number):
            lines.append(Line(start, at, body, kind, indent))
        else:
            lines.append(_line(start, at, body, indent))
    return lines


def _blocks(text: str) -> dict[int, Kind]:
    """What the lines are that hold no Markdown, by CommonMark."""
    found: dict[int, Kind] = {}
    items: set[int] = set()
    for token in _READER.parse(text):
        if token.map is None:
            continue
        first, last = token.map
        if token.type == "list_item_open":
            items.add(first)
        elif kind := _KINDS.get(token.type):
            # A block that begins behind the marker of an item leaves that line to the item.
            for number in range(first + (first in items), last):
                found.setdefault(number, kind)
    return found


def _formulas(bodies: list[str], taken: dict[int, Kind]) -> Iterator[int]:
    """The lines of formulas that take several."""
    ends: dict[str, list[int]] = {end: [] for end in _FORMULAS.values()}
    for number in reversed(range(len(bodies))):
        for end, numbers in ends.items():
            if number not in taken and bodies[number].rstrip(".,;").endswith(end):
                numbers.append(number)
    until = 0
    for number, body in enumerate(bodies):
        closing = _FORMULAS.get(body[:2])
        if number < until or number in taken or closing is None or closing in body[2:]:
            continue
        while ends[closing] and ends[closing][-1] <= number:
            ends[closing].pop()
        if ends[closing]:
            until = ends[closing][-1] + 1
            yield from range(number, until)


def _line(start: int, end: int, text: str, indent: int) -> Line:
    if not text:
        return Line(start, end, text, Kind.BLANK)
    if indent > MAX_INDENT:
        return Line(start, end, text, Kind.TEXT, indent)
    # Most lines are plain text: their first and last characters tell without an expression.
    first = text[0]
    if first in "-*_" and _RULE.match(text):
        return Line(start, end, text, Kind.RULE, indent)
    if first == "|" or text.count("|") >= 3:
        return Line(start, end, text, Kind.TABLE, indent)
    if first == "#" and (found := _HASHES.match(text)):
        return Line(start, end, text, Kind.HEADING, indent, len(found[1]), body=_words(text, found))
    if item := _numbered(text):
        marker, number, body = item
        return Line(start, end, text, Kind.NUMBERED, indent, 0, marker, number, body)
    if indent == 0:
        if first in "*_" and (found := _BOLD.match(text)):
            return Line(start, end, text, Kind.HEADING, 0, BOLD_RANK, body=found[2])
        named = text[-1] in ":：" and len(text.split()) <= MAX_LABEL_WORDS
        if named and (found := _LABEL.match(text)):
            return Line(start, end, text, Kind.HEADING, 0, LABEL_RANK, body=found[1])
    if not first.isalnum() and (found := _BULLET.match(text)):
        return Line(start, end, text, Kind.BULLET, indent, 0, found[1], body=found[2])
    return Line(start, end, text, Kind.TEXT, indent)


def _words(text: str, hashes: re.Match[str]) -> str:
    """The words of a heading, without the hashes that may close it."""
    words = text[hashes.end() :]
    opened = words.rstrip("#")
    return opened.rstrip() if opened[-1:].isspace() else words


def _numbered(text: str) -> tuple[str, int, str] | None:
    """Marker, number and body of a numbered item; None when the line is none."""
    if text[0].isascii() and text[0].isalpha():
        return None
    if found := _NUMBERED.match(text):
        number, marker = next((found[i], found[i + 1]) for i in (1, 3, 5) if found[i])
        return marker, int(number), found[7]
    if not text.isascii() and (found := _CHINESE.match(text)):
        first, digits, after, body = found.groups()
        return f"{first or ''}一{after}", _chinese_number(digits), body
    return None


def _chinese_number(digits: str) -> int:
    tens, ten, ones = digits.rpartition("十")
    return (_DIGITS.get(tens, 1) * 10 if ten else 0) + _DIGITS.get(ones, 0)
