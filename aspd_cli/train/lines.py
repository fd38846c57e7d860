"""The lines of a file of training records, and why some of them are none."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aspd_cli.files import JsonLine, parse_jsonl
from aspd_cli.sources import HEAD, kind_of
from aspd_cli.unzipped import unpacked


def read_lines(path: Path) -> Iterator[JsonLine]:
    """Every line of a file, packed or not, that is not blank; its problem if it is no record.

    Nothing comes out of a file that is no JSONL, but a JSON array, CSV, Parquet or Arrow.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as raw:
        kind = kind_of(raw.peek(HEAD)[:HEAD])
        packed = unpacked(raw, kind) if kind in ("gzip", "zstd") else None
        file = io.BufferedReader(packed) if packed else raw
        if kind_of(file.peek(HEAD)[:HEAD]) != "lines":
            return
        number = 0
        for number, value, problem in parse_jsonl(file):
            yield JsonLine(number, value, problem or _problem(value))
        if packed and packed.broken:
            yield JsonLine(number + 1, None, f"unreadable, as is all that follows: {packed.broken}")


def _problem(value: Any) -> str | None:
    if value is None:
        return None  # a record without fields
    if not isinstance(value, dict):
        return "not a JSON object with `prompt` and `completion`"
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "not text: it contains half of a surrogate pair"
    except RecursionError:
        return "not JSON: it is nested too deeply"
    return None
