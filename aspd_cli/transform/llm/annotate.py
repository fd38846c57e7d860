"""`annotate`: a model returns the structure of an answer, never its text.

It sees the answer as numbered segments and names runs of them. The document is put together here
out of the answer itself, so that its plain text is the answer byte for byte whatever comes back,
and so are its titles (`naming`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from aspd_cli.core.markup import Block, Document, holds_markup
from aspd_cli.endpoint.messages import read_json
from aspd_cli.errors import ReplyError
from aspd_cli.transform.blocks import forks
from aspd_cli.transform.llm.naming import named
from aspd_cli.transform.llm.prompts import fill
from aspd_cli.transform.llm.segments import number

PROMPT = "annotate"
MAX_TITLE = 80
"""Characters of a title above which it is no title."""

_PARTS_SCHEMA = {"type": "array", "items": {"type": "string"}}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"groups": {"type": "array", "items": _PARTS_SCHEMA}},
    "required": ["groups"],
    "additionalProperties": False,
}
"""What a reply looks like, as a JSON schema: a part is a text like "2-3: Rome", for it is written
in half the tokens of an object."""

_GROUPS = ("groups", "blocks")
_PARTS = ("parts", "branches", "items", "group", "block")
_TITLE = ("title", "name", "label")
_FIRST = ("first", "start", "from", "begin")
_LAST = ("last", "end", "to")
_RANGE = ("segments", "range", "segment")
_WRITTEN = re.compile(
    r"\W*(?P<first>\d{1,6})\]?(?:\s*(?:[-–—~,]|to)\s*\[?(?P<last>\d{1,6})\]?)?"
    r"(?:\s*[:：.)|]\s*|\s+(?:[-–—]\s+)?(?!\d+\W*\Z))(?P<title>\S.*)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """One branch to be: a run of segments with its title."""

    title: str
    first: int
    """Number of its first segment, from 1."""
    last: int
    """Number of its last segment."""


def ask_for(question: str, segments: tuple[str, ...]) -> tuple[dict[str, str], ...]:
    """The messages that ask for the structure of an answer."""
    return fill(PROMPT, question=question, segments=number(segments))


def read_document(reply: str, segments: tuple[str, ...], max_branches: int) -> Document:
    """The answer with the structure that a reply names.

    Raises:
        ReplyError: the reply is no structure of this answer; says why.
    """
    parts: list[str | Block] = []
    at = 0
    for run in _runs(read_groups(reply), len(segments)):
        texts = [(part.title, "".join(segments[part.first - 1 : part.last])) for part in run]
        if branches := named(texts):
            parts += ["".join(segments[at : run[0].first - 1]), *forks(branches, max_branches)]
            at = run[-1].last
    return Document((*parts, "".join(segments[at:])))


def read_groups(reply: str) -> list[list[AnswerPart]]:
    """The groups in a reply, in whatever of the usual ways it writes them.

    Raises:
        ReplyError: it holds none, not even an empty list of them.
    """
    value = read_json(reply)
    if isinstance(value, Mapping):
        value = _field(value, _GROUPS, "groups")
    if isinstance(value, str):
        value = read_json(value)
    if not isinstance(value, list):
        raise ReplyError("`groups` is not a list")
    if value and all(
        isinstance(item, str) or (isinstance(item, Mapping) and _has(item, _TITLE))
        for item in value
    ):
        value = [value]  # a single group without its brackets
    return [_group(group) for group in value]


def _group(value: Any) -> list[AnswerPart]:
    if isinstance(value, Mapping):
        value = _field(value, _PARTS, "parts")
    if not isinstance(value, list) or not all(isinstance(part, str | Mapping) for part in value):
        raise ReplyError("a group is not a list of parts")
    return [_part(part) for part in value]


def _part(value: str | Mapping[str, Any]) -> AnswerPart:
    if isinstance(value, Mapping):
        return AnswerPart(_title(_field(value, _TITLE, "title")), *_span(value))
    found = _WRITTEN.fullmatch(value)
    if found is None:
        raise ReplyError(f"{value[:MAX_TITLE]!r} is not a part, such as '2-3: Rome'")
    first = int(found["first"])
    return AnswerPart(_title(found["title"]), first, int(found["last"] or first))


def _title(title: Any) -> str:
    text = " ".join(title.split()).strip(" :：*#") if isinstance(title, str) else ""
    if not text or len(text) > MAX_TITLE or holds_markup(text):
        raise ReplyError(f"{str(title)[:MAX_TITLE]!r} is not a title")
    return text


def _span(part: Mapping[str, Any]) -> tuple[int, int]:
    if _has(part, _FIRST):
        first = _field(part, _FIRST, "first")
        given = [first, _field(part, _LAST, "last") if _has(part, _LAST) else first]
    else:
        given = _field(part, _RANGE, "segments")
        if isinstance(given, Mapping):
            return _span(given)
    numbers = [
        int(digits)
        for item in (given if isinstance(given, list) else [given])
        for digits in re.findall(r"\d{1,6}", str(item))
    ]
    # Three and more are a list of all segments; two are the first and the last one.
    listed = len(numbers) > 2 and any(b != a + 1 for a, b in pairwise(numbers))
    if not numbers or listed:
        raise ReplyError(f"{given!r} is not a range of segments")
    return numbers[0], numbers[-1]


def _runs(groups: list[list[AnswerPart]], count: int) -> list[list[AnswerPart]]:
    """The groups in the order of the answer, each cut where its parts do not follow each other.

    What then stands alone is no block. Raises `ReplyError` for what is no structure at all.
    """
    runs: list[list[AnswerPart]] = []
    for group in groups:
        ordered = sorted(group, key=lambda part: part.first)
        for at, part in enumerate(ordered):
            if not 1 <= part.first <= part.last <= count:
                raise ReplyError(f"there are no segments {part.first} to {part.last}")
            if at and part.first == ordered[at - 1].last + 1:
                runs[-1].append(part)
            else:
                runs.append([part])
    runs.sort(key=lambda run: run[0].first)
    for run, following in pairwise(runs):
        if following[0].first <= run[-1].last:
            raise ReplyError(f"segment {following[0].first} is in two parts")
    return [run for run in runs if len(run) > 1]


def _has(value: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return any(name in value for name in names)


def _field(value: Mapping[str, Any], names: tuple[str, ...], wanted: str) -> Any:
    for name in names:
        if name in value:
            return value[name]
    raise ReplyError(f"no `{wanted}` in {str(value)[:60]}")
