"""Additions: a branch that says of its own thing "also" what a sibling has said of another."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from aspd_cli.transform.rules.shared_things import Branches, Reference
from aspd_cli.transform.rules.words import WORD, words_of

_SAID_TOO = re.compile(r"\balso ((?:[\w'’-]+ ){3}[\w'’-]+)([^.!?\n]*)")
"""The words behind it, and the rest of the sentence."""
_SAID_TOO_WIDE = re.compile(
    "也(?:可以?|能够?|会|可能|需要?|应该?|是)?([^，。；、：！？,.;:!?\\s也]{4})"
)
_MOST = 64
"""Phrases of a branch that are looked for in others."""
_SENTENCE = 400
"""Characters of a sentence that are looked at."""
_ECHO = 5
"""Words of the rest of the sentence that are a sibling's where one after another are the same."""


def additions(branches: Branches, bodies: Sequence[str], given: str) -> Iterator[Reference]:
    """The branches that add to what an earlier one says, in its words.

    Args:
        bodies: the contents behind their labels.
        given: what all branches see.
    """
    adding = [
        at
        for at, (_, content) in enumerate(branches)
        if at and ("also" in words_of(content) or "也" in content)
    ]
    if not adding:
        return
    seen = "\n".join((given, *(title for title, _ in branches))).lower()
    said = [content.lower() for _, content in branches]
    for at in adding:
        body = bodies[at].lower()
        phrases = chain(_phrases(body), _wide_phrases(body))
        for phrase in islice(phrases, _MOST):
            source = None if phrase in seen else _said_before(phrase, said[:at])
            if source is not None:
                yield Reference(at, "says that something is so, too", source=source)
                break


def _wide_phrases(body: str) -> Iterator[str]:
    for found in islice(_SAID_TOO_WIDE.finditer(body), _MOST):
        if found[1] not in body[: found.start()]:
            yield found[1]


def _phrases(body: str) -> Iterator[str]:
    for found in islice(_SAID_TOO.finditer(body), _MOST):
        if found[1] not in body[: found.start()]:
            yield found[1]
        words = WORD.findall(found[2][:_SENTENCE])
        for start in range(len(words) - _ECHO + 1):
            yield " ".join(words[start : start + _ECHO])


def _said_before(phrase: str, said: Sequence[str]) -> int | None:
    """The latest of the texts with these words."""
    return next((at for at in range(len(said) - 1, -1, -1) if phrase in said[at]), None)
