"""An answer as lines, each with the one thing that Markdown says about it."""

import re
from dataclasses import dataclass
from enum import Enum, auto


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


_FENCE = re.compile(r"(```|~~~)")
_HASHES = re.compile(r"(#{1,6})\s+(.+?)\s*#*$")
_BOLD = re.compile(r"(\*\*|__)(?=\S)((?:(?!\1).){1,100})\1\s*:?$")
_LABEL = re.compile(
    r"(?!(?:Here|Sure|Certainly|These|This|Below|For|In|To|When|If|As|So|Then|Note|Some|Of)\b)"
    r"((?:[IVX]{1,5}\.\s)?[A-Z][^.:!?*|]{1,60}):$"
)
_NUMBERED = re.compile(r"(?:\*\*)?(\d{1,3})([.)])(?:\s+|(?=\*\*))(.*)$")
_BULLET = re.compile(r"([-*+•●▪–])\s+(.*)$")
_RULE = re.compile(r"([-*_])(?:\s*\1){2,}$")
MAX_LABEL_WORDS = 8


def cut_lines(text: str) -> list[Line]:
    """All lines of `text`; their spans join up to the whole of it."""
    lines, at, fenced = [], 0, False
    for raw in text.splitlines(keepends=True):
        start, at = at, at + len(raw)
        body = raw.strip()
        indent = len(raw.expandtabs(4)) - len(raw.expandtabs(4).lstrip())
        fence = _FENCE.match(body) is not None
        if fenced or fence:
            lines.append(Line(start, at, body, Kind.CODE, indent))
            fenced = fenced != fence
        else:
            lines.append(_line(start, at, body, indent))
    return lines


def _line(start: int, end: int, text: str, indent: int) -> Line:
    if not text:
        return Line(start, end, text, Kind.BLANK)
    if _RULE.match(text):
        return Line(start, end, text, Kind.RULE, indent)
    if text[0] == "|" or text.count("|") >= 3:
        return Line(start, end, text, Kind.TABLE, indent)
    if found := _HASHES.match(text):
        return Line(start, end, text, Kind.HEADING, indent, len(found[1]), body=found[2])
    if found := _NUMBERED.match(text):
        return Line(start, end, text, Kind.NUMBERED, indent, 0, found[2], int(found[1]), found[3])
    if indent == 0:
        if found := _BOLD.match(text):
            return Line(start, end, text, Kind.HEADING, 0, BOLD_RANK, body=found[2])
        if (found := _LABEL.match(text)) and len(text.split()) <= MAX_LABEL_WORDS:
            return Line(start, end, text, Kind.HEADING, 0, LABEL_RANK, body=found[1])
    if found := _BULLET.match(text):
        return Line(start, end, text, Kind.BULLET, indent, 0, found[1], body=found[2])
    return Line(start, end, text, Kind.TEXT, indent)
