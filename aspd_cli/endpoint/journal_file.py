"""The file of a journal: whose it is, who may read it, and what goes wrong with it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from aspd_cli.errors import DataError, UsageError

MARK = 0x41535044
"""ASPD: tells a journal from other SQLite files."""


@contextmanager
def told_errors(path: Path) -> Iterator[None]:
    """What SQLite and the disk complain of, as a sentence about the journal at `path`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UsageError(
                f"another run is writing {path}; wait for it or choose another output"
            ) from error
        raise DataError(f"cannot use the journal {path}: {error}") from error
    except OSError as error:
        raise DataError(f"cannot use the journal {path}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise DataError(
            f"{path} is not a journal of aspd ({error}); choose another output"
        ) from error


def check_mark(file: sqlite3.Connection) -> None:
    if (
        file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        and file.execute("PRAGMA application_id").fetchone()[0] != MARK
    ):
        raise sqlite3.DatabaseError("it belongs to another program")


def keep_private(path: Path) -> None:
    """Lets only its owner read a journal of ours, whatever mode it had.

    SQLite gives the files that it keeps beside a journal the mode of the journal.
    """
    for each in _files(path):
        with suppress(FileNotFoundError, PermissionError):  # it is another user's
            each.chmod(0o600)


def _files(path: Path) -> list[Path]:
    """A journal, and what SQLite keeps beside it."""
    return [path, *(path.with_name(f"{path.name}-{end}") for end in ("wal", "shm"))]


def remove_journal(path: Path) -> None:
    """Removes the journal and what SQLite keeps beside it, for a run that starts anew.

    Raises:
        DataError: it cannot be removed, or is no journal.
        UsageError: another run holds it.
    """
    if not path.exists():
        return
    with told_errors(path), closing(sqlite3.connect(path, timeout=1)) as file:
        check_mark(file)
    for each in _files(path):
        try:
            each.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"cannot delete the journal {path}: {error.strerror}") from error
