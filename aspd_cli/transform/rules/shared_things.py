"""Things that one branch introduces and another one speaks of: names, numbers, equations."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

from aspd_cli.transform.rules.languages import ECHOES
from aspd_cli.transform.rules.words import WORD, words_of

Branches = Sequence[tuple[str, str]]
"""Title and plain content of each branch of a block."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A branch that refers to another one."""

    branch: int
    """Which branch, from 0."""
    reason: str
    """What it does, as the rest of a sentence about it."""
    source: int | None = None
    """The branch that it needs; None: the one before it, or any of those."""
    alone: bool = False
    """Whether it can be in no block, not even as the first branch of the next one."""


_MAX_POINTERS = 64
"""Most words of one branch that point at things and are looked at."""
_ACRONYM = re.compile(r"\(([A-Z][A-Za-z]*[A-Z]s?)\)")
_PERSON = re.compile(
    r"(?:\b(?:by|named|called|actor|actress|singer|president|professor|detective|director|author|"
    r"writer|king|queen|[Mm]r\.|[Mm]rs\.|[Mm]s\.|[Dd]r\.) (?:[A-Z][a-z]+"
    r"|[A-Z]\.) ([A-Z][a-z]{2,})\b"
    r"|\b(?:[A-Z][a-z]+|[A-Z]\.) ([A-Z][a-z]{2,})(?=, (?:who|whose)\b| \((?:born|\d{4})))"
)
"""The last name of somebody who is introduced."""
_MAY_INTRODUCE = (
    *(" by ", "named ", "called ", "act", "singer ", "president ", "professor ", "detective "),
    *("director ", "author ", "writer ", "king ", "queen ", "r. ", "s. ", ", who", " ("),
)
"""One of these stands in whatever `_PERSON` finds."""
_LONE_NAME = re.compile(r"(?<=[a-z,;] )([A-Z][a-z]{2,})\b(?![-– ][A-Z])")
_POINTING = re.compile(r"\b(?:these|those) (\w{3,}[^\W\ds]s)\b|\bthe (\w{3,}ed) ([^\W\d_]{4,})\b")
"""In small letters; pointing at something by one noun, or by what was done to it and a noun."""
_POINTING_PHRASE = re.compile(r"\bthese ([a-z-]{4,} [a-z]{3,}s)\b")
_QUOTED_NAME = re.compile(r"[\"“]([A-Z][\w'’-]+(?: [A-Z][\w'’-]+){1,3})[\"”]")
_POINTS_BACK = re.compile(
    r"(?:(?:as|when|while|by|with|through|from|using|in) )?(these|those|this"
    r"|such) ([\w-]{4,})(?: (\w{4,}))?"
)
"""The same behind a label, which may name what is pointed at."""
_ADDRESSED = re.compile(
    r"[^.!?\n]{0,80}? these (?:\w+ )?(challenges|issues|problems|limitations|shortcomings|concerns"
    r"|difficulties|inefficiencies|barriers|drawbacks|weaknesses)\b"
)
"""In the first sentence behind a label."""
_THOSE_OF = frozenset("with that living looking seeking wanting interested without".split())
"""What may follow those without pointing at anything."""
_STEM = 5
_DONE = (
    r"(?:chosen|selected|identified|collected|gathered|cleaned|preprocessed|processed|trained"
    r"|fitted|built|created|generated|extracted|obtained|calculated|computed|developed|prepared"
    r"|filtered|encoded|transformed|merged|agreed|designed|assembled|drafted|retrieved|parsed)"
)
_MADE = re.compile(rf"\bthe ({_DONE}) (?:\w+ )?(\w{{4,}})")
"""In small letters; a thing that was made or chosen before, with a label or without."""
_MAY_BE_MADE = frozenset(_DONE[3:-1].split("|"))
_CODE = re.compile(r"(\b[Tt]he )?`([^`\s]{2,40})`")
_COINED = re.compile(r"[a-z]\w*(?:_\w+|[a-z][A-Z]\w*)+$|\w+\.\w{2,5}$")
"""A name that somebody has given, not a word of a language: `user_id`, `lastSeen`, `app.py`."""
_NUMBER = re.compile(r"\d(?<![\w.,]\d)[\d,.]*\d{2}(?!\w)")
_CREDITED = re.compile(r"\balso (?:\w+(?:ed|en)|made|built) by ((?:[A-Z]\w+ ?){1,3})")
"""Somebody who has done something else, too."""
_ROUND = re.compile(r"1\d{3}|20\d\d|\d0+|[1-9]\d?0?,?000(?:,000)*|\d\.\d|360|365")
"""Years and round numbers, which two branches may name without meaning the same thing."""
_EQUATION = re.compile(
    r"[\w)\]}] ?(?:=|≈|\\approx|\\leq?|\\geq?) ?[\w($\\{\[-]|\\\[|\\\(|\\frac|\$\$"
    r"|[∀∃⊢⟹⇒]|¬ ?[A-Za-z]+\(|(?<![\w<])[a-z] ?[<>≤≥] ?-?\d"
)
_SIGNS = ("=", "≈", "\\", "$$", *"∀∃⊢⟹⇒¬<>≤≥")
"""One of these stands in whatever `_EQUATION` finds."""
_THING = 3
"""Characters by which a thing is known where words are not spaced."""
_INLINE_CODE = re.compile(r"`[^`\n]*`")


