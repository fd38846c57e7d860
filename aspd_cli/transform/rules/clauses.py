"""Clauses: the first clause of a text that writes no spaces, as the title of an item.

A clause is taken whole. One that only says when, where or by what (`通过...，`, `如果...，`)
is left out for the next one; a long one is cut only before a word that joins another clause to it,
or behind its subject. Where no clause can be told there is none.
"""

import re

MAX_WIDE = 24
"""Characters of a clause."""
_LOOKED_AT = 120
_LEAST = 4
"""Characters before a word that joins another clause."""

_BREAK = re.compile(r"[，。；：！？,;:!?\n]|(?=（)|(?<![A-Za-z\d])(?=\()|\s*——?|$")
_ADVERBIAL = re.compile(
    "(?:通过|随着|为了|由于|因为|虽然|尽管|除了|对于|关于|根据|按照|基于|针对|如果|若|要是|假如|一旦|每当|只要|只有|如(?!何|今|果))"
    "|(?:偶尔|紧接着|目前|如今|通常|有时候?|一般来说|总的来说|事实上|实际上|近年来|比如|例如|广义地定义|首先|其次|最后|此外)$"
    "|(?:当|在|从|与|和|对|就).*(?:时候?|中|上|下|里|后|前|间|内|外|边|处|旁|部|方面|期间|来看|而言|来说|相比|情况|未来|角度|领域|过程)$"
    "|.{2,}(?:之?后|之前|以后|的时候|的情况下|时)$"
)
"""A clause that needs another one."""
_CONDITION = re.compile("(?:如果|若|要是|假如)(?!您|你|我|他|她|仍|还|有|没|不)(.{4,})$")
"""What is told of a case, which names the item that is about it."""
_OPENING = re.compile("那么|则|就|也?可以|应该?|需要|(?:您|你|我们)(?:还|也)?(?:可以|应该?|需要)")
_JOINED = re.compile("并且?(?![非不排])|从而|以便|进而|以确保|以避免|因为|但是?")
_PREDICATE = re.compile("可以|能够|可能|应该|需要|必须|将会|会(?!议|员|计)|通常|往往|是(?!否)")
_NO_SUBJECT = re.compile(
    "您|你|我|他|她|它|这|那|在|对|当|从|与|把|让|使|给|请|是|有|要"
    "|.*(?:认为|希望|觉得|以为|知道|表示|提到|[，“《])"
)
_OPEN_END = re.compile(r"[的了着和与或及在对从把被将是有为以于给让使跟向到也都不就、]$")
_PAIRS = (("“", "”"), ("《", "》"), ("「", "」"), ("（", "）"), ("(", ")"), ("[", "]"))
_WORD = re.compile(r"[\w）)\]”》」%+]$")


def clause_of(text: str) -> str:
    """The first clause of a text that stands for itself; empty where there is none."""
    text = text[:_LOOKED_AT]
    first, end = _clause(text, 0)
    if not first or not _ADVERBIAL.match(first):
        return _within(first)
    start = text.find(first)
    second, end = _clause(text, end)
    if not second or _ADVERBIAL.match(second):
        return ""
    if _fits(both := text[start:end]):
        return both
    opening = _OPENING.match(second)
    main = second[opening.end() :] if opening else second
    if not _NO_SUBJECT.match(main) and _fits(main):
        return main
    case = _CONDITION.match(first)
    return case[1] if case and _fits(case[1]) else ""


def _clause(text: str, start: int) -> tuple[str, int]:
    """The clause that begins at `start`, and where it ends."""
    while start < len(text) and (text[start].isspace() or text[start] in "，。；：！？,;:!?—"):
        start += 1
    for found in _BREAK.finditer(text, start):
        clause = text[start : found.start()].rstrip()
        if clause and _WORD.search(clause) and _balanced(clause):
            return clause, found.start()
    return "", len(text)


def _within(clause: str) -> str:
    """The clause if a title has room for it, or what of it can stand alone."""
    if _width(clause) <= MAX_WIDE:
        return clause
    for joint in (_JOINED, _PREDICATE):
        for found in joint.finditer(clause, _LEAST, MAX_WIDE):
            part = clause[: found.start()].rstrip()
            subject = joint is _PREDICATE and (_NO_SUBJECT.match(part) or _width(part) < _LEAST)
            if not subject and _fits(part) and not _OPEN_END.search(part):
                return part
    return ""


def _fits(text: str) -> bool:
    return _width(text) <= MAX_WIDE and _balanced(text)


def _width(text: str) -> float:
    """Characters, of which two that are not wide take the room of one."""
    wide = sum(character >= "\u3000" for character in text)
    return wide + (len(text) - wide) / 2


def _balanced(text: str) -> bool:
    return all(text.count(opening) == text.count(closing) for opening, closing in _PAIRS)
