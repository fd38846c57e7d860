"""The journal: every reply that was paid for, in one SQLite file beside the output.

A reply is on the disk before it is used, so that a run that is killed at any instant loses at most
the calls in flight, and the same command goes on from there. One thread of its own reads and
writes; what comes while it is busy is written in one transaction, so that the event loop never
waits for a disk.
"""

import asyncio
import json
import os
import sqlite3
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aspd_cli.endpoint.journal_file import MARK, check_mark, keep_private, told_errors
from aspd_cli.endpoint.usage import StageTally, Tally
from aspd_cli.errors import AspdError
from aspd_cli.resume import refuse_changes

_TABLES = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE replies (call BLOB NOT NULL, sample INTEGER NOT NULL, text TEXT NOT NULL,"
    " PRIMARY KEY (call, sample)) WITHOUT ROWID",
    "CREATE TABLE paid (stage TEXT PRIMARY KEY, calls INTEGER NOT NULL, replies INTEGER NOT NULL,"
    " prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, dollars REAL NOT NULL)"
    " WITHOUT ROWID",
)
_BATCH = "CREATE TABLE IF NOT EXISTS batch (request TEXT PRIMARY KEY) WITHOUT ROWID"
"""Requests that were written for a batch and have no reply yet."""
_ADD_PAID = """
INSERT INTO paid VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (stage) DO UPDATE SET
    calls = calls + excluded.calls,
    replies = replies + excluded.replies,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    dollars = dollars + excluded.dollars
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one request brought."""

    call: bytes
    """Digest of the model, the messages and the parameters."""
    first: int
    """Number of its first reply among all replies to this call."""
    texts: tuple[str, ...]
    stage: str
    paid: StageTally

    @property
    def request(self) -> str:
        """The `custom_id` of the request: which call, and which of its replies come first."""
        return request_name(self.stage, self.call, self.first)


def request_name(stage: str, call: bytes, first: int) -> str:
    """As `Entry.request`."""
    return f"aspd-{stage}-{call.hex()}-{first}"


