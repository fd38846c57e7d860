"""Additions: a branch that says of its own thing "also" what a sibling has said of another."""

import re
from collections.abc import Iterator, Sequence

from aspd_cli.transform.rules.shared_things import Branches, Reference
from aspd_cli.transform.rules.words import WORD, words_of

_SAID_TOO = re.compile(r"\balso ((?:[\w'’-]+ ){3}[\w'’-]+)([^.!?\n]*)")
"""The words behind it, and the rest of the sentence."""
_SAID_TOO_WIDE = re.compile(
    "也(?:可以?|能够?|会|可能|需要?|应该?|是)?([^，。；、：！？,.;:!?\\s也]{4})"
)
_ECHO = 5
"""Words of the rest of the sentence that are a sibling's where one after another are the same."""


def additions(branches: Branches, bodies: Sequence[str], given: str) -> Iterator[Reference]:
    """The branches that add to what an earlier one says, in its words.

    Args:
        bodies: the contents behind their labels.
        given: what all branches see.
    """
    seen = ""
    for at in range(1, len(branches)):
        content, body = branches[at][1], bodies[at]
        if "also" in words_of(content):
            phrases = _phrases(body.lower())
        elif "也" in body:
            phrases = _wide_phrases(body.lower())
        else:
            continue
        seen = seen or "\n".join((given, *(title for title, _ in branches))).lower()
        for phrase in phrases:
            source = None if phrase in seen else _said_before(phrase, branches, at)
            if source is not None:
                yield Reference(at, "says that something is so, too", source=source)
                break


def _wide_phrases(body: str) -> Iterator[str]:
    for found in _SAID_TOO_WIDE.finditer(body):
        if found[1] not in body[: found.start()]:
            yield found[1]


def _phrases(body: str) -> Iterator[str]:
    for found in _SAID_TOO.finditer(body):
        if found[1] not in body[: found.start()]:
            yield found[1]
        words = WORD.findall(found[2])
        for start in range(len(words) - _ECHO + 1):
            yield " ".join(words[start : start + _ECHO])


def _said_before(phrase: str, branches: Branches, at: int) -> int | None:
    """The latest earlier branch with these words."""
    return next((n for n in range(at - 1, -1, -1) if phrase in branches[n][1].lower()), None)
