"""Items of a list or section, and where they end.

What closes a list, or speaks about all of it, is serial text and not part of an item: sections
without what only the last one has (`shorten`), items (`last_end`), and groups without an
introduction and a conclusion (`without_ends`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from aspd_cli.transform.rules import languages
from aspd_cli.transform.rules.markdown import Kind, Line

ListForm = Literal["sections", "numbered", "bullets", "rows", "questions", "labels", "ordinals"]


@dataclass(frozen=True, slots=True)
class Item:
    """One item as a range of lines, [first, last)."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class ItemGroup:
    """At least two items of one form that follow each other without a gap."""

    form: ListForm
    items: tuple[Item, ...]


_CLOSING = re.compile(
    r"\W*(in (conclusion|summary|short|essence|general|closing|the end)|conclusion|summary|overall"
    r"|to (conclude|sum up|summarize)|ultimately|by (following|incorporating|understanding|doing"
    r"|implementing|taking|using|adopting|combining|practicing|considering|addressing|making|being)"
    r"|remember|with these|these|this|all (of )?these|i hope|enjoy|please|note\b|final(ly)? "
    r"(thoughts|remarks|note|tips?|words)|closing|wrap|key takeaways?|takeaways?|references|sources"
    r"|together|as you can see|it'?s (important|also|worth)|it is (important|also|worth)|thank|best"
    r"|sincerely|let me know|if you|while|however|so,|thus|therefore|feel free|good luck|don'?t"
    r"|disclaimer|result|answer)\b",
    re.IGNORECASE,
)
"""How text begins that closes a list instead of going on with its last item."""

_CLOSING_HEAD = re.compile(
    r"\W*(in (conclusion|summary)|conclusions?|concluding|summary|overall|final (thoughts|remarks|"
    r"notes?|words)|closing|wrap|key takeaways?|takeaways?|references|sources|bonus|remember|note|"
    r"notes|enjoy|disclaimer|additional (tips?|notes?|resources)|the end|outro|epilogue|sincerely"
    r"|(best |kind |warm )?regards|yours|signature|p\.?s\.?)\b",
    re.IGNORECASE,
)
_OPENING_HEAD = re.compile(
    r"\W*(introduction|intro|overview|abstract|title|(executive |job |product )?summary|opening"
    r"|preface|prologue|subject|dear|to \[)(?! to\b)(?:\b|\W)",
    re.IGNORECASE,
)


_NAME = re.compile(r"\W*(?:\w+ )?(?:name|title|tag ?line|slogan|theme)s?\b\W*", re.IGNORECASE)
"""The label of a first item that gives a name to what all others describe."""


def closes(text: str) -> bool:
    """Whether text closes a list instead of going on with its last item."""
    return bool(_CLOSING.match(text) or (not text.isascii() and languages.CLOSING.match(text)))


def shorten(lines: list[Line], spans: list[Item]) -> Item:
    """The last section without closing paragraphs, which no other section has.

    What would leave its heading alone is no closing paragraph, but all that the section says.
    """
    item = spans[-1]
    cut = _shortened(lines, spans)
    holds = any(lines[i].kind is not Kind.BLANK for i in range(cut.first + 1, cut.last))
    first = next((i for i in range(item.first + 1, item.last) if lines[i].text), None)
    if holds or first is None or closes(lines[first].text):
        return cut
    closing = (i for i in _paragraphs(lines, item) if i > first and closes(lines[i].text))
    return Item(item.first, next(closing, item.last))


def _shortened(lines: list[Line], spans: list[Item]) -> Item:
    item = spans[-1]
    for i in range(item.first + 2, item.last):
        after_list = lines[i - 1].kind in (Kind.BULLET, Kind.NUMBERED)
        if after_list and lines[i].kind is Kind.TEXT and not lines[i].indent:
            item = Item(item.first, i)
            break
    usual = max(len(_paragraphs(lines, span)) for span in spans[:-1])
    paragraphs = _paragraphs(lines, item)
    for at, first in enumerate(paragraphs):
        # A section begins with a paragraph, unless none of the others has any.
        if (at or not usual) and (at >= usual or closes(lines[first].text)):
            return Item(item.first, first)
    body = range(item.first + 1, item.last)
    if rule := next((i for i in body if lines[i].kind is Kind.RULE), None):
        return Item(item.first, rule)
    # Where no other section goes on after a list, what comes after this one's is serial text.
    paragraph = _paragraph_after_list(lines, item)
    others = any(_paragraph_after_list(lines, span) for span in spans[:-1])
    if paragraph and (not others or closes(lines[paragraph].text)):
        return Item(item.first, paragraph)
    return item


