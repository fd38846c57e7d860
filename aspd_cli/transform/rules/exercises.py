"""Exercises: answers to the parts (a), (b), (c) of one question, which build on each other."""

import re

from aspd_cli.transform.rules.items import ItemGroup
from aspd_cli.transform.rules.markdown import Line
from aspd_cli.transform.rules.titles import label_of

_PART = re.compile(r"(?m:^)[ \t]*(?:\*\*)?[(（]?[b-hBi][)）.][ \t]+\S|\([b-h]\) ")
"""A later part in the text of the question."""
_LETTERED = ("a", "i")
"""What stands in the marker of an item with a letter."""


def parts_of_exercise(lines: list[Line], group: ItemGroup, seen: str) -> str | None:
    """Why the items answer the parts of an exercise that was set; None when they do not.

    Parts that name themselves, such as terms to be explained, stand alone.

    Args:
        seen: what all items see.
    """
    marker = lines[group.items[0].first].marker.lower()
    if group.form != "numbered" or not any(map(marker.__contains__, _LETTERED)):
        return None
    heads = (lines[item.first] for item in group.items)
    if not _PART.search(seen) or any(label_of(head.body) for head in heads):
        return None
    return "parts of one exercise"
