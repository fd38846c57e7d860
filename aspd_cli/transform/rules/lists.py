"""Lists in an answer: runs of items of one kind, the candidates for blocks.

`find_groups` finds sections, numbered and bulleted items, rows of tables, questions with answers,
labelled paragraphs and ordinals. A group is outermost in its range: what is nested inside an item
stays in it. Where items end is told by `items`.
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
from aspd_cli.transform.rules.markdown import LABEL_RANK, Kind, Line
from aspd_cli.transform.rules.markers import PICTURE
from aspd_cli.transform.rules.words import DOTTED

LABEL = re.compile(
    r"(?:\*\*(?P<bold>[^*\n]{2,80}?)\s*(?::\s*\*\*|\*\*\s*(?::|[-–—](?=\s)))\s+"
    rf"|(?P<plain>[A-ZÀ-ÖØ-Þ](?:[^.:!?*|\n]|{DOTTED}){{1,50}}?):\s+"
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


_LABELLED_WITHIN = 100
"""Characters in which the colon of a label stands."""


def match_label(text: str) -> re.Match[str] | None:
    """The label that a line begins with; looking for its colon first is quicker."""
    near = text[:_LABELLED_WITHIN]
    return LABEL.match(text) if ":" in near or "：" in near or text[:2] == "**" else None


_QUESTION = re.compile(
    r"(?:\*\*)?(?:Q|Question|Frage|Pregunta|问题?)\s*\d{0,2}\s*[:：.)]\s*(?:\*\*)?\s*(?P<words>\S.*)$",
    re.I,
)
_ANSWER = re.compile(
    r"(?:\*\*)?(?:A|Answer|Antwort|R|Réponse|Respuesta|答案?)\s*\d{0,2}\s*[:：.)]", re.I
)
_DIVIDER = re.compile(r"[-:| ]*-{2,}[-:| ]*$")
_MAX_HEAD = 40
"""Characters of a line that heads what follows it without being marked as a heading."""
_TWICE = 2
"""So many items with one number are no list where the next one counts on."""
_LEAST_PICTURES = 3
"""Fewer lines that begin with emoji are no list."""


def find_groups(lines: list[Line], lo: int, hi: int) -> Iterator[ItemGroup]:
    """The outermost groups of lines [lo, hi), in order."""
    heads = [i for i in range(lo, hi) if lines[i].kind is Kind.HEADING]
    twice = [rank for rank, count in Counter(lines[i].rank for i in heads).items() if count > 1]
    if not twice:
        yield from find_lists(lines, lo, hi)
        return
    rank = min(twice)
    heads = [i for i in heads if lines[i].rank == rank]
    if rank == LABEL_RANK and any(map(_labelled, (lines[i - 1] for i in heads if i > lo))):
        # A line in the middle of something else is no heading.
        yield from find_lists(lines, lo, hi)
        return
    if heads[0] > lo:
        yield from find_groups(lines, lo, heads[0])
    yield from _sections(lines, heads, hi)


def _labelled(before: Line) -> bool:
    return before.kind is Kind.TEXT and before.text[-1:] in (",", "，", "=", "(")


def find_lists(lines: list[Line], lo: int, hi: int) -> Iterator[ItemGroup]:
    """The outermost groups that are no sections."""
    at = lo
    while at < hi:
        chain: ItemGroup | None = None
        for find in _FINDERS.get(lines[at].kind, ()):
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
            # Markdown counts by itself: `1.` may stand before every item.
            step = line.number - last.number
            again = len(heads) == 1 or lines[heads[1]].number == lines[at].number
            if step != 1 - again and not (step == 1 and len(heads) == 1):
                if step == 1 and len(heads) == _TWICE:  # the second is the first of another list
                    return None
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
        elif (
            line.kind is not Kind.TEXT
            or lines[i - 1].kind is Kind.BLANK
            or (line.indent < lines[at].indent + 2 and _heads_next(lines, i, hi))
        ):
            break
    least = _LEAST_PICTURES if lines[at].marker == PICTURE else 2
    return _chain("bullets", lines, heads, hi) if len(heads) >= least else None


def _heads_next(lines: list[Line], at: int, hi: int) -> bool:
    """Whether a line between two bullets is what the second one stands below."""
    follows = at + 1 < hi and lines[at + 1].kind is Kind.BULLET
    return follows and len(lines[at].text) <= _MAX_HEAD and lines[at].text[-1] not in ".!?。！？;,"


def _rows(lines: list[Line], at: int, hi: int) -> ItemGroup | None:
    """The rows of a table, without its head."""
    if not _DIVIDER.match(lines[at].text) or not at or lines[at - 1].kind is not Kind.TABLE:
        return None
    rows = []
    for i in range(at + 1, hi):
        if lines[i].kind is not Kind.TABLE:
            break
        rows.append(Item(i, i + 1))
    return ItemGroup("rows", tuple(rows)) if len(rows) > 1 else None


def _questions(lines: list[Line], at: int, hi: int) -> ItemGroup | None:
    """Questions, each with its answer."""
    if not _QUESTION.match(lines[at].text):
        return None
    heads, answered = [at], False
    for i in range(at + 1, hi):
        if lines[i].kind is Kind.HEADING and lines[i].rank < lines[at].rank:
            break
        if _QUESTION.match(lines[i].text):
            if not answered:
                return None
            heads.append(i)
            answered = False
        answered = answered or _ANSWER.match(lines[i].text) is not None
    return _chain("questions", lines, heads, hi) if answered else None


def _labels(lines: list[Line], at: int, hi: int) -> ItemGroup | None:
    def starts(i: int) -> bool:
        return lines[i].kind is Kind.TEXT and match_label(lines[i].text) is not None

    if not starts(at):
        return None
    heads = [at]
    for i in range(at + 1, hi):
        line = lines[i]
        apart = lines[i - 1].kind is Kind.BLANK
        if starts(i) and line.indent == lines[at].indent:
            if len(heads) > 1 and apart != (lines[heads[-1] - 1].kind is Kind.BLANK):
                break
            heads.append(i)
            continue
        paragraph = line.kind is Kind.TEXT and apart and not line.indent
        if paragraph or line.kind in (Kind.HEADING, Kind.NUMBERED, Kind.RULE):
            break
    bold = lines[at].text.startswith("**")
    # Two colons may be anything: a question and its answer, a sentence and its translation.
    return _chain("labels", lines, heads, hi) if bold or len(heads) > 2 else None


def _ordinals(lines: list[Line], at: int, hi: int) -> ItemGroup | None:
    def place(i: int) -> int:
        """Which ordinal a paragraph begins with; 0 for none, 99 for the last."""
        begins = lines[i].kind is Kind.TEXT and not lines[i].indent
        found = ORDINAL.match(lines[i].text) if begins else None
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
        if n == 99 and len(heads) == 1:
            break
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


def question_of(text: str) -> str | None:
    """The words of a question that a line begins with `Q:`; None for others."""
    found = _QUESTION.match(text)
    return found["words"].rstrip("* ") if found else None


_FINDERS = {
    Kind.NUMBERED: (_numbered,),
    Kind.BULLET: (_bullets,),
    Kind.TABLE: (_rows,),
    Kind.TEXT: (_questions, _labels, _ordinals),
}
