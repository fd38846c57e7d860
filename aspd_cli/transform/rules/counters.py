"""Counters: numbers inside of items that run on from one item to the next.

A branch cannot know how far its elder siblings have counted: where the chapters of one part are 1
to 3 and those of the next 4 to 6, the parts are no branches.
"""

import re
from collections.abc import Iterator

from aspd_cli.transform.rules.items import ItemGroup
from aspd_cli.transform.rules.markdown import Kind, Line
from aspd_cli.transform.rules.shared_things import Branches, Reference

_COUNTED = re.compile(
    r"\n[^\w\n]{0,8}([A-Z][a-z]{2,10})[ ]{1,2}#?(\d{1,3})(?=[*_]{0,2}(?::|\s[-–—]\s))"
    r"|\n[^\w\n]{0,8}(第)(\d{1,3})[章课周天节集讲回单]"
)
"""A thing with its number: `Chapter 4:`."""
_NUMBERED = re.compile(r"[^\W\d]+ \d{1,3}\W*$")
"""The title of an item that has a number itself: all branches see how these run on."""


def counting_on(lines: list[Line], group: ItemGroup, branches: Branches) -> Iterator[Reference]:
    """The items in which numbers go on from the items before."""
    counted: set[tuple[str, int]] = set()
    for at, (item, (title, content)) in enumerate(zip(group.items, branches, strict=True)):
        body = (lines[i] for i in range(item.first + 1, item.last))
        first = next((line.number for line in body if line.kind is Kind.NUMBERED), 1)
        if at and first > 1:
            yield Reference(at, f"counts on from {first}")
            continue
        flat = "\n" not in content.rstrip()
        own = [] if flat or _NUMBERED.search(title) else _counted(content)
        for thing, number in own:
            before = (thing, number - 1)
            if number > 1 and before in counted and before not in own:
                yield Reference(at, f"counts on from {thing} {number}")
                break
        counted.update(own)


def _counted(text: str) -> list[tuple[str, int]]:
    return [(thing or zh, int(n or m)) for thing, n, zh, m in _COUNTED.findall(text)]
