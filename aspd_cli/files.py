"""Files of ours: written whole or not at all, JSON lines by one rule, and digests of content.

A line of a JSONL file ends with "\\n" and with nothing else: U+2028 and its like may stand inside a
JSON string. In a file that is appended to, a last line without its "\\n" was torn by a kill, and
what it held is owed again.
"""

import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Any, NamedTuple

from aspd_cli.errors import DataError

ASSETS = Path(__file__).parent / "assets"
"""Files of the package that are no code."""
EMBEDDED_MODEL = ASSETS / "tiny"
"""The embedded model: `base/`, a serial model, and `adapter/`, which makes it parallel."""


_DEEPEST = 32
"""Lists and objects that an `id` may hold."""
_TOKEN = "[0-9a-f]" * 16
"""The pattern of what makes a temporary name unlike any that a user gives."""


@contextmanager
def write_atomically(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when it is finished and on the disk, or not at all.

    A link stays one: the file that it leads to is written.

    Raises:
        OSError: it cannot be written; what bore the name before is still there.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():  # a device would become a file
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    stem = f".{target.name[:40]}."
    for left in target.parent.glob(f"{escape(stem)}{_TOKEN}.partial"):
        # Its writer was killed if it can be locked.
        with suppress(OSError), left.open("rb") as file:
            _lock(file)
            left.unlink()
    partial = target.with_name(f"{stem}{secrets.token_hex(8)}.partial")
    try:
        with partial.open("xb") as file:
            with suppress(OSError):
                _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, partial)
        os.replace(partial, target)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(partial):
            error.filename = str(path)  # the name that the user knows
        raise
    _settle(target.parent)


def _lock(file: IO[bytes]) -> None:
    """Holds a file until it is closed, or fails at once; Windows holds any open file."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _settle(folder: Path) -> None:
    """Brings the names of a folder to the disk, where the platform can."""
    with suppress(OSError):
        folder_file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(folder_file)
        finally:
            os.close(folder_file)


def write_text(path: Path, text: str) -> None:
    """Writes a whole text file, at once or not at all."""
    with write_atomically(path) as file:
        file.write(text.encode())


def write_jsonl(path: Path, values: Iterable[Any]) -> None:
    """Writes a whole JSONL file, at once or not at all."""
    with write_atomically(path) as file:
        file.writelines(map(json_line, values))


def append_jsonl(file: IO[bytes], value: Any) -> None:
    """Adds one line, so that a kill from now on does not lose it."""
    file.write(json_line(value))
    file.flush()


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def json_line(value: Any) -> bytes:
    """A value as a line; NaN is null, and half a surrogate pair is escaped as JSON can."""
    try:
        text = _ENCODER.encode(value)
    except ValueError:
        text = _ENCODER.encode(json_safe(value))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def json_safe(value: Any) -> Any:
    """`value` with None where JSON has no number: NaN and the infinities."""
    if isinstance(value, dict):
        return {name: json_safe(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class JsonLine(NamedTuple):
    """A line that is not blank."""

    number: int
    """From 1, blank lines counted."""
    value: Any
    problem: str | None = None
    """Why there is no value: `not UTF-8`, `not JSON: ...`."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise ValueError(f"the key {twice!r} occurs twice")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_object)
"""Reads JSON that says one thing: a key that occurs twice is a `ValueError`."""


def json_problem(error: Exception) -> str:
    """Why a text is not JSON to us, from what `DECODER` raised."""
    if isinstance(error, RecursionError):
        return "not JSON: it is nested too deeply"
    if str(error).startswith("Exceeds the limit"):
        return "not JSON: a number in it has too many digits"
    return f"not JSON: {error}"


def check_id(value: Any) -> Any:
    """The `id` of a record, if it can be written as JSON and read by everyone.

    Raises:
        DataError: it cannot; says why.
    """
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise DataError("the `id` is a number of more than 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"the `id` is {value}, which is not a JSON number")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        raise DataError("the `id` contains half of a surrogate pair") from None
    except (ValueError, TypeError, RecursionError):
        raise DataError(f"the `id`, a {type(value).__name__}, cannot be written as JSON") from None
    if text.count("[") + text.count("{") > _DEEPEST and not isinstance(value, str):
        raise DataError("the `id` is nested too deeply")
    return value


def parse_jsonl(lines: Iterable[bytes]) -> Iterator[JsonLine]:
    """The values of lines, as a file opened in binary mode gives them; a BOM is skipped."""
    for number, line in enumerate(lines, start=1):
        if not line.strip(b" \t\r\n\xef\xbb\xbf"):
            continue
        try:
            value = DECODER.decode(line.decode("utf-8-sig"))
        except UnicodeDecodeError:
            yield JsonLine(number, None, "not UTF-8")
        except (ValueError, RecursionError) as error:
            yield JsonLine(number, None, json_problem(error))
        else:
            yield JsonLine(number, value)


def read_jsonl(path: Path, contents: str = "lines") -> Iterator[tuple[int, Any]]:
    """The line number and the value of each line that is not blank.

    Args:
        contents: what the file holds, for a message.

    Raises:
        DataError: the file cannot be read, or a line is not JSON in UTF-8.
    """
    try:
        with path.open("rb") as file:
            for number, value, problem in parse_jsonl(file):
                if problem:
                    raise DataError(f"{path}:{number} is {problem}")
                yield number, value
    except OSError as error:
        raise DataError(f"cannot read the {contents} in {path}: {error.strerror}") from error


def read_json_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is none to read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def content_digest(*parts: str | bytes, size: int = 16) -> bytes:
    """Bytes that stand for what texts say, and for where one ends and the next begins.

    Args:
        size: how many bytes.
    """
    digest = hashlib.blake2b(digest_size=size)
    for number, part in enumerate(parts):
        digest.update(b"\0" if number else b"")
        digest.update(part.encode(errors="surrogatepass") if isinstance(part, str) else part)
    return digest.digest()


def complete_lines(path: Path) -> tuple[list[bytes], int]:
    """The lines of a file that is appended to, and the bytes up to where the next one goes.

    A torn last line is left out of both: `os.truncate(path, end)` drops it, once it is known that
    the file is ours.

    Raises:
        OSError: the file is there, but cannot be read.
    """
    data = path.read_bytes() if path.exists() else b""
    end = data.rfind(b"\n") + 1
    return data[:end].split(b"\n")[:-1], end
