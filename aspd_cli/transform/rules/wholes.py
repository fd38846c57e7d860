"""Wholes: items that speak of all the others, and items that share out one thing among them.

A section that chooses among its siblings, compares them or concludes from them is no branch
(`sums_up`). Shares of one whole, which must add up, are no block (`shared_budget`).
"""

import re
from collections.abc import Iterator, Sequence

from aspd_cli.transform.rules import english, languages
from aspd_cli.transform.rules.processes import are_headed
from aspd_cli.transform.rules.shared_things import Branches, Reference

_INNER_LABEL = re.compile(
    r"\*\*([^*\n]{3,48}?):?\*\*"
    r"|(?m:^)[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]+([A-Z][\w. +#-]{2,40}):[ \t]"
)
_CAPITAL = re.compile(r"\b[A-Z]\w+")
_MARKED = 16
"""Characters that may stand around a title."""
_MAX_LABELS = 64
"""Labels inside of one branch that are looked at."""
_LEAST_NAMED = 2
"""So many labels of siblings make a branch speak about them."""
SHARES = "shares of one whole"
_DIGIT = re.compile(r"\d")
_SHARE = re.compile(
    r"(?<![\w.])(\d{1,3}(?:\.\d+)?) ?(%|percent\b|points?\b|marks?\b|pts\b|％|分(?![钟之])"
    r"|Prozent\b|pour cent|por ciento|Punkte\b)"
)
_LEAST_SHARES = 3
_WHOLE = (95, 105)
_TOTAL = re.compile(r"\d{2,4}")

_SPEAKS = re.compile(
    r"(?:说|问|答|喊|回应)道?\W*$|\b(?:sa(?:id|ys)|ask(?:ed|s)|repli(?:ed|es)|answer(?:ed|s))\W*$"
)
"""The end of what introduces somebody's words."""

_WEIGHS = re.compile(
    r"\W*(?:(?:an?|the) )?(?:(?:more )?(?:balanced|middle|combined)"
    r" (?:approach|view|perspective|ground|way|path|solution)"
    r"|(?:finding|striking|seeking|achieving) (?:an? |the )?(?:right )?(?:balance|middle)"
    r"|compromise\W*$|(?:\w+ )?conclusions?\b"
    r"|synthesis\W*$|(?:the )?(?:interplay|interconnection)\b"
    r"|combin(?:ing|ation of) (?:both|the two|them|all)\b)"
    r"|\W*(?:ultimately|in the end|all in all|overall|in (?:short|summary|conclusion|essence))\b",
    re.IGNORECASE,
)
"""How the last of several begins that weighs the others, or is made of them."""
_RECKONS = re.compile(
    r"\W*(?:calculat|comput)(?:ing|ion of)\b|.{0,40}\bcalculations?(?:\W*$| (?:of|for)\b)", re.I
)
"""The title of a later item that reckons with what the others say."""
_COMES_OF = re.compile(
    r"\W*(?:the )?(?:expected |potential |overall |anticipated )?"
    r"(?:impacts?|outcomes?|results?|benefits)\W*$",
    re.IGNORECASE,
)
_SOLUTION = re.compile(r"\b(?:solution|approach|intervention|implementation|proposal)s?\b", re.I)
"""What stands before a section of which it tells what comes."""
_SUMMED = re.compile(
    r"[.!?][*\"”)]*\s+(?:all (?:of )?|together, |by (?:\w+ )?)?(?:these|those) (?:\w+ )?"
    r"(mechanisms|strategies|steps|methods|approaches|factors|tips|techniques|measures|practices"
    r"|examples|elements|principles|aspects|options|challenges|differences|benefits|suggestions)\b",
    re.IGNORECASE,
)
"""How a later sentence of the last of several speaks of all of them."""
_TIME = re.compile(r"(?<![\d.-])(\d{1,3})(?: ?|-)(minutes?|mins?|hours?|分钟|小时|days?|weeks?)")
_TIME_WITHIN, _TOLD_WITHIN = 60, 300
"""Characters of an item in which its time stands, and of what is before in which their sum does."""


