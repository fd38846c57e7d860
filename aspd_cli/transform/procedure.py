"""Procedures: items that are steps of one thing, each going on where the one before ended."""

import re
from collections.abc import Callable, Sequence

from aspd_cli.transform.items import Form

_ORDERED_LABEL = re.compile(
    r"\W*(?:step|day|week|month|year|phase|stage|part|chapter|act|scene|verse|stanza|round|level"
    r"|session|lesson|episode|chorus|bridge|line|move|slide|panel|page|paragraph|hour|minute)s?\s*"
    r"(?:#?\d|[ivx]+\b|one|two|three|four|five|six)?\b",
    re.IGNORECASE,
)
_DERIVED = re.compile(
    r"\W*(?:calculat|comput|determin|estimat|solv|substitut|simplify|find the|total|final|convert"
    r"|combin|sum\b|subtract|multipl|divid|let\b|given\b|proof|base case|inductive)\w*",
    re.IGNORECASE,
)
_STAGE_LABEL = re.compile(
    r"\W*(?:instructions?|steps?|directions?|method|procedure|preparation|how to|materials?|setup"
    r"|ingredients|installation|implementation|execution)\b",
    re.IGNORECASE,
)
_ANNOUNCED = re.compile(
    r"\b(?:(?:steps?|step-by-step|instructions?|procedure|process|recipe|how to make|sequence"
    r"|stages?|phases?|algorithm|proof|itinerary|schedule|plot|story|chapters?|lyrics|poem|timeline"
    r"|script|tutorial|workflow)\b|(?:directions|method|in order)\W*$)",
    re.IGNORECASE,
)
_WORKING = re.compile(r"\bwork(?:s|ed)?\W*$", re.IGNORECASE)
_LABELLED = re.compile(r"\W*(?:\d{1,3}[.)]\s*)?(?:\*\*|[^.:\n]{2,60}:\s)")
_ADVICE = re.compile(
    r"\b(?:steps?|strategies) (?:that )?(?:you|we|they|one|i|people) (?:can|could|may|might)\b"
    r"|\b(?:some|several|few|additional|general|practical) (?:\w+ )?"
    r"(?:steps|tips|ways|strategies)\b",
    re.IGNORECASE,
)
"""Steps that are advice, each of which can be taken alone."""
_ASIDES = re.compile(r"\b(?:tips?|variations?|notes?|reminders?|warnings?)\W*$", re.IGNORECASE)
_IDEAS = re.compile(
    r"\b(?:ideas?|options?|examples?|dishes|foods?|methods|alternatives|choices)\b", re.IGNORECASE
)
"""Things to choose from, each of which is whole."""
_ASKED = re.compile(
    r"\b(?:step[- ]by[- ]step|recipe|instructions|how (?:do|can|would|should) (?:i|you|we|one) "
    r"(?:make|cook|bake|build|install|set up|create|change|fix|remove|draw|write|train|prepare"
    r"|replace|clean|sew|knit|grow|plant|start)|how to (?:make|cook|bake|build|install|set up"
    r"|create|change|fix|remove|draw|prepare|replace|clean)|story|script|plot|itinerary"
    r"|screenplay|dialogue|prove|calculate)\b",
    re.IGNORECASE,
)
_SEQUENCE = re.compile(
    r"\b(?:once (?:you|the|your|it|they|all|everything|done)|after (?:you|that|\w+ing)\b"
    r"|until|repeat|then,? |afterwards?|let it|now that|finally,)",
    re.IGNORECASE,
)
_BEGINNING = re.compile(
    r"\W*(?:\d+\W+)?(?:first(?:ly)?,|start by|begin by|to begin|to start)", re.I
)
_MAKING = re.compile(
    r"\b(?:preheat|oven|whisk|simmer|saut[eé]|bake|boil|stir|tablespoons?|teaspoons?|tbsp|tsp|cups?"
    r"|drain|knead|dough|skillet|marinate|screwdriver|click|tap on|drag|navigate to|menu|button"
    r"|install|download|unplug)\b",
    re.IGNORECASE,
)


NAMED, ANNOUNCED = "items named as steps", "items announced as steps"
STEPS = (NAMED, ANNOUNCED)
"""The reasons that hold for what is nested in the items, too."""


def procedure(
    form: Form, titles: Sequence[str], contents: Sequence[str], before: str, prompt: str
) -> str | None:
    """Why the items are steps of one procedure; None when they are not.

    Args:
        before: the answer up to the first item.
        prompt: what the user asked.
    """
    if _count(_ORDERED_LABEL.match, titles) > 1:
        return NAMED
    if _count(_DERIVED.match, titles) > 1:
        return "items that derive one result"
    if form == "sections" and _count(_STAGE_LABEL.match, titles):
        return "sections of one procedure"
    # The last sentence before the items says what they are.
    announcement = re.split(r"[.!?]\s|\n", before.rstrip())[-1]
    if form == "sections" and announcement[-1:] != ":" and not announcement.startswith("#"):
        announcement = ""
    asked = _ASKED.search(prompt) is not None and not _ASIDES.search(announcement)
    advice = not asked and _ADVICE.search(announcement) is not None
    if not advice and _ANNOUNCED.search(announcement):
        return ANNOUNCED
    if _WORKING.search(announcement) and _count(_LABELLED.match, contents) < len(contents):
        return ANNOUNCED
    if form in ("numbered", "bullets"):
        if asked:
            return "items of something made step by step"
        if _BEGINNING.match(contents[0]):
            return "items that begin with a first step"
    if _count(_SEQUENCE.search, contents) > len(contents) / 3:
        return "items that follow in time"
    ideas = _IDEAS.search(announcement) is not None
    if not ideas and _count(_MAKING.search, contents) > len(contents) / 3:
        return "items that make one thing"
    return None


def _count(matches: Callable[[str], object], texts: Sequence[str]) -> int:
    return sum(matches(text) is not None for text in texts)
