"""Programs that no fence marks: lines from the first statement to the last."""

import re
from collections.abc import Container, Iterator

_STATEMENT = re.compile(
    r"#!/|#include\b|(?:from [\w.]+ )?import [\w.*{, ]+;?$|(?:async )?def \w+\(.*:$"
    r"|class \w+.*[:{]$"
    r"|(?:public|private|protected|static|const|let|var|int|void|char|float|double|function|func|fn"
    r"|auto|struct|using|package|fun|val)\s.*[{;(),]$|return\b.*;$|[})\]]+[;,)]*$|\} ?else\b.*\{$"
    r"|(?:if|for|while|switch)\s?\(.*\{?$|[\w.\[\]\"']+\s*[-+*]?=\s*[^=\s].*[;({\[]$"
    r"|[\w.]+\s=\s[\w.]+\(.*\)$|[\w.]+\(.*\);$|print\(.*\)$|SELECT\b.*|\"\"\"|'''"
    r"|@[\w.]+(?:\(.*\))?$"
)
"""Lines that are code whatever stands around them."""
_LAST = frozenset("({;})],:[\"'")
_FIRST = ("#!", "#include", "from ", "import ", "SELECT", "@", "print(", '"""', "'''")
"""How the lines end or begin that may be code: looking first is quicker."""
_OPENS = re.compile(r"#!/|#include\b|(?:from [\w.]+ )?import\b|(?:async )?def\b|class\b")
_MAX_GAP = 12
"""Most lines between two statements of one program."""
_LEAST = 3
"""Statements of a program; one less where it begins as programs begin."""


def programs(bodies: list[str], taken: Container[int]) -> Iterator[int]:
    """The lines of programs without a fence.

    Args:
        bodies: lines without indentation.
        taken: lines that are known to be code, or anything else that is no prose.
    """
    run: list[int] = []
    for number, body in enumerate(bodies):
        if not body or (body[-1] not in _LAST and not body.startswith(_FIRST)):
            continue
        if number in taken or not _STATEMENT.match(body):
            continue
        if run and number - run[-1] > _MAX_GAP:
            yield from _span(run, bodies)
            run = []
        run.append(number)
    if run:
        yield from _span(run, bodies)


def _span(run: list[int], bodies: list[str]) -> range:
    opens = any(_OPENS.match(bodies[number]) for number in run)
    whole = len(run) >= _LEAST - opens
    return range(run[0], run[-1] + 1) if whole else range(0)
