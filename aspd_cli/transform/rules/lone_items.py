"""Lone items: those that no block can hold for what they are, whatever they refer to.

Items without a title, headings with nothing below them, what leads into the next item, code that
the text around it goes on with.
"""

from collections.abc import Iterator, Sequence

from aspd_cli.transform.rules import english, languages
from aspd_cli.transform.rules.items import ItemGroup, is_label
from aspd_cli.transform.rules.markdown import Kind, Line
from aspd_cli.transform.rules.procedures import announcement_of, first_step
from aspd_cli.transform.rules.shared_things import Reference
from aspd_cli.transform.rules.words import weight

_MARKS = 12
"""Characters before the title of an item without a label."""
_LABELS = (":", "：", "*", "-", "–", "—", "|", "\n", "`", '"', "”", "(")
"""What follows a title that is a label, or a name that is explained."""
_LEAST_SAID = 0.4
"""Least of an item behind the title that is its own first words, against the title."""


def lone_items(
    lines: list[Line],
    group: ItemGroup,
    titles: Sequence[str],
    contents: Sequence[str],
    announced: str,
) -> Iterator[Reference]:
    """The items that can be in no block.

    Args:
        titles: those of the items; empty for an item that has none.
        announced: what stands before the items, or heads them.
    """
    yield from _beginning(group, contents, announced)
    yield from _untitled(titles)
    yield from _bare(lines, group)
    yield from _told(titles, contents)
    yield from _leading(lines, group)
    yield from _holding(lines, group, titles, announced)


def _beginning(group: ItemGroup, contents: Sequence[str], announced: str) -> Iterator[Reference]:
    """The item that says that it comes first, in a list of which the others stand alone."""
    ideas = english.IDEAS.search(announcement_of(announced, group.form))
    if not ideas and first_step(group.form, contents):
        yield Reference(0, "is a first step", alone=True)


def _untitled(titles: Sequence[str]) -> Iterator[Reference]:
    """The items for which no title can be had that is whole and says something."""
    for at, title in enumerate(titles):
        if not title:
            yield Reference(at, "has no title of its own", alone=True)


def _bare(lines: list[Line], group: ItemGroup) -> Iterator[Reference]:
    """The items that are a heading or a label alone: what follows them stands below it."""
    for at, item in enumerate(group.items):
        heads = group.form == "sections" or is_label(lines[item.first])
        empty = (lines[i].kind in (Kind.BLANK, Kind.RULE) for i in range(item.first + 1, item.last))
        if heads and all(empty):
            yield Reference(at, "has only a heading", alone=True)


def _told(titles: Sequence[str], contents: Sequence[str]) -> Iterator[Reference]:
    """The items of which nearly all is told by a title that is their own first words."""
    for at, (title, content) in enumerate(zip(titles, contents, strict=True)):
        if len(content) > _MARKS + 3 * len(title):
            continue
        start = content.find(title, 0, _MARKS + len(title)) if title else -1
        if start < 0:
            continue
        behind = content[start + len(title) :].rstrip()
        labels = behind.lstrip(" ").startswith(_LABELS)
        if not labels and weight(behind) < _LEAST_SAID * weight(title):
            yield Reference(at, "has only a title", alone=True)


def _leading(lines: list[Line], group: ItemGroup) -> Iterator[Reference]:
    """The items that end with a line which leads into the next ones."""
    for at, item in enumerate(group.items[:-1]):
        ends = (i for i in range(item.last - 1, item.first, -1) if lines[i].text)
        last = next(ends, item.first)
        leads = lines[last].text.rstrip("*_ ")[-1:] in (":", "：")
        said = lines[last].kind is Kind.TEXT and lines[last - 1].kind is Kind.BLANK
        if (
            leads
            and said
            and next(ends, item.first) >= item.first
            and not is_label(lines[item.first])
        ):
            yield Reference(at, "leads into the next", alone=True)


def _holding(
    lines: list[Line], group: ItemGroup, titles: Sequence[str], announced: str
) -> Iterator[Reference]:
    """The items that hold code or a table, which the text around them goes on with."""
    if group.form == "rows":
        return
    whole: bool | None = None
    for at, item in enumerate(group.items):
        kinds = {lines[i].kind for i in range(item.first, item.last)}
        if Kind.CODE in kinds:
            whole = _are_ways(titles, announced, group) if whole is None else whole
            if not whole:
                yield Reference(at, "holds code", alone=True)
        elif Kind.TABLE in kinds:
            yield Reference(at, "holds a table", alone=True)


def _are_ways(titles: Sequence[str], announced: str, group: ItemGroup) -> bool:
    """Whether the items are ways to do one thing, each with code of its own."""
    if 2 * sum(english.WAY.match(title) is not None for title in titles) > len(titles):
        return True
    said = announcement_of(announced, group.form)
    if english.WAYS.search(said):
        return True
    return not said.isascii() and languages.WAYS.search(said) is not None
