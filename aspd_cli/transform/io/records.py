"""The records of an input: conversations to transform, and what is none with the reason why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from aspd_cli.core.markup import Document
from aspd_cli.errors import DataError
from aspd_cli.files import check_id
from aspd_cli.safe_text import excerpt
from aspd_cli.transform.io.formats import DIALECTS, SourceRecord, detect, read_example
from aspd_cli.transform.io.readers import Raw, read_values

LOOKED_AT = 100
"""Values at the head of a file of which one must fit a dialect."""


@dataclass(frozen=True, slots=True)
class Record:
    """One conversation of an input file."""

    index: int
    """Which value of the file it is, from 0, unreadable ones counted."""
    line: int
    """Where it begins, from 1."""
    id: Any
    """The record's own `id`; its index in a file whose records have none."""
    example: SourceRecord
    document: Document | None = None
    """Its answer as it was written with markup, where it was."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A value that holds no conversation, and why."""

    line: int
    """Where it begins, from 1."""
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return {"line": self.line, "reason": self.reason}


def read_records(
    path: Path, dialect: str = "auto", *, part: range | None = None
) -> Iterator[Record | Rejected]:
    """Every value of `path` exactly once and in order.

    Args:
        dialect: one of `DIALECTS`, or "auto": that of the first value that fits one.
        part: which values come out, by their index; the same of each as without it. None: all.

    Raises:
        DataError: the file cannot be read, is empty, or its dialect is unknown or ambiguous.
    """
    values = read_values(path)
    head = list(islice(values, LOOKED_AT))
    name = path if path.name != "-" else "standard input"
    if not head:
        raise DataError(f"{name} is empty; there is nothing to transform")
    if dialect == "auto":
        try:
            dialect = find_dialect(head)
        except DataError as error:
            raise DataError(f"{name}: {error}") from None
    # One type of id in all of a file: readers of JSON lines take no two in a column.
    named = any(isinstance(raw.value, Mapping) and "id" in raw.value for raw in head)
    for index, raw in enumerate(chain(head, values)):
        if part is not None and index not in part:
            if index >= part.stop:
                return
            continue
        try:
            if raw.problem is not None:
                raise DataError(raw.problem)
            example = read_example(raw.value, dialect)
            identity = check_id(raw.value.get("id")) if named else index
        except DataError as error:
            yield Rejected(raw.line, str(error))
        else:
            yield Record(index, raw.line, identity, example)


def find_dialect(head: list[Raw]) -> str:
    """The dialect of the first value that fits one.

    Raises:
        DataError: none does, or it fits several.
    """
    found = detect(raw.value for raw in head)
    if found is None:
        raise DataError(f"unrecognised record format: {_looks_like(head)}")
    return found


def _looks_like(head: list[Raw]) -> str:
    """What was found instead of records, and what was wanted."""
    wanted = "; ".join(", ".join(dialect.fields) for dialect in DIALECTS.values())
    first = head[0]
    if first.problem is not None:
        seen = f"line {first.line} is {first.problem}"
    elif isinstance(first.value, Mapping):
        seen = f"the first record has the fields {excerpt(', '.join(map(str, first.value)))}"
    else:
        seen = f"line {first.line} is not a JSON object"
    return f"{seen}; a record needs the fields of one of: {wanted}"