def sums_up(branches: Branches, form: str, given: str) -> Iterator[Reference]:
    """The sections that are made of what their siblings say.

    Args:
        given: what all branches see.
    """
    last = len(branches) - 1
    if _says(branches[last][0], english.RESULT, languages.RESULT):
        yield Reference(last, "is what the others lead to", alone=True)
    planned = [at for at, (title, _) in enumerate(branches) if english.PLANNED.match(title)]
    if planned and are_headed(*zip(*branches, strict=True)):
        for at in planned:
            yield Reference(at, "holds for the others", alone=True)
    for at in range(last, 0, -1):
        if not _says(branches[at][0], _WEIGHS, languages.WEIGHS):
            break
        yield Reference(at, "weighs the others", alone=True)
    for at, (title, _) in enumerate(branches):
        if at and _RECKONS.match(title):
            yield Reference(at, "reckons with the others", alone=True)
    title, content = branches[last]
    if found := _SUMMED.search(content) or (
        not content.isascii() and languages.SUMMED.search(content)
    ):
        own = f"{title}{content[: found.start()]}".lower()
        if "\n" not in content.strip() and (found.lastindex is None or found[1][:-1] not in own):
            yield Reference(last, "speaks of all the others", alone=True)
    if form != "sections":
        return
    if _COMES_OF.match(title) and any(_SOLUTION.search(other) for other, _ in branches[:last]):
        yield Reference(last, "tells what comes of the others", alone=True)
    named = [
        at
        for at, (title, _) in enumerate(branches)
        if _says(title, english.CHOOSES, languages.CHOOSES)
    ]
    if len(named) <= max(1, len(branches) / 3):
        for at in named:
            yield Reference(at, "sums up the others", alone=True)
    owners = _labels(branches, given)
    for at, (_, content) in enumerate(branches) if owners else ():
        seen = set()
        for found in _CAPITAL.finditer(content):
            for label, owner in owners.get(found[0], ()):
                if owner != at and content.startswith(label, found.start()):
                    seen.add(label)
        if len(seen) >= _LEAST_NAMED:
            reason = f"speaks of {', '.join(map(repr, sorted(seen)[:2]))} in other branches"
            yield Reference(at, reason, alone=True)


def _says(title: str, own: re.Pattern[str], others: re.Pattern[str]) -> bool:
    return bool(own.match(title) or (not title.isascii() and others.match(title)))


def _labels(branches: Branches, given: str) -> dict[str, list[tuple[str, int]]]:
    """Labels that stand inside of one branch only, by their first words."""
    owner: dict[str, int | None] = {}
    titles = "\n".join(title for title, _ in branches)
    for at, (title, content) in enumerate(branches):
        for count, found in enumerate(_INNER_LABEL.finditer(content, len(title))):
            if count == _MAX_LABELS:
                break
            label = (found[1] or found[2]).strip()
            owner[label] = at if owner.get(label, at) == at else None
    out: dict[str, list[tuple[str, int]]] = {}
    for label, one in owner.items():
        word = _CAPITAL.match(label)
        name = word and (" " in label or any(map(str.isupper, label[1:])) or len(label) > 3)
        if one is not None and word and name and label not in titles and label not in given:
            out.setdefault(word[0], []).append((label, one))
    return out


def speak_together(titles: Sequence[str]) -> str | None:
    """Why the items are the lines of a conversation; None when they are not."""
    speaking = sum(_SPEAKS.search(title) is not None for title in titles)
    return "lines of a conversation" if speaking > 1 and 2 * speaking >= len(titles) else None


def _fills_time(contents: Sequence[str], given: str) -> bool:
    """Whether the times with which the items begin add up to one that is told before them."""
    found: list[re.Match[str]] = []
    for content in contents:
        if (time := _TIME.search(content, 0, _TIME_WITHIN)) is None:
            return False
        found.append(time)
    if len({time[2].rstrip("s") for time in found}) > 1:
        return False
    unit, told = found[0][2].rstrip("s"), _TIME.findall(given[-_TOLD_WITHIN:])
    return (str(sum(int(time[1]) for time in found)), unit) in [(n, u.rstrip("s")) for n, u in told]


def shared_budget(contents: Sequence[str], given: str) -> str | None:
    """Why the items are shares of one whole; None when they are not."""
    if english.TOTAL.search(given):
        counting = sum(_DIGIT.search(content, _MARKED) is not None for content in contents)
        if 2 * counting > len(contents):
            return SHARES
    if _fills_time(contents, given):
        return SHARES
    shares: list[list[tuple[str, str]]] = []
    for content in contents:
        shares.append(_SHARE.findall(content))
        if len(shares[-1]) != 1:
            return None
    if len(shares) < _LEAST_SHARES:
        return None
    if len({unit.rstrip("s") for [(_, unit)] in shares}) > 1:
        return None
    total = sum(float(share) for [(share, _)] in shares)
    whole = _WHOLE[0] <= total <= _WHOLE[1] or str(round(total)) in _TOTAL.findall(given[-2000:])
    return SHARES if whole else None
