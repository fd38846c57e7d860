"""Values of an input: JSONL, a JSON array, CSV, Parquet or Arrow, packed or not; or a dataset.

What a path means, `aspd_cli.sources` tells; `-` is standard input. All readers stream: memory holds
one value, one batch of rows, or one chunk of an array.
"""

import csv
import io
import json
import logging
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from aspd_cli.errors import DataError
from aspd_cli.files import DECODER, json_problem, parse_jsonl
from aspd_cli.sources import (
    HEAD,
    DatasetName,
    Kind,
    dataset_name,
    delimiter_of,
    kind_of,
    open_dataset,
)
from aspd_cli.unzipped import Unclosed, Unpacked, unpacked

STDIN = Path("-")
"""The path that means standard input."""

_CHUNK = 1 << 16
_ROWS = 256


def read_dataset(name: DatasetName) -> Iterator[Any]:
    """All values of a dataset in order, one in memory at a time.

    Raises:
        DataError: there is no such dataset, config or split, or the Hub cannot be reached.
    """
    from datasets import disable_progress_bars

    disable_progress_bars()
    # What it tells of its retries would hide the one sentence that matters.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        yield from open_dataset(name, streaming=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(". ")
        where = "" if name.is_local else " from the Hub (is there a network?)"
        raise DataError(f"cannot read the dataset {name}{where}: {reason}") from error


@dataclass(frozen=True, slots=True)
class Raw:
    """One value of a file, or why there is none."""

    line: int
    """Line on which it begins, from 1; the row, from 1, in a Parquet file or a dataset."""
    value: Any
    problem: str | None = None


def read_values(path: Path) -> Iterator[Raw]:
    """All values of a file, or of a dataset of the Hub, in order.

    Raises:
        DataError: it cannot be read at all.
    """
    if path != STDIN and (name := dataset_name(path)):
        yield from (Raw(row, value) for row, value in enumerate(read_dataset(name), start=1))
        return
    try:
        with ExitStack() as stack:
            file = sys.stdin.buffer if path == STDIN else stack.enter_context(path.open("rb"))
            yield from values_in(file)
    except OSError as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot read {_name(path)}: {reason}") from error


def _name(path: Path) -> str:
    return "standard input" if path == STDIN else str(path)


def values_in(source: Any) -> Iterator[Raw]:
    """All values of an open binary file, in order.

    Raises:
        DataError, OSError: it cannot be read at all.
    """
    file = io.BufferedReader(Unclosed(source))
    head = file.peek(HEAD)[:HEAD]
    kind = kind_of(head)
    if kind in ("gzip", "zstd"):
        yield from _unpacked(unpacked(file, kind))
    elif kind in ("parquet", "arrow"):
        # Parquet is read from its end, so what cannot seek cheaply is spooled.
        if not source.seekable():
            with tempfile.TemporaryFile() as spool:
                shutil.copyfileobj(file, spool)
                yield from _rows(spool, kind)
        else:
            yield from _rows(source, kind)
    elif kind == "array":
        yield from _array(io.TextIOWrapper(file, encoding="utf-8-sig"))
    elif kind == "table":
        yield from read_table(file, delimiter_of(head) or ",")
    else:
        yield from (Raw(*line) for line in parse_jsonl(file))


def _unpacked(source: Unpacked) -> Iterator[Raw]:
    """What stands before a break, and then the break."""
    last: Raw | None = None
    for raw in values_in(source):
        if last is not None:
            yield last
        last = raw
    if source.broken is None:
        if last is not None:
            yield last
        return
    if last is None:
        raise OSError(source.broken)
    if last.problem is None:
        yield last
    line = last.line + (last.problem is None)  # the last line was torn by the break
    yield Raw(line, None, f"unreadable, as is all that follows: {source.broken}")


def read_table(file: IO[bytes], delimiter: str) -> Iterator[Raw]:
    """The rows of a table as objects with its columns; an empty field is null."""
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    csv.field_size_limit(sys.maxsize)
    names = next(rows)
    line = rows.line_num + 1
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield Raw(line, None, f"not CSV, nor is what comes after it read: {error}")
            return
        if row is None:
            return
        if len(row) > len(names):
            yield Raw(line, None, f"not a row of the table: {len(row)} fields for {len(names)}")
        elif any("\udc80" <= character <= "\udcff" for field in row for character in field):
            yield Raw(line, None, "not UTF-8")
        elif row:
            yield Raw(line, {name: field or None for name, field in zip(names, row, strict=False)})
        line = rows.line_num + 1


def _array(file: io.TextIOWrapper) -> Iterator[Raw]:
    """The elements of a JSON array, decoded one by one; behind a broken one nothing is found."""
    text, line, ended = "", 1, False

    def more() -> None:
        nonlocal text, ended
        # As much again as there is: a long element is not tried once a chunk.
        data = file.read(max(_CHUNK, len(text)))
        ended, text = not data, text + data

    def skip(characters: str) -> None:
        """Drops blanks and `characters` from the front."""
        nonlocal text, line
        while True:
            rest = text.lstrip(" \t\r\n" + characters)
            line += text.count("\n", 0, len(text) - len(rest))
            text = rest
            if text or ended:
                return
            more()

    try:
        skip("")
        text = text.removeprefix("[")
        while True:
            skip(",")
            if text.startswith("]"):
                return
            try:
                value, end = DECODER.raw_decode(text)
                # A number at the end of the text may go on in the next chunk.
                if end == len(text) and not ended:
                    more()
                    continue
                problem = None
            except json.JSONDecodeError as error:
                if not ended:
                    more()
                    continue
                yield Raw(line, None, f"not JSON, nor is what comes after it read: {error}")
                return
            except (ValueError, RecursionError) as error:  # its end can be found all the same
                value, end, problem = None, _end(text), json_problem(error)
                if not end and not ended:
                    more()
                    continue
                end = end or len(text)
            yield Raw(line, value, problem)
            line += text.count("\n", 0, end)
            text = text[end:]
    except UnicodeDecodeError:
        yield Raw(line, None, "not UTF-8, nor is what comes after it read")


_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{}]', re.DOTALL)


def _end(text: str) -> int:
    """Where the first array or object of `text` ends; 0 if it does not."""
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        if found[0] == '"':  # a string without an end
            return 0
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth <= 0:
            return found.end()
    return 0


def _rows(file: IO[bytes], kind: Kind) -> Iterator[Raw]:
    import pyarrow  # type: ignore[import-untyped]

    row = 0
    try:
        for batch in _batches(file, kind):
            for at in range(batch.num_rows):
                row += 1
                try:
                    [value] = batch.slice(at, 1).to_pylist()
                except (ValueError, OverflowError, pyarrow.ArrowException) as error:
                    yield Raw(row, None, f"not readable: {error}")
                else:
                    yield Raw(row, value)
    except (pyarrow.ArrowException, OSError) as error:
        if not row:
            raise DataError(f"cannot read the {kind.capitalize()} file: {error}") from error
        yield Raw(row + 1, None, f"unreadable, as is all that follows: {error}")


def _batches(file: IO[bytes], kind: Kind) -> Iterator[Any]:
    """Batches of rows: of a Parquet file, of an Arrow file or of an Arrow stream."""
    import pyarrow.ipc  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    file.seek(0)
    if kind == "parquet":
        yield from pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=_ROWS)
        return
    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    if is_file:
        reader = pyarrow.ipc.open_file(file)
        yield from (reader.get_batch(at) for at in range(reader.num_record_batches))
    else:
        yield from pyarrow.ipc.open_stream(file)
