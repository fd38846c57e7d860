"""Procedures: items that are steps of one thing, each going on where the one before ended."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from aspd_cli.transform.rules import languages
from aspd_cli.transform.rules.items import ListForm

_ORDERED_LABEL = re.compile(
    r"\W*(?:step|day|week|month|year|phase|stage|part|chapter|act|scene|verse|stanza|round|level"
    r"|session|lesson|episode|chorus|bridge|line|move|slide|panel|page|paragraph|hour|minute"
    r"|(?:early |late |mid-?)?(?:morning|noon|midday|afternoon|evening|night))s?\s*"
    r"(?:#?\d|[ivx]+\b|one|two|three|four|five|six)?\b",
    re.IGNORECASE,
)
_ARGUMENT = re.compile(
    r"\W*(?:(?:the )?(?:problem|challenge)(?: statement)?|(?:the |our |proposed )?solutions?"
    r"|hypothes[ie]s"
    r"|methodology|methods?|(?:key )?(?:results|findings)|discussion|thesis(?: statement)?|argument"
    r"|counter-?arguments?|rebuttal|analysis|proof|cause|effects?)\W*$",
    re.IGNORECASE,
)
"""Parts of one line of thought, each of which takes up the one before."""
_TAKES_UP = re.compile(
    r"\W*(?:(?:an? |the |for )?examples?(?: \w+)?|samples?(?: \w+)?|explanations?|answers?"
    r"|solutions?"
    r"|translations?|rationale|justification|interpretation|usage)\W*$",
    re.IGNORECASE,
)
"""What belongs to something that was said before."""
_PHASES = tuple(
    re.compile(rf"\W*(?:{verbs})\b", re.IGNORECASE)
    for verbs in (
        "research|brainstorm|identify|define|assess|understand|determine|decide|educate|learn",
        "plan|outline|choose|select|develop a|create a|set|design",
        "gather|collect|prepare|buy|find|secure|hire|assemble",
        "write|build|draft|develop|implement|execute|apply|make|produce|record|train",
        "test|revise|edit|proofread|evaluate|refine|review|validate|measure",
        "publish|launch|deploy|submit|release|present|distribute|file",
        "promote|market|maintain|monitor|follow up|iterate|track|scale",
    )
)
"""What is done to a thing from its idea to its use, in the order in which it is done."""
_LEAST_PHASES = 4
_DERIVED = re.compile(
    r"\W*(?:calculat|comput|determin|estimat|solv|substitut|simplify|find the|total|final|convert"
    r"|combin|sum\b|subtract|multipl|divid|let\b|given\b|proof|base case|inductive)\w*",
    re.IGNORECASE,
)
_NEEDED = re.compile(
    r"\b(?:we|you|i|let us|let's) (?:(?:need|have) to |must |can |now )?"
    r"(?:know|find|calculate|determine|convert|compute|derive|solve)\b",
    re.IGNORECASE,
)
_STAGE_LABEL = re.compile(
    r"\W*(?:(?:directions?|methods?|materials?|setup|implementation|execution)"
    r"(?:\W*$| (?:to|for|needed|required)\b)"
    r"|(?:instructions?|steps?|procedure|preparation|ingredients|installation|how to)\b)",
    re.IGNORECASE,
)
_ANNOUNCED = re.compile(
    r"\b(?:(?:steps?|step-by-step|instructions?|procedure|process|recipe|how to make|sequence"
    r"|stages?|phases?|algorithm|proof|itinerary|schedule|plot|story|chapters?|lyrics|poem|timeline|agenda"
    r"|script|tutorial|workflow)\b|(?:directions|method|in order)\W*$)",
    re.IGNORECASE,
)
_WORKING = re.compile(r"\bwork(?:s|ed)?\W*$", re.IGNORECASE)
_LABELLED = re.compile(r"\W*(?:\d{1,3}[.)]\s*)?(?:\*\*|[^.:\n]{2,60}:\s)")
_ADVICE = re.compile(
    r"\b(?:steps?|strategies) (?:that )?(?:you|we|they|one|i|people) (?:can|could|may|might)\b"
    r"(?! follow)|\b(?:some|several|few|additional|practical) (?:\w+ )?"
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
_SEQUENCE_WORDS = frozenset(
    "once after until repeat then afterwards afterward let now finally".split()
)
"""One of these is in whatever `_SEQUENCE` finds: looking for them first takes a tenth of it."""
_BEGINNING = re.compile(
    r"\W*(?:\d+\W+)?(?:first(?:ly)?,|start by|begin by|to begin|to start)", re.I
)
_MAKING = frozenset(
    "preheat oven whisk simmer sauté saute bake boil stir tablespoon tablespoons teaspoon "
    "teaspoons tbsp "
    "tsp cup cups drain knead dough skillet marinate screwdriver click drag navigate menu button "
    "install "
    "download unplug".split()
)
"""Words of recipes and of instructions for machines."""
_WORD = re.compile(r"[^\W_]+")
_SENTENCE_END = re.compile(r"[.!?]\s|[。！？]|\n")

NAMED, ANNOUNCED = "items named as steps", "items announced as steps"
STEPS = (NAMED, ANNOUNCED)
"""The reasons that hold for what is nested in the items, too."""


def procedure(
    form: ListForm, titles: Sequence[str], contents: Sequence[str], before: str, prompt: str
) -> str | None:
    """Why the items are steps of one procedure; None when they are not.

    Args:
        before: the answer up to the first item.
        prompt: what the user asked.
    """
    other = languages.is_foreign(contents)

    def either(text: str, english: re.Pattern[str], foreigners: re.Pattern[str]) -> bool:
        return bool(english.search(text) or (other and foreigners.search(text)))

    def labels(english: re.Pattern[str], foreigners: re.Pattern[str]) -> int:
        return sum(
            bool(english.match(title) or (other and foreigners.match(title))) for title in titles
        )

    if labels(_ORDERED_LABEL, languages.ORDERED_LABEL) > 1:
        return NAMED
    if labels(_DERIVED, languages.DERIVED) > 1 or _count(_NEEDED.search, contents) > 1:
        return "items that derive one result"
    argument = _ARGUMENT.match(titles[0]) and form == "sections"
    takes_up = not _TAKES_UP.match(titles[0]) and any(map(_TAKES_UP.match, titles))
    if argument or takes_up or _count(_ARGUMENT.match, titles) > 1:
        return "sections of one argument"
    if _in_phases(titles):
        return "items that lead from an idea to its use"
    if form == "sections" and labels(_STAGE_LABEL, languages.STAGE_LABEL):
        return "sections of one procedure"
    # The last sentence before the items says what they are.
    announcement = _SENTENCE_END.split(before.rstrip().rpartition("\n")[2])[-1]
    if form == "sections" and announcement[-1:] not in (":", "：") and announcement[:1] != "#":
        announcement = ""
    asked = _asks_for_one(prompt, other) and not _ASIDES.search(announcement)
    advice = not asked and either(announcement, _ADVICE, languages.ADVICE)
    if not advice and either(announcement, _ANNOUNCED, languages.ANNOUNCED):
        return ANNOUNCED
    if _WORKING.search(announcement) and _count(_LABELLED.match, contents) < len(contents):
        return ANNOUNCED
    if form in ("numbered", "bullets"):
        if asked:
            return "items of something made step by step"
        if _BEGINNING.match(contents[0]):
            return "items that begin with a first step"
    few = max(1, len(contents) / 3)
    words = [set(_WORD.findall(text.lower())) for text in contents]
    timed = sum(
        (not own.isdisjoint(_SEQUENCE_WORDS) and _SEQUENCE.search(text) is not None)
        or (other and languages.SEQUENCE.search(text) is not None)
        for own, text in zip(words, contents, strict=True)
    )
    if timed > few:
        return "items that follow in time"
    made = sum(
        not own.isdisjoint(_MAKING) or (other and languages.MAKING.search(text) is not None)
        for own, text in zip(words, contents, strict=True)
    )
    if made > few and not _IDEAS.search(announcement):
        return "items that make one thing"
    return None


@lru_cache(maxsize=8)
def _asks_for_one(prompt: str, other: bool) -> bool:
    """Whether a prompt asks for something that is made step by step; it is the same for a whole
    answer."""
    return bool(_ASKED.search(prompt) or (other and languages.ASKED.search(prompt)))


def _in_phases(titles: Sequence[str]) -> bool:
    """Whether the titles name the phases of one undertaking, in order."""
    found = [next((at for at, verbs in enumerate(_PHASES) if verbs.match(t)), -1) for t in titles]
    named = [phase for phase in found if phase >= 0]
    return (
        len(set(named)) >= _LEAST_PHASES and len(named) > len(titles) / 2 and named == sorted(named)
    )


def _count(matches: Callable[[str], object], texts: Sequence[str]) -> int:
    return sum(matches(text) is not None for text in texts)
