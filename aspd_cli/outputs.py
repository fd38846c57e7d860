"""Where a run writes: never where it reads, twice in one place, or where another run writes.

A command names every path that it will read and write, and `check_apart` refuses before anything is
touched. `claim` then holds the output until the run ends; the kernel lets go of it at a kill. What
stands beside an output bears its whole name and an ending (`beside`): no two outputs share it.
"""

import os
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from aspd_cli.errors import DataError, UsageError

STDOUT = Path("-")
"""The path that means standard output, where a command has such an output."""

RECIPE, REJECTED, REPORT = ".recipe.yaml", ".rejected.jsonl", ".report.json"
JOURNAL = ".journal.sqlite"
"""Endings of what stands beside an output."""

_BEGINNING = 4096
"""Bytes of a file in which its mark stands."""
_LOCK = ".aspd.lock"
"""The lock of a directory, in it. That of a file is beside it, with its name before the ending."""


def beside(out: Path, ending: str) -> Path:
    """What stands beside an output: `train.jsonl.report.json` beside `train.jsonl`."""
    return out.with_name(out.name + ending)


def beside_in_0_1(out: Path, ending: str) -> Path | None:
    """What version 0.1 put there: `train.report.json`; None where outputs may have shared it."""
    return out.with_suffix(ending) if out.suffix == ".jsonl" else None


def holds_something(path: Path) -> bool:
    """Whether something would be lost if the path were written."""
    return path.is_dir() or (path.exists() and path.stat().st_size > 0)


def check_file(name: str, path: Path, *, mark: bytes = b"") -> None:
    """Refuses an output that cannot be a file, or is one of something else.

    Args:
        name: of the argument, as the command calls it.
        mark: what a file that we wrote before bears near its beginning; empty: not looked for.

    Raises:
        UsageError: it is a directory, a device or a pipe, or holds something without the mark.
    """
    if path.name in ("", "..") or path.is_dir():
        raise UsageError(f"{name} {path} is a directory; give the name of a file")
    if path.exists() and not path.is_file():
        raise UsageError(f"{name} {path} is not a regular file; give the name of a file")
    if mark and holds_something(path) and not _bears(path, mark):
        raise UsageError(
            f"{path} was not made by aspd, and {name} would replace it; choose another {name}"
        )


def _bears(path: Path, mark: bytes) -> bool:
    """Whether our mark is near the beginning of a file; it is not in one that cannot be read."""
    try:
        with path.open("rb") as file:
            return mark in file.read(_BEGINNING)
    except OSError:
        return False


def check_apart(reads: Mapping[str, str | Path | None], writes: Mapping[str, Path | None]) -> None:
    """Refuses to write what is read, or two things to one place.

    Links, hard links and, where the disk ignores it, upper and lower case make no difference.

    Args:
        reads: argument -> what it names; what is no path here, such as a Hub id, is left out.
        writes: what is written -> its path. The last word names the argument it comes from.

    Raises:
        UsageError: names both, and what to change.
    """
    seen: dict[object, str] = {}
    for name, path in reads.items():
        if path is not None and os.path.exists(path):
            seen[_identity(Path(path))] = name
    for name, path in writes.items():
        if path is None:
            continue
        cure = f"choose another {name.rpartition(' ')[2]}"
        if path == STDOUT:
            raise UsageError(f"{name} cannot be standard output (-); {cure}")
        if (other := seen.setdefault(_identity(path), name)) != name:
            raise UsageError(f"{other} and {name} are the same file, {path}; {cure}")


def same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, which may be missing."""
    return _identity(one) == _identity(other)


def _identity(path: Path) -> object:
    """Equal for two paths to one file."""
    place = os.path.realpath(path)
    with suppress(OSError):
        found = os.stat(place)
        return found.st_dev, found.st_ino
    return unicodedata.normalize("NFC", place).casefold()


@contextmanager
def claim(out: Path, argument: str, *, folder: str | None = None) -> Iterator[None]:
    """Holds an output for this run alone, its directory made where it was missing.

    Args:
        argument: where the output was named, for a message.
        folder: how to call it where it is a directory itself.

    Raises:
        UsageError: another run holds it.
        DataError: nothing can be written there.
    """
    place = Path(os.path.realpath(out))
    where = place if folder else place.parent
    name = _LOCK if folder else f".{os.fsdecode(os.fsencode(place.name)[:200])}{_LOCK}"
    try:
        where.mkdir(parents=True, exist_ok=True)
        lock = _take(where / name)
    except OSError as error:
        raise DataError(
            f"cannot write to the {folder or 'directory'} {where}: {error.strerror}; choose "
            f"another {argument}"
        ) from error
    if lock is None:
        raise UsageError(
            f"another run is writing {out}; wait for its end or choose another {argument}"
        )
    try:
        yield
    finally:
        with suppress(OSError):
            if os.fstat(lock).st_size == 0:  # ours are empty
                (where / name).unlink()
        os.close(lock)


def _take(path: Path) -> int | None:
    """The open lock; None when another process has it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if not _lock(file):
                os.close(file)
                return None
            # The run that had it may have removed it between our two calls.
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _lock(file: int) -> bool:
    """Takes a lock that ends with this process alone; forked workers do not prolong it."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # a file system without locks
            return True
    return True
