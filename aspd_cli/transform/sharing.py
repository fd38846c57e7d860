"""Things that branches share and that only one of them introduces: labels, names, numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

Branches = Sequence[tuple[str, str]]
"""Title and plain content of each branch of a block."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A branch that refers to another one."""

    branch: int
    """Which branch, from 0."""
    reason: str
    """What it does, as the rest of a sentence about it."""


_COMPARED = re.compile(
    r"\b(?:unlike|like|(?:similar|compared|in contrast|identical) to|compared with"
    r"|(?:opposite|version|reverse|variants?|counterpart) of|instead of"
    r"|(?:more \w+|less \w+|\w+er) than)"
    r" (?:an? |the |its |their )?(\w+)s?\b",
    re.IGNORECASE,
)
_ACRONYM = re.compile(r"\(([A-Z][A-Za-z]*[A-Z]s?)\)")
_FULL_NAME = re.compile(r"\b(?:[A-Z][a-z]+|[A-Z]\.) ([A-Z][a-z]{2,})\b")
_LONE_NAME = re.compile(r"(?<=[a-z,;] )([A-Z][a-z]{2,})\b(?! [A-Z])")
_WORD = re.compile(r"[^\W_]+")
_POINTING = re.compile(r"\b(?:these|those) (\w{3,}[^\W\ds]s)\b|\bthe (\w{3,}ed) ([^\W\d_]{4,})\b")
"""In small letters; pointing at something by one noun, or by what was done to it and a noun."""
_STEM = 5
_NUMBER = re.compile(r"(?<![\w.,])\d[\d,.]*\d{2}(?!\w)")
_ROUND = re.compile(r"1\d{3}|20\d\d|\d0+|[1-9]\d?0?,?000(?:,000)*|\d\.\d|360|365")
"""Years and round numbers, which two branches may name without meaning the same thing."""


def shared_thing(branches: Branches, labelled: Sequence[bool], given: str) -> Reference | None:
    """The first branch that speaks of what only a sibling has introduced.

    Args:
        labelled: whether each branch begins with its title as a label.
        given: what all branches see.
    """
    return (
        _label(branches, labelled, given)
        or _acronym(branches, given)
        or _short_name(branches, given)
        or _pointed(branches, labelled, given)
        or _number(branches, given)
    )


def _label(branches: Branches, labelled: Sequence[bool], given: str) -> Reference | None:
    """A branch that is told by comparison to a sibling, or speaks of its label in small letters.

    Written large it is a name of the world, which needs no neighbour; and one word is too common.
    """
    known = given.lower()
    words = {title.lower() for title, _ in branches if " " not in title}
    for at, (own, content) in enumerate(branches) if words else ():
        for thing in _COMPARED.findall(content):
            names = {thing.lower(), thing.lower().removesuffix("s")} - {own.lower()}
            if names & words:
                return Reference(at, f"is compared to the branch {thing!r}")
    for of, (title, _) in enumerate(branches):
        small = title.lower()
        if not labelled[of] or not 2 <= len(title.split()) <= 5 or small in known:
            continue
        for at, (own, content) in enumerate(branches):
            if at != of and small in content and small not in own.lower():
                return Reference(at, f"speaks of the branch {title!r}")
    return None


def _acronym(branches: Branches, given: str) -> Reference | None:
    """A branch that uses an acronym which only a sibling spells out."""
    known = _known(branches, given)
    spelt: set[str] = set()
    for at, (_, content) in enumerate(branches):
        own = set(_ACRONYM.findall(content))
        for name in spelt - own:
            if name in content and name not in known and name in _WORD.findall(content):
                return Reference(at, f"uses {name!r}, which another branch spells out")
        spelt |= own
    return None


def _short_name(branches: Branches, given: str) -> Reference | None:
    """A branch that calls by the last name somebody whom only a sibling has introduced."""
    known = _known(branches, given)
    introduced: set[str] = set()
    for at, (_, content) in enumerate(branches):
        full = set(_FULL_NAME.findall(content))
        for name in _LONE_NAME.findall(content):
            if name in introduced and name not in full and name not in known:
                # A word that is also written small names nobody.
                small = re.compile(rf"\b{name.lower()}\b")
                if not any(small.search(text) for _, text in branches):
                    return Reference(at, f"says {name!r}, whom another branch introduces")
        # Nor do adjectives of nations.
        introduced |= {name for name in full if not name.endswith(("an", "ese", "ish"))}
    return None


def _pointed(branches: Branches, labelled: Sequence[bool], given: str) -> Reference | None:
    """A branch that points at things ("these bands", "the chopped onions") of an earlier one.

    Behind a label of its own a branch points at what its label names.
    """
    known, earlier = given.lower(), ""
    for at, (title, content) in enumerate(branches):
        small = content.lower()
        for found in _POINTING.finditer(content) if at and not labelled[at] else ():
            stems = [word[:_STEM] for word in found.groups() if word]
            before = f"{title.lower()} {small[: found.start()]}"
            if all(stem in earlier and stem not in before and stem not in known for stem in stems):
                return Reference(at, f"says {found[0]!r}, which another branch introduces")
        earlier += small
    return None


def _number(branches: Branches, given: str) -> Reference | None:
    """A branch that goes on with a number of another one, as running sums do."""
    seen: dict[str, int] = {}
    for at, (_, content) in enumerate(branches):
        for number in sorted(set(_NUMBER.findall(content))):
            first = seen.setdefault(number, at)
            if first != at and number not in given and not _ROUND.fullmatch(number):
                return Reference(at, f"goes on with the number {number}")
    return None


def _known(branches: Branches, given: str) -> str:
    return "\n".join([given, *(title for title, _ in branches)])
