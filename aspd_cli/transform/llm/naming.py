"""Titles of the parts that a model proposes: from the text that they announce, whatever it says.

Weak models give titles out of the examples of a prompt. So a part that has a label of its own is
called by it, as the rules call it; else the model's title stands if its words are the part's, and
the rules name the part if they are not.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from aspd_cli.core.forms import title_key
from aspd_cli.transform.rules.markdown import Kind, cut_lines
from aspd_cli.transform.rules.titles import label_of, title_of, told_apart

LEAST_SHARED = 0.5
"""Share of a title's words that its part must have."""
_STEM = 5
"""Characters by which a word is known: `transport` is `transportation`."""
_EMPTY = frozenset(
    "the and for with from are was that this your you its not how what why when can und der die das"
    " für mit les des une pour los las del con por".split()
)
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
"""A letter of a script that puts no space between words, or grows its words at their ends."""


def named(parts: Sequence[tuple[str, str]]) -> list[tuple[str, str]] | None:
    """The parts with titles from their texts; None where two would have the same one, or one none.

    Args:
        parts: the model's title, and the text, of each.
    """
    heads, titles, own = [], [], []
    for title, text in parts:
        line = next((line for line in cut_lines(text) if line.text), None)
        head = (line.body or line.text) if line else ""
        heading = line is not None and line.kind is Kind.HEADING
        own.append(title if shares_words(title, text) else "")
        heads.append(head)
        label = label_of(head, heading=heading)
        titles.append(label or own[-1] or title_of(head, heading=heading) or "")
    titles = told_apart(heads, titles)
    often = Counter(map(title_key, titles))
    titles = [(often[title_key(t)] > 1 and mine) or t for t, mine in zip(titles, own, strict=True)]
    if not all(titles) or len(set(map(title_key, titles))) < len(titles):
        return None
    return [(title, text) for title, (_, text) in zip(titles, parts, strict=True)]


def shares_words(title: str, text: str) -> bool:
    """Whether a title is made of words of a text, in any script and any form of the words."""
    wanted, found = _words(title), set(map(_stem, _words(text)))
    telling = [
        w for w in wanted if (len(w) > 2 and w not in _EMPTY) or _UNSPACED.search(w)
    ] or wanted
    shared = sum(_stem(word) in found for word in telling)
    return bool(telling) and shared >= LEAST_SHARED * len(telling)


def _words(text: str) -> list[str]:
    """Words without case and accents; pairs of letters where a script puts no spaces."""
    bare = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(letter for letter in bare if not unicodedata.combining(letter))
    words: list[str] = []
    for word in re.findall(r"\w+", unicodedata.normalize("NFC", bare)):
        if _UNSPACED.search(word):
            words += [word[at : at + 2] for at in range(max(1, len(word) - 1))]
        else:
            words.append(word)
    return words


def _stem(word: str) -> str:
    return word[:_STEM]
