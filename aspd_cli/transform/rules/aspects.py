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
from aspd_cli.transform.rules.procedures import ANNOUNCED, NAMED

_FORMS = ("bullets", "labels")
_LEAST_CHARACTERS = 80
"""Mean length of the points: short ones are mostly values that must fit each other."""
_COMES_OF = re.compile(
    r".{0,40}\b(?:deliverables?|outcomes?|outputs?|results?|milestones?|calculations?|formulas?)\b",
    re.IGNORECASE,
)
"""What comes of the other points of a step."""
_TIMED = re.compile(r"\d ?(?:s|secs?|seconds|mins?|minutes)\b", re.IGNORECASE)
"""A step of a performance, in which all goes by the clock."""


def least_aspects(titles: Sequence[str], refusals: Sequence[str]) -> int:
    """How many points of steps with these titles stand alone at least; 0 for none.

    Two points of a step that is not named as one may as well be two halves of it.
    """
    if any(map(_TIMED.search, titles)):
        return 0
    return 2 if NAMED in refusals else 3 if ANNOUNCED in refusals else 0


def are_aspects(lines: Sequence[Line], group: ItemGroup, least: int) -> bool:
    """Whether all items, and so many, are labelled by a thing, not by something to be done."""
    if group.form not in _FORMS or len(group.items) < least:
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