class Journal:
    """The replies of one output; a context manager that closes the file.

    Args:
        path: the file; made when it is not there, its directory too.
        settings: what decides about the output, by the dotted name of its recipe field. While no
            reply has come they may change.
        discard: the flags that delete a journal, for a message; empty where there are none.

    Raises:
        UsageError: its replies were paid for with other settings, or another run holds it.
        DataError: the file cannot be read or written, or is no journal.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, discard: str = "") -> None:
        self.path = path
        self._discard = discard
        self.history: dict[str, StageTally] = {}
        """What earlier runs paid, by stage."""
        self._pending: deque[Entry] = deque()
        self._broken: AspdError | None = None
        self._thread = ThreadPoolExecutor(1, "journal")
        try:
            self._thread.submit(self._open, settings).result()
        except BaseException:
            self._thread.shutdown()
            raise

    @property
    def bill(self) -> str:
        """What the replies of earlier runs have cost; empty when there are none."""
        return bill(self.history)

    async def replies(self, call: bytes) -> list[str]:
        """The replies to a call so far, in the order of their numbers."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, call)

    def check(self) -> None:
        """Raises what made an earlier write fail: nothing more should be paid for.

        Raises:
            DataError: the journal cannot be written any more.
        """
        if self._broken:
            raise self._broken

    async def record(self, entry: Entry) -> None:
        """Returns when `entry` is on the disk. It gets there also when the caller is cancelled.

        Raises:
            DataError: it cannot be written.
        """
        self._pending.append(entry)
        # Every call asks for a write, but the first that runs takes all that has come by then.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, self._write))

    def awaited(self) -> set[str]:
        """The requests that were written for a batch and have no reply yet."""
        return self._thread.submit(self._awaited).result()

    def await_replies(self, requests: Iterable[str]) -> None:
        """Remembers that these requests were written for a batch.

        Raises:
            DataError: it cannot be written.
        """
        self._thread.submit(self._await, list(requests)).result()

    def close(self) -> None:
        """Writes what is left and lets go of the file."""
        try:
            self._thread.submit(self._write).result()
        finally:
            self._thread.submit(self._file.close).result()
            self._thread.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What follows runs on the thread.

    def _open(self, settings: Mapping[str, Any]) -> None:
        values = {name: json.dumps(value, sort_keys=True) for name, value in settings.items()}
        with self._errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._file = sqlite3.connect(
                self.path, timeout=1, isolation_level=None, check_same_thread=False
            )
        try:
            with self._errors():
                self._set_up(values)
                self._renew(values)
            self._compare(values)
        except BaseException:
            self._file.close()
            raise

    def _set_up(self, values: Mapping[str, str]) -> None:
        run = self._file.execute
        check_mark(self._file)
        keep_private(self.path)
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")  # survives a power cut, too
        run("BEGIN EXCLUSIVE")
        if not run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for table in _TABLES:
                run(table)
            run(f"PRAGMA application_id = {MARK}")
            self._file.executemany("INSERT INTO settings VALUES (?, ?)", values.items())
        run(_BATCH)
        run("COMMIT")
        for stage, *counts in run("SELECT * FROM paid"):
            tally = self.history[stage] = StageTally(*counts)
            tally.dollars = tally.dollars or None  # zero stands for calls of an unknown price

    def _renew(self, values: Mapping[str, str]) -> None:
        """Takes new settings where no reply stands in the way."""
        run = self._file.execute
        if not run("SELECT EXISTS (SELECT * FROM replies)").fetchone()[0]:
            run("BEGIN EXCLUSIVE")
            if dict(run("SELECT name, value FROM settings")) != dict(values):
                run("DELETE FROM batch")  # which asked for something else
            run("DELETE FROM settings")
            self._file.executemany("INSERT INTO settings VALUES (?, ?)", values.items())
            run("COMMIT")

    def _compare(self, values: Mapping[str, str]) -> None:
        stored = dict(self._file.execute("SELECT name, value FROM settings"))
        before, now = (
            {name: json.loads(value) for name, value in each.items()} for each in (stored, values)
        )
        cure = "restore them to resume it, or choose another output"
        if self._discard:
            cure += f"; {self._discard} deletes what was paid for ({self.bill})"
        refuse_changes(self.path, before, now, cure)

    def _read(self, call: bytes) -> list[str]:
        with self._errors():
            rows = self._file.execute(
                "SELECT text FROM replies WHERE call = ? ORDER BY sample", (call,)
            )
            return [text for (text,) in rows]

    def _awaited(self) -> set[str]:
        with self._errors():
            return {name for (name,) in self._file.execute("SELECT request FROM batch")}

    def _await(self, requests: list[str]) -> None:
        with self._errors():
            self._file.execute("BEGIN")
            self._file.executemany(
                "INSERT OR IGNORE INTO batch VALUES (?)", [(name,) for name in requests]
            )
            self._file.execute("COMMIT")

    def _write(self) -> None:
        self.check()
        entries = [self._pending.popleft() for _ in range(len(self._pending))]
        if not entries:
            return
        try:
            with self._errors():
                self._file.execute("BEGIN")
                for entry in entries:
                    self._file.executemany(
                        "INSERT INTO replies VALUES (?, ?, ?)",
                        [
                            (entry.call, sample, text)
                            for sample, text in enumerate(entry.texts, entry.first)
                        ],
                    )
                    self._file.execute("DELETE FROM batch WHERE request = ?", (entry.request,))
                    paid = entry.paid
                    self._file.execute(
                        _ADD_PAID,
                        (
                            entry.stage, paid.calls, paid.replies, paid.prompt_tokens,
                            paid.completion_tokens, paid.dollars or 0.0,
                        ),
                    )  # fmt: skip
                self._file.execute("COMMIT")
        except AspdError as error:
            self._broken = error  # those that wait for the same write must not take it as done
            raise

    def _errors(self) -> AbstractContextManager[None]:
        return told_errors(self.path)


def bill(history: Mapping[str, StageTally]) -> str:
    """What was paid, in words; empty when nothing was."""
    total = Tally(history).total
    if not total.calls:
        return ""
    dollars = f", ${total.dollars:.2f}" if total.dollars else ""
    return f"{total.calls:,} calls, {total.tokens:,} tokens{dollars}"
