"""A run of items as branches, and where it has to be parted.

Most reasons against a fork concern a whole run, some a single item: an item that needs an earlier
one may begin the next block, and one that needs all of them is no branch.
"""

from collections.abc import Iterator, Sequence

from aspd_cli.core.forms import shared_label
from aspd_cli.transform.rules.counters import counting_on
from aspd_cli.transform.rules.cross_references import cross_references
from aspd_cli.transform.rules.exercises import parts_of_exercise
from aspd_cli.transform.rules.fallbacks import FALLBACK
from aspd_cli.transform.rules.items import ItemGroup
from aspd_cli.transform.rules.lists import question_of
from aspd_cli.transform.rules.lone_items import lone_items
from aspd_cli.transform.rules.markdown import Kind, Line
from aspd_cli.transform.rules.procedures import procedure
from aspd_cli.transform.rules.shared_things import Reference
from aspd_cli.transform.rules.titles import (
    first_words,
    long_title_of,
    only_count,
    title_of,
    told_apart,
)
from aspd_cli.transform.rules.wholes import shared_budget, speak_together, sums_up
from aspd_cli.transform.rules.words import weight

MIN_MEAN_TOKENS = 10
"""Mean length of a block's contents below which a fork does not pay for its titles."""
MIN_ROW_TOKENS = 24
"""The same of the rows of a table."""
MIN_RATIO = 2.4
"""Least tokens of content to one of its titles."""
LONG = 36
"""Tokens of an item that pays for a whole sentence as its title."""
MAX_DEPENDENT = 1 / 3
"""Largest share of items that need others in a run that is parted; with more it is one train of
thought."""

AN_ITEM = "an item"
"""How a reason begins that concerns a single item, not the whole run."""

_ASIDE = ("has only", FALLBACK)
"""How reasons begin that say nothing of the others in the run."""

Branches = Sequence[tuple[str, str]]


def branches_of(text: str, lines: list[Line], group: ItemGroup) -> list[tuple[str, str]]:
    """Title and content of every item; the title is empty where none can be had.

    Where the items share a form, titles are as their block will have them: what is checked is what
    is announced.
    """
    heads = [lines[item.first] for item in group.items]
    words = [_words(line, group.form) for line in heads]
    titles = told_apart(
        words,
        [
            title_of(w, heading=h.kind is Kind.HEADING) or ""
            for w, h in zip(words, heads, strict=True)
        ],
    )
    ends = [lines[item.last - 1].end for item in group.items]
    contents = [text[line.start : end] for line, end in zip(heads, ends, strict=True)]
    titles = [
        title or (long_title_of(said) if weight(content) >= LONG else "")
        for title, said, content in zip(titles, words, contents, strict=True)
    ]
    if found := shared_label(_called(titles, contents), contents):
        titles = [label if title else "" for title, label in zip(titles, found[1], strict=True)]
    return list(zip(titles, contents, strict=True))


def _called(titles: Sequence[str], contents: Sequence[str]) -> list[str]:
    """What the items are called, those without a title by their first words."""
    return [title or first_words(content) for title, content in zip(titles, contents, strict=True)]


def _words(line: Line, form: str) -> str:
    """What an item's first line says behind its marker."""
    if form == "rows":
        cells = [cell.strip() for cell in line.text.strip("| ").split("|")]
        return next((cell for cell in cells if any(map(str.isalpha, cell))), cells[0])
    if form == "questions":
        return question_of(line.text) or line.text
    return line.body or line.text


def parted(
    lines: list[Line],
    group: ItemGroup,
    branches: Branches,
    announced: str,
    before: str,
    given: str,
) -> tuple[list[tuple[int, int]], list[str]]:
    """The ranges of branches that can be blocks, and why other branches cannot.

    Args:
        announced: what stands before the items, or heads them.
        before: what stands before them in the same text.
        given: what is seen before that text.
    """
    titles, contents = zip(*branches, strict=True)
    branches = list(zip(_called(titles, contents), contents, strict=True))
    if reason := _refusal(lines, group, branches, announced, given):
        return [], [reason]
    seen = f"{given}\n{before}"
    found = {
        each.branch: each
        for each in (
            *cross_references(branches, seen),
            *sums_up(branches, group.form, seen),
            *counting_on(lines, group, branches),
            *lone_items(lines, group, titles, contents, announced),
        )
    }
    dependent = [each for at, each in sorted(found.items())]
    reasons = [f"{AN_ITEM} {each.reason}" for each in dependent]
    counted = sum(not each.reason.startswith(_ASIDE) for each in dependent)
    if counted > len(branches) * MAX_DEPENDENT:
        return [], reasons[:1]
    return list(_ranges(found, len(branches))), reasons


def _ranges(found: dict[int, Reference], count: int) -> Iterator[tuple[int, int]]:
    """The longest ranges of branches in which none needs another one of the range."""
    start = 0
    for at in range(count):
        reference = found.get(at)
        if reference is None:
            continue
        source = at - 1 if reference.source is None else reference.source
        if not reference.alone and source < start:
            continue
        if at - start > 1:
            yield start, at
        start = at + reference.alone
    if count - start > 1:
        yield start, count


def _refusal(
    lines: list[Line], group: ItemGroup, branches: Branches, announced: str, given: str
) -> str | None:
    """Why none of the branches can be in a block; None when some may be."""
    titles, contents = zip(*branches, strict=True)
    if len(set(map(str.lower, titles))) < len(titles):
        return "items with the same title"
    if only_count(titles):
        return "items told apart by their numbers alone"
    sizes, paid = list(map(weight, contents)), list(map(weight, titles))
    least = MIN_ROW_TOKENS if group.form == "rows" else MIN_MEAN_TOKENS
    bare = sum(size < 2 * title for size, title in zip(sizes, paid, strict=True))
    if sum(sizes) < max(MIN_RATIO * sum(paid), least * len(sizes)) or bare > len(titles) / 2:
        return "items too short for a fork"
    return (
        speak_together(titles)
        or parts_of_exercise(lines, group, f"{given}\n{announced}")
        or procedure(group.form, titles, contents, announced, given)
        or shared_budget(contents, f"{given}\n{announced}")
    )
