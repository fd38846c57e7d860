"""Cross references: whether a branch refers to a neighbour that it would not see.

`cross_reference` is the one test, used to propose blocks and to validate them. It looks for words
that point at a neighbour, and for labels, names and numbers that only one of the branches
introduces (`shared_thing`). It reads words, so it errs on the side of finding something: a block
that is refused costs speed, one that is not costs quality.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

from aspd_cli.transform.rules import languages
from aspd_cli.transform.rules.lists import ORDINAL

Branches = Sequence[tuple[str, str]]
"""Title and plain content of each branch of a block."""

MAX_COMPARED = 256
"""Most branches that are compared, each with all others."""
REACH = 20_000
"""Characters, at the beginning and at the end, of the text before a block that are looked at."""
_MAX_POINTERS = 64
"""Most words of one branch that point at things and are looked at."""

_START = re.compile(
    r"\W*(?:then|next|after (?:that|this|which)|afterwards?|subsequently|meanwhile|lastly|finally"
    r"|also(?! (?:known|called))|another|additionally|furthermore|moreover|similarly|likewise"
    r"|in addition|in contrast|by contrast|on the other hand|however|conversely|nevertheless"
    r"|nonetheless|instead|otherwise|thus|therefore|hence|consequently|accordingly|because of that"
    r"|as a (?:result|consequence)|because of this|due to (?:this|that)|for this reason"
    r"|the former(?= (?:is|are|was|were|has|can))|the latter|same|as such|more generally"
    r"|in other words|that is|in particular|(?:the|an) other|others?|and|but|so|or|yet"
    r"|as (?:above|before|well)|plus|again|this time|with (?:this|that|these)|from (?:there|here)"
    r"|at this point|by this time|now|later|eventually"
    r"|once (?:you|the|your|it|this|that|these|they|all|everything)"
    r"|these (?:two|three|four)|suddenly"
    r"|the (?:resulting|remaining|previous|next|following) )\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"\W*(?:it|its|they|their|them|he|she|his|her|this|that|these|those|such|both)\b(?! to\b)",
    re.IGNORECASE,
)
_ALSO = re.compile(r"[^.!?\n]*\b(?:also(?! (?:known|called))\b|(?:too|as well)(?=[.,;]))", re.I)
"""In the first sentence of a branch without a label: what is there besides something else."""
_PARTS = (
    r"(?:steps?|sections?|points?|items?|paragraphs?|examples?|results?|values?|equations?|answers?"
    r"|questions?|lines?|parts?|chapters?|methods?|options?|suggestions?|tips?|cases?|layers?"
    r"|approach(?:es)?|bullets?|terms?|ones?|two)"
)
_ANYWHERE = re.compile(
    r"\b(?:the latter|aforementioned|above-mentioned|(?:all of |all )?the above"
    r"|(?:as|see|the|listed|mentioned|described|discussed|noted|stated|shown|given) "
    r"(?:above|earlier|before|previously)|(?:mentioned|discussed|described|listed) below"
    r"|as (?:mentioned|noted|stated|discussed|described|explained|previously)"
    rf"|(?:the|this|that|its|in|from) previous (?:\w+ )?{_PARTS}"
    r"|(?:preceding|foregoing|last|next|other|following|second|third) "
    r"(?:step|section|point|item|bullet|paragraph|equation|tip|option|method|approach)s?(?= )"
    r"|(?:steps?|sections?|points?|items?|tips?|options?|parts?|equations?|figures?"
    r"|phases?|claims?) "
    r"#?\(?\d+|unlike the (?:others?|first|second|previous)|the other (?:two|three|four|\w+s)"
    r"|this (?:result|step|equation|formula|value|sum)|the same (?:as|process|procedure|steps?|way)"
    r"|repeat (?:the|this|steps?))\b",
    re.IGNORECASE,
)
_EQUATION = re.compile(
    r"[\w)\]}] ?(?:=|≈|\\approx|\\leq?|\\geq?) ?[\w($\\{\[-]|\\\[|\\\(|\\frac|\$\$"
)
_WORD = re.compile(r"[^\W_]+")
_GAP = re.compile(r"[\W_]*")
_AFTER_LABEL = re.compile(r"[^\w\n]*(?:[:*\n]|[-–—](?=\s))[^\w\n]*\s*")
"""What stands between a label and its text; without it the title begins a sentence."""
_MARKER = re.compile(
    r"\s*(?:#{1,6}\s+|\d{1,3}(?:[.)]\s+|[、．]\s*)|[-*+•●▪–]\s+"
    r"|第?[一二三四五六七八九十]{1,3}[、，：．]\s*|[（(][\d一二三四五六七八九十]{1,3}[)）]\s*)?"
)
_HINTS = (
    *("latter", "aforementioned", "above", "earlier", "before", "previous", "below", "mentioned"),
    *(
        "as noted",
        "as stated",
        "as discussed",
        "as described",
        "as explained",
        "preceding",
        "repeat",
    ),
    *("foregoing", "step", "section", "point", "item", "bullet", "paragraph", "equation", "tip"),
    *(
        "option",
        "method",
        "approach",
        "part",
        "figure",
        "phase",
        "claim",
        "unlike the",
        "the other ",
    ),
    *("this result", "this formula", "this value", "this sum", "the same "),
)
"""One of these stands in whatever `_ANYWHERE` finds: looking for them first takes a tenth of it."""


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
        used = spelt & set(_WORD.findall(content)) if spelt else ()
        for name in sorted(used - own) if used else ():
            if name not in known:
                return Reference(at, f"uses {name!r}, which another branch spells out")
        spelt |= own
    return None


def _short_name(branches: Branches, given: str) -> Reference | None:
    """A branch that calls by the last name somebody whom only a sibling has introduced."""

    @cache
    def small() -> frozenset[str]:
        """The words that are written small somewhere: large they name nobody."""
        return frozenset(word for _, text in branches for word in _WORD.findall(text))

    known = _known(branches, given)
    introduced: set[str] = set()
    for at, (_, content) in enumerate(branches):
        full = set(_FULL_NAME.findall(content))
        for name in _LONE_NAME.findall(content):
            known_name = name not in introduced or name in full or name in known
            if not known_name and name.lower() not in small():
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
        pointing = _POINTING.finditer(content) if at and not labelled[at] else ()
        for found in islice(pointing, _MAX_POINTERS):
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


def cross_reference(branches: Branches, given: str = "") -> Reference | None:
    """The first branch that refers to a neighbour; None when none does.

    Args:
        branches: title and plain content of each branch, markers such as "2. **Label**:" included.
        given: what all branches see, the prompt and the text before the block.
    """
    if len(branches) > MAX_COMPARED:
        return Reference(MAX_COMPARED, f"is one of more than {MAX_COMPARED}, too many to compare")
    given = within_reach(given)
    items = [_MARKER.sub("", content, count=1) for _, content in branches]
    ordinals = [ORDINAL.match(item) for item in items]
    if sum(found is not None for found in ordinals) > 1:
        # In a row of ordinals "finally" is one of them.
        items = [
            item[found.end() :] if found else item
            for item, found in zip(items, ordinals, strict=True)
        ]
    other = languages.is_foreign(content for _, content in branches)
    bodies = [_body(title, item) for (title, _), item in zip(branches, items, strict=True)]
    labelled = [body != item for body, item in zip(bodies, items, strict=True)]
    # Where the first item begins with a pronoun too, it stands for what the text before names.
    shared = _PRONOUN.match(bodies[0]) is not None
    for at, ((_, content), body) in enumerate(zip(branches, bodies, strict=True)):
        if at and (found := _START.match(body)):
            return Reference(at, f"begins with {_quote(found[0])}")
        if at and not shared and not labelled[at] and (found := _PRONOUN.match(body)):
            return Reference(at, f"begins with {_quote(found[0])}")
        if at and not labelled[at] and _ALSO.match(body):
            return Reference(at, "says that something is so, too")
        if other and at and (found := languages.START.match(body)):
            return Reference(at, f"begins with {_quote(found[0])}")
        if found := _anywhere(content, other):
            return Reference(at, f"says {_quote(found[0])}")
    equations = [at for at, (_, content) in enumerate(branches) if _holds_equation(content)]
    if len(equations) > 1:
        return Reference(equations[1], "holds an equation, as another branch does")
    return shared_thing(branches, labelled, given)


def within_reach(given: str) -> str:
    """The beginning and the end of a long text, so that many blocks do not read it all again."""
    return given if len(given) <= 2 * REACH else given[:REACH] + "\n" + given[-REACH:]


def _holds_equation(content: str) -> bool:
    marked = "=" in content or "≈" in content or "\\" in content or "$$" in content
    return marked and _EQUATION.search(content) is not None


def _anywhere(content: str, other: bool) -> re.Match[str] | None:
    small = content.lower()
    found = _ANYWHERE.search(content) if any(hint in small for hint in _HINTS) else None
    return found or (languages.ANYWHERE.search(content) if other else None)


def _quote(words: str) -> str:
    return repr(" ".join(words.split()).lower())


def _body(title: str, content: str) -> str:
    """The content, and where it begins with its title as a label, what follows the label."""
    at = 0
    for word in _WORD.findall(title):
        at += len(_GAP.match(content, at)[0])  # type: ignore[index]
        if not content.startswith(word, at):
            return content
        at += len(word)
    after = _AFTER_LABEL.match(content, at)
    return content[after.end() :] if after else content
