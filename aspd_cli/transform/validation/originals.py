"""The source of training data: each of its records is there once, in order, with its own words."""

import json
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from aspd_cli.errors import DataError
from aspd_cli.files import content_digest
from aspd_cli.transform.io.readers import STDIN
from aspd_cli.transform.io.records import Record, read_records
from aspd_cli.transform.validation.findings import Finding, around

_DIGEST = 16


class Originals:
    """The answers of a file by the ids that `aspd transform` gives its records.

    Held are the id, line and digest of each; texts are read again where one differs.

    Args:
        facts: how much of the file was transformed: `limit` and `part`, as OUT's settings say.

    Raises:
        DataError: the file cannot be read, or is in no dialect that is known.
    """

    def __init__(self, path: Path, dialect: str, facts: Mapping[str, Any] | None = None) -> None:
        self._path, self._dialect = path, dialect
        found = (facts or {}).get("part")
        self._part = range(*found) if isinstance(found, list) and len(found) == 2 else None
        self._limit = (facts or {}).get("limit")
        self._places: dict[str, list[int]] = {}
        self._names: list[str] = []
        self._lines = array("q")
        self._digests = bytearray()
        for record in self._records():
            name = _name(record.id)
            self._places.setdefault(name, []).append(len(self._names))
            self._names.append(name)
            self._lines.append(record.line)
            self._digests += content_digest(record.example.answer, size=_DIGEST)
        self._used = bytearray(len(self._names))
        self._order = array("q")
        """Places in the order in which they were met, and the lines where."""
        self._met = array("q")
        self._again: Iterator[tuple[int, str]] = iter(())
        self._at = -1

    def _records(self) -> Iterator[Record]:
        records = read_records(self._path, self._dialect, part=self._part)
        for record in islice(records, self._limit):
            if isinstance(record, Record):
                yield record

    def compare(self, row: Mapping[str, Any], line: int, text: str) -> Finding | None:
        """What is wrong with a row as the one of its source record; None when nothing is.

        Where several source records share an id, it is that with its answer.

        Args:
            text: the plain text of the row.
        """
        if "id" not in row:
            why = "the record has no id, so its source answer cannot be found"
            return Finding(line, "raw", why)
        name = row["id"]
        places = self._places.get(_name(name))
        if places is None:
            return Finding(line, "raw", f"there is no source answer with the id {name!r}")
        left = [place for place in places if not self._used[place]]
        if not left:
            often = "" if len(places) == 1 else f" {len(places)} times"
            why = f"the id {name!r} comes once more than in the source, which has it{often}"
            return Finding(line, "doubled", why)
        wanted = content_digest(text, size=_DIGEST)
        same = (place for place in left if self._digest(place) == wanted)
        place = next(same, left[0])
        self._used[place] = True
        self._order.append(place)
        self._met.append(line)
        if self._digest(place) == wanted:
            return None
        why = "the plain text differs from the source answer"
        answer = self._answer(place)
        if answer is None:
            return Finding(line, "raw", why)
        at, before = _first_change(answer, text)
        return Finding(line, "raw", f'{why}, which has "{before}"', excerpt=around(text, at))

    def _digest(self, place: int) -> bytes:
        return bytes(self._digests[place * _DIGEST : (place + 1) * _DIGEST])

    def _answer(self, place: int) -> str | None:
        """The answer at a place; None where the source can be read only once, or is read on."""
        if self._path == STDIN:
            return None
        if self._at < 0:
            self._again = enumerate(record.example.answer for record in self._records())
        while self._at < place:
            self._at, answer = next(self._again)
            if self._at == place:
                return answer
        return None

    def left(self) -> Iterator[Finding]:
        """What can be told only at the end: records out of order, and those that are lost."""
        kept = _longest_rise(self._order)
        for at, (place, line) in enumerate(zip(self._order, self._met, strict=True)):
            if at not in kept:
                why = f"out of order: it is line {self._lines[place]} of {self._path}"
                yield Finding(line, "order", why)
        for place, used in enumerate(self._used):
            if not used:
                where = f"line {self._lines[place]} of {self._path}"
                yield Finding(None, "lost", f"{where} (id {self._names[place]}) has no record")


def open_originals(
    path: Path | None, dialect: str, facts: Mapping[str, Any] | None = None
) -> Originals | None:
    """The source at `path`; None without one.

    Raises:
        DataError: as `Originals`; the sentence names the flag.
    """
    if path is None:
        return None
    try:
        return Originals(path, dialect, facts)
    except DataError as error:
        raise DataError(f"--against: {error}") from None


def _name(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _first_change(before: str, after: str) -> tuple[int, str]:
    """Where two texts begin to differ, and what the first one has there."""
    pairs = enumerate(zip(before, after, strict=False))
    at = next((at for at, (a, b) in pairs if a != b), min(len(before), len(after)))
    return at, around(before, at)


def _longest_rise(places: "array[int]") -> set[int]:
    """The indices of a longest rising subsequence: the fewest others would have to move."""
    if all(a < b for a, b in pairwise(places)):
        return set(range(len(places)))
    ends: list[int] = []  # of the rises of each length, the smallest last place
    last: list[int] = []  # and the index where it stands
    before = array("q")
    for at, place in enumerate(places):
        length = bisect_left(ends, place)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [place]
        last[length : length + 1] = [at]
    kept, at = set[int](), last[-1] if last else -1
    while at >= 0:
        kept.add(at)
        at = before[at]
    return kept
