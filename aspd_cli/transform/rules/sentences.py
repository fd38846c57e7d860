"""Sentences: what a long item without a label is called where no phrase of it can be told.

The first sentence is taken whole, or up to where another clause begins. A paragraph pays for so
long a title; a line does not.
"""

from aspd_cli.transform.rules.phrases import ADVERBIAL, WANTING, balanced, is_weak
from aspd_cli.transform.rules.words import ABBREVIATION

_MOST, _LEAST = 16, 5
"""Words of a title."""
_MAX_CHARACTERS = 110
_CLAUSES = frozenset("because which while whereas although since".split())
"""Words that begin another clause."""
_ASKING = frozenset("how why what whether when where that who".split())
"""How a clause begins that `and` adds to another one."""
_ENOUGH, _ADDS = 10, frozenset("to for by with in".split())
"""So many words may end before one of these."""
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
    ends = [at for at in range(_LEAST, len(words)) if _ends(words, at)]
    ends += [at for at in range(_ENOUGH, len(words)) if words[at].lower() in _ADDS]
    titles = (_title(words[:at]) for at in ends if not _wants_more(words[at - 1]))
    return next(filter(None, titles), "")


def _ends(words: list[str], at: int) -> bool:
    """Whether a clause ends before the word at `at`."""
    last, following = words[at - 1].rstrip('"”*')[-1:], words[at].lower()
    if last == ",":
        return not any("," in word for word in words[at : at + _LISTED])
    if following == "and":
        return at + 1 < len(words) and words[at + 1].lower() in _ASKING
    return last in (";", ":") or following in _CLAUSES


def _wants_more(word: str) -> bool:
    return is_weak(word) or word.lower() in WANTING


def _title(words: list[str]) -> str:
    text = " ".join(words)
    points = not _POINTS.isdisjoint(map(str.lower, words))
    return text if len(text) <= _MAX_CHARACTERS and balanced(words) and not points else ""
