"""Aspects: labelled points inside of a step, which tell of it and are no steps themselves.

Under "Phase 2: Pilot" there may stand a budget, a team and risks: that the phases follow each
other does not make these follow each other.
"""

import re
from collections.abc import Sequence

from aspd_cli.transform.rules import english
from aspd_cli.transform.rules.items import ItemGroup, is_label
from aspd_cli.transform.rules.lists import match_label
from aspd_cli.transform.rules.markdown import Line

_FORMS = ("bullets", "labels")
_LEAST = 3
"""Two points may as well be two halves of the step."""
_LEAST_CHARACTERS = 80
"""Mean length of the points: short ones are mostly values that must fit each other."""
_COMES_OF = re.compile(
    r".{0,40}\b(?:deliverables?|outcomes?|outputs?|results?|milestones?|calculations?|formulas?)\b",
    re.IGNORECASE,
)
"""What comes of the other points of a step."""
_TIMED = re.compile(r"\d ?(?:s|secs?|seconds|mins?|minutes)\b", re.IGNORECASE)
"""A step of a performance, in which all goes by the clock."""


def may_hold_aspects(titles: Sequence[str]) -> bool:
    """Whether steps with these titles may have points that stand alone."""
    return not any(map(_TIMED.search, titles))


def are_aspects(lines: Sequence[Line], group: ItemGroup) -> bool:
    """Whether all items are labelled by a thing, not by something to be done."""
    if group.form not in _FORMS or len(group.items) < _LEAST:
        return False
    length = lines[group.items[-1].last - 1].end - lines[group.items[0].first].start
    if length < _LEAST_CHARACTERS * len(group.items):
        return False
    heads = [lines[item.first] for item in group.items]
    parted = [_label(head.body or head.text, is_label(head)) for head in heads]
    moved = sum(_is_done(said) for _, said in parted)
    return all(_names(label) for label, _ in parted) and 2 * moved < len(parted)


def _label(text: str, alone: bool) -> tuple[str, str]:
    """The label of an item, and what stands behind it; empty where there is none."""
    found = match_label(text)
    if found is None:
        return (text if alone else ""), ""
    return next(part for part in reversed(found.groups()) if part), text[found.end() :]


def _names(label: str) -> bool:
    """Whether a label names a thing."""
    verb = _is_done(label) or english.PHASES.match(label)
    return bool(label) and not verb and _COMES_OF.match(label) is None


def _is_done(text: str) -> bool:
    """Whether a text begins with what somebody does."""
    word = english.FIRST_WORD.match(text)
    first = word[1].lower() if word else ""
    return first in english.HANDS or first in english.PROGRAMMING