def shared_things(
    branches: Branches, bodies: Sequence[str], labelled: Sequence[bool], given: str
) -> Iterator[Reference]:
    """The branches that speak of what only an earlier one has introduced.

    Args:
        bodies: their contents without markers and labels.
        labelled: whether each branch begins with its title as a label.
        given: what all branches see.
    """
    yield from _acronyms(branches, given)
    yield from _short_names(branches, given)
    yield from _pointed(branches, bodies, labelled, given)
    yield from _pointed_phrases(branches, given)
    yield from _addressed(branches, bodies, labelled, given)
    yield from _made(branches, given)
    yield from _credited(branches, given)
    yield from _coined(branches, given)
    yield from _named(branches, given)
    yield from _numbers(branches, given)
    yield from _echoed(branches, given)


def _acronyms(branches: Branches, given: str) -> Iterator[Reference]:
    """Branches that use an acronym which only an earlier one spells out."""
    if not any("(" in content for _, content in branches):
        return
    known = _known(branches, given)
    spelt: dict[str, int] = {}
    for at, (_, content) in enumerate(branches):
        own = set(_ACRONYM.findall(content))
        used = spelt.keys() & set(WORD.findall(content)) if spelt else set()
        for name in sorted(used - own):
            if name not in known:
                yield Reference(at, f"uses {name!r}, which another branch spells out", spelt[name])
        spelt |= dict.fromkeys(own, at)


def _short_names(branches: Branches, given: str) -> Iterator[Reference]:
    """Branches that call by the last name somebody whom only an earlier one has introduced."""

    @cache
    def small() -> frozenset[str]:
        """The words that are written small somewhere: large they name nobody."""
        return frozenset(word for _, text in branches for word in WORD.findall(text))

    known = _known(branches, given)
    introduced: dict[str, int] = {}
    for at, (_, content) in enumerate(branches):
        may = any(map(content.__contains__, _MAY_INTRODUCE))
        people = {one or other for one, other in _PERSON.findall(content)} if may else set()
        for name in _LONE_NAME.findall(content) if introduced else ():
            new = name in introduced and name not in people and name not in known
            if new and name.lower() not in small():
                reason = f"says {name!r}, whom another branch introduces"
                yield Reference(at, reason, introduced[name])
        introduced |= dict.fromkeys(people, at)


def _pointed(
    branches: Branches, bodies: Sequence[str], labelled: Sequence[bool], given: str
) -> Iterator[Reference]:
    """Branches that point at things ("these bands", "the chopped onions") of an earlier one.

    Behind a label of its own a branch points at what its label names.
    """
    known, earlier = given.lower(), ""
    if labelled[0] and (own := _POINTS_BACK.match(bodies[0].lower())):
        known += own[0]  # at what its label names, and so do the others
    for at, ((title, content), body) in enumerate(zip(branches, bodies, strict=True)):
        small = content.lower()
        found = _points_back(title.lower(), body.lower(), earlier, known) if labelled[at] else None
        for pointing in islice(
            _POINTING.finditer(content), _MAX_POINTERS if not labelled[at] else 0
        ):
            stems = [word[:_STEM] for word in pointing.groups() if word]
            before = small[: pointing.start()]
            if all(stem in earlier and stem not in before and stem not in known for stem in stems):
                found = pointing[0]
                break
        if found and at:
            yield Reference(at, f"says {found!r}, which another branch introduces")
        earlier += small


def _pointed_phrases(branches: Branches, given: str) -> Iterator[Reference]:
    """Branches that point at things by the two words ("these charged particles") by which only an
    earlier one has called them."""
    if not any("these " in content for _, content in branches):
        return
    known = _known(branches, given).lower()
    said = [content.lower() for _, content in branches]
    for at, small in enumerate(said):
        for found in islice(_POINTING_PHRASE.finditer(small), _MAX_POINTERS) if at else ():
            phrase = found[1]
            first = next((n for n in range(at) if phrase in said[n]), None)
            if first is not None and phrase not in known and phrase not in small[: found.start()]:
                yield Reference(at, f"says {found[0]!r}, which another branch introduces", first)
                break


