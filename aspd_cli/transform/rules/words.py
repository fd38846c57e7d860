"""Words: how long texts are, which dots end no sentence, which languages write no spaces."""

import re
from functools import lru_cache

_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
_CHARACTERS = 4

ABBREVIATION = re.compile(
    r"(?:\b(?:vs|v|dr|mr|mrs|ms|st|mt|no|nr|ca|cf|etc|approx|inc|ltd|jr|sr|prof|sgt|gen|col|rev|var|subsp|spp|e\.g|i\.e|z\.B|bzw)"
    r"|\b[A-Za-z])\.$",
    re.IGNORECASE,
)
"""The end of a word whose dot ends no sentence."""
DOTTED = (
    r"(?:(?<=\bvs)|(?<=\b[DMS]r)|(?<=\bMrs)|(?<=\b[MS]t)|(?<=\bNo)|(?<=\b[A-Z])|(?<=\be\.g)"
    r"|(?<=\bi\.e))\.|\.(?=\w)"
)
"""Such a dot, as a part of an expression."""


WORD = re.compile(r"[^\W_]+")


@lru_cache(maxsize=256)
def words_of(text: str) -> frozenset[str]:
    """The words of a text in small letters. Several rules ask for those of one item."""
    return frozenset(WORD.findall(text.lower()))


def weight(text: str) -> float:
    """About how many tokens a text has: one for a Chinese character, one for four others."""
    wide = 0 if text.isascii() else len(_WIDE.findall(text))
    return wide + (len(text) - wide) / _CHARACTERS


def is_wide(text: str) -> bool:
    """Whether a text is Chinese or Japanese, which write no spaces."""
    return not text.isascii() and _UNSPACED.search(text) is not None
