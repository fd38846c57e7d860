"""Lists in an answer: runs of items of one kind, the candidates for blocks.

`find_groups` finds sections, numbered and bulleted items, labelled paragraphs and ordinals. A group
is outermost in its range: what is nested inside an item stays in it, and is looked at only when the
group itself is refused. Where items end is told by `items`.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from aspd_cli.transform.rules.items import (
    Item,
    ItemGroup,
    ListForm,
    last_end,
    shorten,
    without_ends,
)
from aspd_cli.transform.rules.markdown import Kind, Line

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
        following = heads[at + 1] if at + 1 < len(heads) else hi
        above = (i for i in range(head + 1, following) if 0 < lines[i].rank < rank)
        spans.append(Item(head, next(above, following)))
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
        outside = line.indent < lines[at].indent and lines[i - 1].kind is Kind.BLANK
        if (line.kind is Kind.HEADING and line.rank < 7) or (line.kind is Kind.TEXT and outside):
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
        n = place(i)
        if n in (len(heads) + 1, 99):
            heads.append(i)
        if n in (1, 99):  # another row begins, or this one ends
            break
    return _chain("ordinals", lines, heads, hi)


def _chain(form: ListForm, lines: list[Line], heads: list[int], hi: int) -> ItemGroup | None:
    if len(heads) < 2:
        return None
    spans = [Item(a, b) for a, b in pairwise(heads)]
    return ItemGroup(form, (*spans, Item(heads[-1], last_end(lines, spans, heads[-1], hi))))
