"""Introduced things: what one item brings in with `a` or by its name, and a later one calls `the`.

"A mask hides her face" and, in another item, "she drops the mask": only who has read the first one
knows of it. What all branches see, and what everybody knows of, such as the sky, is no such thing.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from aspd_cli.transform.rules import english
from aspd_cli.transform.rules.shared_things import Branches, Reference
from aspd_cli.transform.rules.words import words_of

_ENDS = (
    r"(?=[^\w\s'’-]|\s*\n|\s*$|\s(?:is|are|was|were|has|have|had|can|could|may|might|must|should"
    r"|will|would|does|did|in|on|at|to|for|with|from|by|and|or|but|as|that|which|who|when|while|if"
    r"|until|because|into|onto|over|under|after|before|than|then|again|without|through|itself|up"
    r"|down)\b)"
)
"""What follows a noun that no other noun follows."""
_THE = re.compile(r"\bthe ([a-z]{3,})")
_NOUN = re.compile(rf"the [a-z]+{_ENDS}")
_MOST = 128
"""So many of them are looked at in one branch."""
_TELLING = ("is ", "are ", "was ", "were ", "as ")
"""Behind these, `the` tells what something is."""
_BROUGHT = re.compile(rf"\b[Aa]n? (?:[\w-]+ ){{0,2}}?([a-z]{{3,}}){_ENDS}")
_EVENT = re.compile(
    r"\W*(?:following|after|during|before|despite|because of) (?:the|this|that) ([a-z]{3,})\b"
    r"(?! of\b)",
    re.IGNORECASE,
)
"""How an item begins that speaks of an event: `Following the war`."""
_EVENTS = re.compile(r"\b[A-Z][\w'’]+ (?=([A-Z][a-z]{2,})\b)")
"""An event by its name: `the Seven Years' War`."""
_EVERYBODYS = english.COMMON | frozenset(
    "sun moon sky earth ocean sea air ground floor horizon internet environment public market past "
    "future present beginning middle rest body mind heart brain city country state government law "
    "language family company team group class user reader audience customer community industry "
    "process system cage house home room kitchen outside inside".split()
)
"""What is known without having been introduced."""


def introduced_things(branches: Branches, bodies: Sequence[str], given: str) -> Iterator[Reference]:
    """The branches that speak of a thing as known which only an earlier branch brings in.

    Args:
        bodies: their contents without markers and labels.
        given: what all branches see.
    """
    earlier: set[str] = set()
    for at, ((_, content), body) in enumerate(zip(branches, bodies, strict=True)):
        for thing, brings in _called_known(content, body, earlier) if at else ():
            source = _source(thing, brings, branches[:at])
            if source is not None and not _is_seen(thing, branches, given):
                yield Reference(at, f"says 'the {thing}', which another branch introduces", source)
                break
        earlier |= words_of(content)


def _called_known(
    content: str, body: str, earlier: set[str]
) -> Iterator[tuple[str, re.Pattern[str]]]:
    """What a branch speaks of as known, and how it would have been brought in.

    Args:
        earlier: all words of the branches before it.
    """
    event = _EVENT.match(body)
    if event and event[1].lower() in earlier:
        yield event[1].lower(), _EVENTS
    small = None
    for found in islice(_THE.finditer(content), _MOST) if " the " in content else ():
        before = found.start()
        if found[1] not in earlier or found[1] in _EVERYBODYS:
            continue
        if content.endswith(_TELLING, 0, before) or not _NOUN.match(content, before):
            continue
        small = content.lower() if small is None else small
        if small.find(found[1]) == found.start(1):
            yield found[1], _BROUGHT


def _source(thing: str, brings: re.Pattern[str], before: Branches) -> int | None:
    """The branch that brings a thing in."""
    for at, (_, content) in enumerate(before):
        if thing in content.lower() and any(
            thing == found.lower() for found in brings.findall(content)
        ):
            return at
    return None


def _is_seen(thing: str, branches: Branches, given: str) -> bool:
    """Whether all branches have heard of a thing."""
    seen = words_of("\n".join([given, *(title for title, _ in branches)]))
    return thing in seen or f"{thing}s" in seen
