"""Segments: an answer cut into the pieces that a model may group, by their numbers alone.

A heading, a list item, a paragraph, a table and a code fence is one segment each; where a paragraph
or an item is long, each of its sentences. What stands between two segments, blank lines and rules,
belongs to the one before, so that all segments together are the answer byte for byte.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from aspd_cli.transform.rules.lists import LABEL
from aspd_cli.transform.rules.markdown import Kind, Line, cut_lines

LONG = 400
"""Bytes (UTF-8) above which a segment of prose is cut into its sentences."""

_ENDS_LINE = re.compile(r"[.!?:;。！？：；…][\"”’'»)\]*_」』）]*$")
_SENTENCE = re.compile(
    r"(?<=[.!?…])[\"”’'»)\]*_]*\s+(?=[\"“‘'«(\[*_]*[^\W_a-z])"  # Latin scripts
    r"|(?<=[。！？；…])[\"”’」』）]*\s*"  # Chinese and Japanese put no space behind
)
_NOT_AN_END = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|No|Fig|vs|cf|ca|approx|e\.g|i\.e|etc)|\b[A-Z]|^\W*\d{1,3})"
    r"\.\s*$"
)
"""What a full stop after an abbreviation, an initial or an item's number looks like."""


def cut_segments(answer: str) -> tuple[str, ...]:
    """The segments of `answer`, in order; `"".join` of them is `answer`."""
    lines = cut_lines(answer)
    starts = [line.start for at, line in enumerate(lines) if at and _begins(lines, at)]
    # What stands before the first words belongs to them.
    words = next((line.start for line in lines if line.text), 0)
    starts = [0, *(start for start in starts if start > words), len(answer)]
    cut = (answer[low:high] for low, high in pairwise(starts))
    return tuple(piece for segment in cut for piece in _sentences(segment) if piece)


def _begins(lines: list[Line], at: int) -> bool:
    """Whether a segment begins with the line."""
    line, before = lines[at], lines[at - 1]
    if line.kind in (Kind.BLANK, Kind.RULE):
        return False
    if line.kind in (Kind.CODE, Kind.TABLE, Kind.VERBATIM):
        return before.kind is not line.kind
    if line.kind is not Kind.TEXT:
        return True
    if before.kind not in (Kind.TEXT, Kind.NUMBERED, Kind.BULLET):
        return True
    # A line that goes on with the one before is no piece of its own.
    return _ENDS_LINE.search(before.text) is not None or LABEL.match(line.text) is not None


def _sentences(segment: str) -> Iterator[str]:
    """The segment, or its sentences where it is long prose."""
    text = segment.lstrip()
    if (
        len(segment.encode()) <= LONG
        or text.startswith(("```", "~~~", "|"))
        or segment.count("|") > 4
    ):
        yield segment
        return
    at, last = 0, len(segment.rstrip())
    for found in _SENTENCE.finditer(segment):
        end = found.end()
        if not segment[at:end].strip() or end >= last:
            continue
        if _NOT_AN_END.search(segment, at, end):
            continue
        yield segment[at:end]
        at = end
    yield segment[at:]


def number(segments: tuple[str, ...]) -> str:
    """The segments as a model reads them: each behind its number in brackets, from 1."""
    shown = (segment.strip("\r\n").rstrip() for segment in segments)
    return "\n".join(f"[{n}] {segment}" for n, segment in enumerate(shown, start=1))