def _points_back(title: str, body: str, earlier: str, known: str) -> str | None:
    """The words by which what follows a label points at a thing that the label does not name."""
    found = _POINTS_BACK.match(body)
    if found is None or found[2] in _THOSE_OF:
        return None
    named = found.groups()[1:]
    if found[1] in ("these", "those") and named[0].endswith("s"):
        named = named[:1]  # "these collisions excite": what comes behind the things is no name
    stems = [word[:_STEM] for word in named if word]
    if any(stem in title or stem in known for stem in stems):
        return None
    taken = any(stem in earlier for stem in stems) or found[1] == "those"
    return found[0] if taken else None


def _addressed(
    branches: Branches, bodies: Sequence[str], labelled: Sequence[bool], given: str
) -> Iterator[Reference]:
    """Branches that answer troubles ("addresses these challenges") which they do not name."""
    for at, ((title, _), body) in enumerate(zip(branches, bodies, strict=True)):
        found = _ADDRESSED.match(body) if at and labelled[at] and " these " in body else None
        if found is not None:
            thing = found[1][:_STEM]
            before = f"{given} {title} {body[: found.start(1)]}".lower()
            if thing not in before:
                yield Reference(at, f"says 'these {found[1]}', which another branch introduces")


def _made(branches: Branches, given: str) -> Iterator[Reference]:
    """Branches that go on with what an earlier one has made or chosen ("the trained model")."""
    known, earlier = given.lower(), ""
    for at, (title, content) in enumerate(branches):
        small = content.lower()
        may = at and not words_of(content).isdisjoint(_MAY_BE_MADE)
        for found in _MADE.finditer(small) if may else ():
            if found[0] in known:
                continue
            done, thing = found[1][:_STEM], found[2][:_STEM]
            before = f"{title.lower()} {small[: found.start()]}"
            if thing in earlier and done not in before:
                yield Reference(at, f"says {found[0]!r}, which another branch has made")
                break
        earlier += small


def _credited(branches: Branches, given: str) -> Iterator[Reference]:
    """Branches that ascribe something to somebody as an earlier one has done ("also built by")."""
    for at, (_, content) in enumerate(branches):
        found = _CREDITED.search(content) if "also " in content else None
        name = found[1].strip() if found else ""
        if found and name not in given and any(name in other for _, other in branches[:at]):
            yield Reference(at, f"says {found[0].strip()!r}, whom another branch introduces")


def _coined(branches: Branches, given: str) -> Iterator[Reference]:
    """Branches that use a name of a program which only an earlier one has given to a thing."""
    if not any("`" in content for _, content in branches):
        return
    known = _known(branches, given)
    coined: dict[str, int] = {}
    for at, (_, content) in enumerate(branches):
        for the, name in _CODE.findall(content) if "`" in content else ():
            bare = name.removesuffix("()")
            if bare in known or not (the or _COINED.match(bare)):
                continue
            if (first := coined.setdefault(bare, at)) != at:
                yield Reference(at, f"uses `{bare}`, which another branch introduces", first)


def _named(branches: Branches, given: str) -> Iterator[Reference]:
    """Branches that quote a name which stands as a label inside of an earlier one only."""
    for at, (_, content) in enumerate(branches):
        quotes = at and ('"' in content or "“" in content)
        for found in islice(_QUOTED_NAME.finditer(content), _MAX_POINTERS) if quotes else ():
            name = found[1]
            label = "**" + name
            first = next((n for n in range(at) if label in branches[n][1]), None)
            new = first is not None and label not in content
            if new and name not in _known(branches, given):
                yield Reference(at, f"quotes {name!r}, which another branch introduces", first)
                break


def _numbers(branches: Branches, given: str) -> Iterator[Reference]:
    """Branches that go on with a number of an earlier one, as running sums do."""
    seen: dict[str, int] = {}
    for at, (_, content) in enumerate(branches):
        for number in sorted(set(_NUMBER.findall(content))):
            first = seen.setdefault(number, at)
            if first != at and number not in given and not _ROUND.fullmatch(number):
                yield Reference(at, f"goes on with the number {number}", first)


def _echoed(branches: Branches, given: str) -> Iterator[Reference]:
    """Branches with a thing that goes with one that only an earlier branch has."""
    earlier = given
    for at, (title, content) in enumerate(branches):
        found = ECHOES.search(content) if "呼应" in content else None
        if at and found:
            thing = found[1][-_THING:]
            own = title + content[: found.start()]
            if thing not in given and thing not in own and thing in earlier:
                yield Reference(at, f"goes with {thing!r}, which another branch introduces")
        earlier += content


def _known(branches: Branches, given: str) -> str:
    return "\n".join([given, *(title for title, _ in branches)])


def holds_equation(content: str) -> bool:
    """Whether a text reckons; what stands in code does not count."""
    if not any(map(content.__contains__, _SIGNS)):
        return False
    return _EQUATION.search(_prose(content) if "`" in content else content) is not None


def _prose(content: str) -> str:
    fenced, lines = False, []
    for line in content.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            lines.append(line)
    return _INLINE_CODE.sub("", "\n".join(lines))
