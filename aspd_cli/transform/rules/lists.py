"""Lists in an answer: runs of items of one kind, the candidates for blocks, and where items end.

`find_groups` finds sections, numbered and bulleted items, labelled paragraphs and ordinals. A group
is outermost in its range: what is nested inside an item stays in it, and is looked at only when the
group itself is refused. What closes a list or speaks about all of it is serial text, not an item's.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from aspd_cli.transform.rules import languages
from aspd_cli.transform.rules.markdown import Kind, Line

ListForm = Literal["sections", "numbered", "bullets", "labels", "ordinals"]

LABEL = re.compile(
    r"(?:\*\*(?P<bold>[^*\n]{2,80}?)\s*(?::\s*\*\*|\*\*\s*(?::|[-–—](?=\s)))\s+"
    r"|(?P<plain>[A-ZÀ-ÖØ-Þ][^.:!?*|\n]{1,50}?):\s+"
    r"|\*\*(?P<wide>[^*\n]{1,40}?)\s*(?:：\s*\*\*|\*\*\s*：)\s*"
    r"|(?P<chinese>[\u4e00-\u9fff][^。，：:！？*|\n]{0,15})：\s*)(?=\S)"
)
"""A label and its colon, before text on the same line."""

ORDINAL = re.compile(
    r"(?:(?P<n1>first(ly)?)|(?P<n2>second(ly)?)|(?P<n3>third(ly)?)|(?P<n4>fourth(ly)?)"
    r"|(?P<n5>fifth(ly)?)|(?P<n6>sixth(ly)?)|(?P<last>finally|lastly)"
    r"|(?P<m1>erstens|premièrement|tout d'abord|en premier lieu|primero|en primer lugar)"
    r"|(?P<m2>zweitens|deuxièmement|en deuxième lieu|segundo|en segundo lugar)"
    r"|(?P<m3>drittens|troisièmement|tercero|en tercer lugar)|(?P<m4>viertens|cuarto)"
    r"|(?P<mlast>schließlich|enfin|por último|finalmente))(?: and foremost| of all)?,\s"
    r"|(?:(?P<z1>首先)|(?P<z2>其次)|(?P<z3>再次|再者)|(?P<zlast>最后))[，,：:、]\s*",
    re.IGNORECASE,
)


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
    r"notes|enjoy|disclaimer|additional (tips?|notes?|resources)|the end|outro|epilogue)\b",
    re.IGNORECASE,
)
_OPENING_HEAD = re.compile(
    r"\W*(introduction|intro|overview|abstract|background|title|(executive |job |product )?summary|"
    r"(job |product )?description|opening|definitions?|what (is|are)|preface|prologue|objectives?|"
    r"purpose|about|context|subject)\b",
    re.IGNORECASE,
)


def closes(text: str) -> bool:
    """Whether text closes a list instead of going on with its last item."""
    return bool(_CLOSING.match(text) or (not text.isascii() and languages.CLOSING.match(text)))


def shorten(lines: list[Line], spans: list[Item]) -> Item:
    """The last section without closing paragraphs, which no other section has."""
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


def section_end(lines: list[Line], item: Item, hi: int) -> int:
    """Where a section ends with all that stands in it, what closes the answer included."""
    rank = lines[item.first].rank
    heads = (i for i in range(item.last, hi) if 0 < lines[i].rank <= rank)
    return next(heads, hi)


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
    kinds = {lines[i].kind for item in earlier for i in range(item.first + 1, item.last)}
    goes_on = all(_goes_on(lines, item) for item in earlier)
    end = head + 1
    for i in range(head + 1, hi):
        line, after_blank = lines[i], lines[i - 1].kind is Kind.BLANK
        if line.kind is Kind.BLANK:
            continue
        if line.indent <= indent:
            if line.kind is Kind.TEXT:
                paragraphs -= after_blank
                if paragraphs < 0 or ((after_blank or not goes_on) and closes(line.text)):
                    break
            elif line.kind not in kinds or line.kind is Kind.RULE:
                break
        end = i + 1
    while end < hi and lines[end].kind is Kind.BLANK:
        end += 1
    return end


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
    if len(items) > 1:
        yield replace(group, items=tuple(items))


def find_groups(lines: list[Line], lo: int, hi: int) -> Iterator[ItemGroup]:
    """The outermost groups of lines [lo, hi), in order."""
    heads = [i for i in range(lo, hi) if lines[i].kind is Kind.HEADING]
    ranks = [lines[i].rank for i in heads]
    twice = [rank for rank, count in Counter(ranks).items() if count > 1]
    if twice:
        heads = [i for i in heads if lines[i].rank == min(twice)]
        if heads[0] > lo:
            yield from find_groups(lines, lo, heads[0])
        yield from _sections(lines, heads, hi)
        return
    at = lo
    while at < hi:
        chain: ItemGroup | None = None
        for find in (_numbered, _bullets, _labels, _ordinals):
            chain = find(lines, at, hi)
            if chain is not None:
                break
        if chain is None:
            at += 1
        else:
            yield from without_ends(lines, chain)
            at = chain.items[-1].last


def _sections(lines: list[Line], heads: list[int], hi: int) -> Iterator[ItemGroup]:
    rank = lines[heads[0]].rank
    spans = []
    for at, head in enumerate(heads):
        above = (i for i in range(head + 1, hi) if 0 < lines[i].rank < rank)
        following = heads[at + 1] if at + 1 < len(heads) else hi
        spans.append(Item(head, min(following, next(above, hi))))
    spans[-1] = shorten(lines, spans)
    runs: list[list[Item]] = [[]]
    for span in spans:
        if runs[-1] and runs[-1][-1].last != span.first:
            runs.append([])
        runs[-1].append(span)
    for run in runs:
        if len(run) > 1:
            yield from without_ends(lines, ItemGroup("sections", tuple(run)))


def _numbered(lines: list[Line], at: int, hi: int) -> ItemGroup | None:
    if lines[at].kind is not Kind.NUMBERED:
        return None
    heads = [at]
    for i in range(at + 1, hi):
        line, last = lines[i], lines[heads[-1]]
        if line.kind is Kind.HEADING and line.rank < 7:
            break
        same = line.kind is Kind.NUMBERED and line.marker == last.marker
        if same and abs(line.indent - last.indent) <= 1:
            if line.number != last.number + 1:
                break
            heads.append(i)
    return _chain("numbered", lines, heads, hi)


def _bullets(lines: list[Line], at: int, hi: int) -> ItemGroup | None:
    if lines[at].kind is not Kind.BULLET:
        return None
    heads = [at]
    for i in range(at + 1, hi):
        line = lines[i]
        if line.kind is Kind.BLANK or line.indent > lines[at].indent:
            continue
        if line.kind is Kind.BULLET and (line.indent, line.marker) == (
            lines[at].indent,
            lines[at].marker,
        ):
            heads.append(i)
        elif line.kind is not Kind.TEXT or lines[i - 1].kind is Kind.BLANK:
            break
    return _chain("bullets", lines, heads, hi)


def _labels(lines: list[Line], at: int, hi: int) -> ItemGroup | None:
    def starts(i: int) -> bool:
        return lines[i].kind is Kind.TEXT and LABEL.match(lines[i].text) is not None

    if not starts(at):
        return None
    heads = [at]
    for i in range(at + 1, hi):
        line = lines[i]
        if starts(i) and line.indent == lines[at].indent:
            heads.append(i)
            continue
        paragraph = line.kind is Kind.TEXT and lines[i - 1].kind is Kind.BLANK and not line.indent
        if paragraph or line.kind in (Kind.HEADING, Kind.NUMBERED, Kind.RULE):
            break
    bold = lines[at].text.startswith("**")
    # Two colons may be anything: a question and its answer, a sentence and its translation.
    return _chain("labels", lines, heads, hi) if bold or len(heads) > 2 else None


def _ordinals(lines: list[Line], at: int, hi: int) -> ItemGroup | None:
    def place(i: int) -> int:
        """Which ordinal a paragraph begins with; 0 for none, 99 for the last."""
        begins = i == 0 or lines[i - 1].kind is Kind.BLANK
        found = ORDINAL.match(lines[i].text) if begins and lines[i].kind is Kind.TEXT else None
        if found is None:
            return 0
        name = next(name for name, value in found.groupdict().items() if value)
        return 99 if name.endswith("last") else int(name[1:])

    if place(at) != 1:
        return None
    heads = [at]
    for i in range(at + 1, hi):
        if lines[i].kind is Kind.HEADING:
            break
        if (n := place(i)) == len(heads) + 1 or n == 99:
            heads.append(i)
        if n == 99:
            break
    return _chain("ordinals", lines, heads, hi)


def _chain(form: ListForm, lines: list[Line], heads: list[int], hi: int) -> ItemGroup | None:
    if len(heads) < 2:
        return None
    spans = [Item(a, b) for a, b in pairwise(heads)]
    return ItemGroup(form, (*spans, Item(heads[-1], last_end(lines, spans, heads[-1], hi))))
