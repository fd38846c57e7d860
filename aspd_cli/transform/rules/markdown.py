"""An answer as lines, each with the one thing that Markdown says about it.

What CommonMark takes as it stands (code, raw HTML, quotes, tables) is found by markdown-it,
formulas by their delimiters and programs without a fence by their statements (`unfenced`): a line
in these is no item and no heading, whatever it looks like. Markers of items are read by `markers`.
"""

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

from markdown_it import MarkdownIt

from aspd_cli.transform.rules.markers import read_marker
from aspd_cli.transform.rules.unfenced import programs


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

    __hash__ = object.__hash__  # that of an Enum is slow


BOLD_RANK, LABEL_RANK = 7, 8
"""Ranks of headings that are a line in bold, or a `Label:` on a line of its own; `#` has rank 1."""


class Line(NamedTuple):
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
_BLOCK_MARKS = ("```", "~~~", "<", "|")
_MAY_BE_MARKS = (">", "\t", "    ")
_BEGINS_BLOCK = re.compile(
    r"(?:\A|[\r\n]) {0,3}>"
    # Code by indentation cannot begin within a paragraph, so most lists inside of lists hold none.
    r"|(?:\A|[\r\n][ \t]*[\r\n]|[\r\n] {0,3}(?:[#=][^\r\n]*|[-*_ ]{3,})[\r\n]{1,2})(?:\t| {4})"
    r"|[-*+.)](?:\t| {5})"
)
_KINDS = {
    "fence": Kind.CODE,
    "code_block": Kind.CODE,
    "html_block": Kind.VERBATIM,
    "blockquote_open": Kind.VERBATIM,
    "table_open": Kind.TABLE,
}
_FORMULAS = {"$$": "$$", r"\[": r"\]"}
_HASHES = re.compile(r"(#{1,6})\s+")
_BOLD = re.compile(r"(\*\*|__) ?(?=\S)((?:(?!\1).){1,100})\1\s*:?$")
_LABEL = re.compile(
    r"((?:[IVX]{1,5}\.\s)?[A-ZÀ-ÖØ-Þ][^.:!?*|]{1,72}|[\u4e00-\u9fff][^。，：:！？*|]{1,15})[:：]$"
)
_SENTENCE = re.compile(
    r"\b(?:here|we|you|i|it|let|lets|this|these|that|is|are|was|were|be|can|could|will|would"
    r"|should|may"
    r"|might|must(?!-)|do|does|did|has|have|had|get|gets|gives?|becomes?|means?|says|said|follows?"
    r"|following|below|above|include[sd]?|including|if|when|since|because|so|then|thus|therefore"
    r"|sure|certainly|please|example|examples|note|using|output|input|result|answer|proof)\b"
    r"|以下|下面|如下|例如|比如|可以|我们|因此|所以|则|得|输出|输入|答案|结果|解[：:]",
    re.IGNORECASE,
)
"""What a line that leads into something says, and a heading does not."""
_LEADS_IN = re.compile(r"(?:For|In|To|As|Of|Some|From|By|With|After|Now|Next|Finally)\b")
_HERE = re.compile(r"(?:here|below|the following|let)(?:['’]s| is| are| me| us)\b", re.IGNORECASE)
"""How a line in bold begins that leads into something."""
_UNDERLINE = re.compile(r"(=+|-+)$")
_ITEM_TAG = re.compile(r"<li>(.+)</li>$")
_PAGE = re.compile(r"<(?:html|head|body|script|style|div|nav|form)\b|\b(?:class|style|href|id)=")
"""Tags of a web page that somebody has asked for."""
_RULE = re.compile(r"([-*_])(?:\s*\1){2,}$")
MAX_LABEL_WORDS = 8
_LEAST_UNDERLINE = 3
_MAX_HEADING = 80
"""Characters of a heading that is marked by the line below it."""
MAX_INDENT = 64
"""Columns: what stands further in is no item, so that how deep lists nest is bounded."""


def cut_lines(text: str) -> list[Line]:
    """All lines of `text`; their spans join up to the whole of it."""
    raws = _LINE.findall(text)
    bodies = [raw.strip() for raw in raws]
    kinds = _blocks(text) if _may_hold_blocks(text) else {}
    if any(map(text.__contains__, _FORMULAS)):
        kinds |= dict.fromkeys(_formulas(bodies, kinds), Kind.VERBATIM)
    kinds |= dict.fromkeys(programs(bodies, kinds), Kind.CODE)
    page = "<li>" in text and _PAGE.search(text) is not None
    lines: list[Line] = []
    at = 0
    for number, (raw, body) in enumerate(zip(raws, bodies, strict=True)):
        start, at = at, at + len(raw)
        indent = 0
        if raw[0] in " \t":
            wide = raw.expandtabs(4)
            indent = len(wide) - len(wide.lstrip())
        kind = kinds.get(number)
        if kind is Kind.VERBATIM and not page and (tag := _ITEM_TAG.match(body)):
            lines.append(Line(start, at, body, Kind.BULLET, indent, 0, "<li>", body=tag[1].strip()))
        elif kind:
            lines.append(Line(start, at, body, kind, indent))
        elif body[:1] in ("=", "-") and _underlines(body, lines):
            head = lines[-1]
            rank = 1 if body[0] == "=" else 2
            lines[-1] = Line(
                head.start, head.end, head.text, Kind.HEADING, rank=rank, body=head.text
            )
            lines.append(Line(start, at, body, Kind.BLANK))
        else:
            lines.append(_line(start, at, body, indent))
    return lines


def _underlines(body: str, lines: list[Line]) -> bool:
    """Whether a line makes a heading of the one before it (setext)."""
    if len(body) < _LEAST_UNDERLINE or not lines or not _UNDERLINE.match(body):
        return False
    head, alone = lines[-1], len(lines) == 1 or lines[-2].kind is Kind.BLANK
    short = len(head.text) <= _MAX_HEADING and head.text[-1:] not in (".", ":", "：", "。")
    return head.kind is Kind.TEXT and not head.indent and alone and short


def _may_hold_blocks(text: str) -> bool:
    """Whether there is anything to find: reading takes a third of the time of all rules."""
    if any(map(text.__contains__, _BLOCK_MARKS)):
        return True
    return any(map(text.__contains__, _MAY_BE_MARKS)) and _BEGINS_BLOCK.search(text) is not None


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
    item = read_marker(text)
    if item and item.number is not None:
        return Line(start, end, text, Kind.NUMBERED, indent, 0, item.marker, item.number, item.body)
    if indent == 0:
        if first in "*_" and (found := _BOLD.match(text)) and not _HERE.match(found[2]):
            return Line(start, end, text, Kind.HEADING, 0, BOLD_RANK, body=found[2])
        if text[-1] in ":：" and (words := _label(text)):
            return Line(start, end, text, Kind.HEADING, 0, LABEL_RANK, body=words)
    if item:
        return Line(start, end, text, Kind.BULLET, indent, 0, item.marker, body=item.body)
    return Line(start, end, text, Kind.TEXT, indent)


def _label(text: str) -> str | None:
    """The words of a line that is a label and its colon; a sentence that leads into something is
    none."""
    if len(text.split()) > MAX_LABEL_WORDS or _LEADS_IN.match(text):
        return None
    found = _LABEL.match(text)
    return found[1] if found and not _SENTENCE.search(found[1]) else None


def _words(text: str, hashes: re.Match[str]) -> str:
    """The words of a heading, without the hashes that may close it."""
    words = text[hashes.end() :]
    opened = words.rstrip("#")
    return opened.rstrip() if opened[-1:].isspace() else words
