"""Processes: what happens or is done one after the other, told by announcements and phases."""

import re
from collections.abc import Sequence
from itertools import pairwise

from aspd_cli.transform.rules import english
from aspd_cli.transform.rules.items import ListForm

_MADE = re.compile(
    r"\bhow (?:is|are|was|were|does|do) (?:\w+ ){1,5}?(?:turned|made|produced|refined|formed"
    r"|processed|manufactured|converted|transformed|brewed|turn into|become)\b",
    re.IGNORECASE,
)
_ASKED = re.compile(
    r"\b(?:explain|describe|outline|discuss|summari[sz]e) (?:the |how the )?(?:\w+ ){0,3}process\b",
    re.IGNORECASE,
)
_ANNOUNCED = re.compile(
    r"\b(?:process|mechanism)\b|\bhow (?:\w+ ){1,6}(?:works?|happens?|occurs?|takes place)\b",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    r"\b(?:(?:application|implication|benefit|advantage|limitation|challenge|example)s?|importance)\b",
    re.IGNORECASE,
)
"""Titles of items that tell something else about a process."""
_LABEL_AND_MARKS = 16
"""Characters that may stand around a title which is a line of its own."""


def tells_process(form: ListForm, titles: Sequence[str], announcement: str, prompt: str) -> bool:
    """Whether the items tell the process that is asked for."""
    if form not in ("numbered", "bullets", "labels", "ordinals"):
        return False
    told = form == "numbered" and _MADE.search(prompt)
    if not told and "process" in prompt and _ASKED.search(prompt):
        told = _ANNOUNCED.search(announcement)
    return bool(told) and not any(map(_ABOUT.search, titles))


def are_headed(titles: Sequence[str], contents: Sequence[str]) -> bool:
    """Whether the titles of most items are lines of their own, as headings are."""
    below = sum(
        "\n" in content.strip()[: len(title) + _LABEL_AND_MARKS]
        for title, content in zip(titles, contents, strict=True)
    )
    return 2 * below > len(titles)


def in_phases(titles: Sequence[str]) -> bool:
    """Whether the titles name the phases of one undertaking, in order."""
    if len(titles) < english.LEAST_PHASES:
        return False
    verbs = (found.lastindex or 0 for t in titles if (found := english.PHASES.match(t)))
    nouns = (
        next(at for at, each in enumerate(english.WORKFLOW) if each.search(t))
        for t in titles
        if english.ANY_WORKFLOW.search(t)
    )
    return any(
        len(set(named)) >= english.LEAST_PHASES
        and len(named) > len(titles) / 2
        and sum(b < a for a, b in pairwise(named)) <= len(named) // 5
        for named in (list(verbs), list(nouns))
    )
