"""Sentences: what a long item without a label is called where no phrase of it can be told.

The first sentence is taken whole, or up to where another clause begins. A paragraph pays for so
long a title; a line does not.
"""

from aspd_cli.transform.rules.phrases import ADVERBIAL, balanced, is_weak
from aspd_cli.transform.rules.words import ABBREVIATION

_MOST, _LEAST = 16, 5
"""Words of a title."""
_MAX_CHARACTERS = 110
_CLAUSES = frozenset("because which while whereas although since".split())
"""Words that begin another clause."""
_POINTS = frozenset("this these those such both".split())
"""What a title may not point with at something else."""
_LISTED = 3
"""Words of what may be the next of several things, behind a comma."""


def sentence_of(text: str) -> str:
    """The first sentence of a text, or its first clause; empty where it is too long."""
    words = text.split(None, _MOST + 1)[: _MOST + 1]
    for at, word in enumerate(words[:_MOST], start=1):
        if word[-1] in ".!?" and not ABBREVIATION.search(word):
            return _title(words[:at]) if at >= _LEAST else ""
    if not words or words[0].lower() in ADVERBIAL or words[0] == "Instead":
        return ""
    for at in range(_LEAST, len(words)):
        ends = words[at - 1][-1] in ";:" or words[at].lower() in _CLAUSES
        if words[at - 1][-1] == ",":
            ends = not any("," in word for word in words[at : at + _LISTED])
        if ends and not is_weak(words[at - 1]) and (title := _title(words[:at])):
            return title
    return ""


def _title(words: list[str]) -> str:
    text = " ".join(words)
    points = not _POINTS.isdisjoint(map(str.lower, words))
    return text if len(text) <= _MAX_CHARACTERS and balanced(words) and not points else ""