def _paragraph_after_list(lines: list[Line], item: Item) -> int | None:
    """Where the last paragraph of an item begins, if its lists are all before that."""
    paragraphs = _paragraphs(lines, item)
    kinds = [lines[i].kind for i in range(item.first + 1, item.last)]
    lists = [i for i, kind in enumerate(kinds) if kind in (Kind.BULLET, Kind.NUMBERED)]
    if not lists or not paragraphs or paragraphs[-1] < item.first + 1 + lists[-1]:
        return None
    return paragraphs[-1]


def _paragraphs(lines: list[Line], item: Item) -> list[int]:
    """First lines of the paragraphs at the margin of an item, its own first line left out."""
    return [
        i
        for i in range(item.first + 1, item.last)
        if lines[i].kind is Kind.TEXT
        and lines[i].indent <= lines[item.first].indent
        and lines[i - 1].kind is not Kind.TEXT
        and (lines[i - 1].kind is Kind.BLANK or lines[i - 1].kind is Kind.HEADING)
    ]


def last_end(lines: list[Line], earlier: list[Item], head: int, hi: int) -> int:
    """Where the last item ends: it has no more paragraphs and lists than the earlier ones."""
    indent = lines[head].indent
    paragraphs = min(len(_paragraphs(lines, item)) for item in earlier)
    heads = paragraphs > 0 and lines[head].text[-1:] not in ".!?。！？"
    below = heads or _stands_below(lines, head, hi)
    paragraphs = max(paragraphs, below)
    own = re.compile(rf"{lines[head].number}\.\d")
    kinds = {lines[i].kind for item in earlier for i in range(item.first + 1, item.last)}
    goes_on = all(_goes_on(lines, item) for item in earlier)
    end = head + 1
    for i in range(head + 1, hi):
        line, after_blank = lines[i], lines[i - 1].kind is Kind.BLANK
        if line.kind is Kind.BLANK:
            continue
        if line.indent <= indent:
            if line.kind is Kind.TEXT:
                alone = below and end == head + 1
                paragraphs -= after_blank and not own.match(line.text)
                closing = (after_blank or not goes_on) and not alone and closes(line.text)
                if paragraphs < 0 or closing:
                    break
            elif line.kind not in kinds or line.kind is Kind.RULE:
                break
        end = i + 1
    while end < hi and lines[end].kind is Kind.BLANK:
        end += 1
    return end


def is_label(head: Line) -> bool:
    """Whether the first line of an item is a label alone."""
    bold = head.body[:2] == head.body[-2:] == "**"
    return head.body.rstrip("*_ ")[-1:] in (":", "：") or (bold and head.body.count("**") == 2)


def _stands_below(lines: list[Line], head: int, hi: int) -> bool:
    """Whether what an item says is a paragraph below its first line, which is a label alone."""
    if not is_label(lines[head]):
        return False
    after = next((line for line in lines[head + 1 : hi] if line.kind is not Kind.BLANK), None)
    return after is not None and after.kind is Kind.TEXT and after.indent <= lines[head].indent


def _goes_on(lines: list[Line], item: Item) -> bool:
    """Whether an item has text at the margin right after its first line."""
    after = item.first + 1
    return after < item.last and lines[after].kind is Kind.TEXT and not lines[after].indent


def without_ends(lines: list[Line], group: ItemGroup) -> Iterator[ItemGroup]:
    """The group without an introduction and a conclusion, which speak about the other items."""

    def heads(item: Item, english: re.Pattern[str], others: re.Pattern[str]) -> bool:
        text = lines[item.first].body or lines[item.first].text
        return bool(english.match(text) or (not text.isascii() and others.match(text)))

    items = list(group.items)
    while items and heads(items[-1], _CLOSING_HEAD, languages.CLOSING_HEAD):
        items.pop()
    while (
        items
        and group.form == "sections"
        and heads(items[0], _OPENING_HEAD, languages.OPENING_HEAD)
    ):
        items.pop(0)
    if items and len(items) > 2:
        head = lines[items[0].first]
        if _NAME.fullmatch((head.body or head.text).partition(":")[0]):
            items.pop(0)
    if len(items) > 1:
        yield replace(group, items=tuple(items))
