"""The rules in several processes: the same results in the same order as in one."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from typing import NamedTuple

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import Document
from aspd_cli.errors import DataError
from aspd_cli.files import json_line
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.blocks import DECODED, Budgets
from aspd_cli.transform.io.records import Record, Rejected
from aspd_cli.transform.outcome import Outcome
from aspd_cli.transform.rows import row, transform_record

_AT_ONCE = 32
"""Records that go to a process in one message."""
_AHEAD = 4
"""Messages that wait for each process, or for an earlier one to be written."""


class Written(NamedTuple):
    """An answer as the line of the output, and what became of it, without its document."""

    line: bytes
    outcome: Outcome


def written(record: Record, outcome: Outcome) -> Written:
    """The line of an answer."""
    return Written(json_line(row(record, outcome)), replace(outcome, document=Document()))


def by_rules(
    records: Iterable[Record | Rejected],
    transform: TransformSection,
    codec: Codec,
    workers: int,
    budgets: Budgets = DECODED,
) -> Generator[Written | Rejected, None, None]:
    """What becomes of each record, in order.

    Raises:
        DataError: a process ended before its work.
    """
    if workers == 1:
        for record in records:
            yield _done(record, transform, codec, budgets)
        return
    # Processes of their own begin: a copy of this one would hold its locks and its threads.
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_begin, initargs=(transform, codec, budgets)
    )
    waiting: deque[Future[list[Written | Rejected]]] = deque()
    source = iter(records)
    try:
        while some := list(islice(source, _AT_ONCE)):
            with _interrupts_kept():  # processes begin here, and inherit what is kept from them
                waiting.append(pool.submit(_work, some))
            if len(waiting) > _AHEAD * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "a process of --workers ended before its work, perhaps for lack of memory; run again "
            "with fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Keeps Ctrl-C until the end, and for good from the processes that begin inside."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _done(
    record: Record | Rejected, transform: TransformSection, codec: Codec, budgets: Budgets
) -> Written | Rejected:
    if isinstance(record, Rejected):
        return record
    return written(record, transform_record(record, transform, codec, budgets))


_SETTINGS: list[tuple[TransformSection, Codec, Budgets]] = []
"""Of a process that works."""


def _begin(transform: TransformSection, codec: Codec, budgets: Budgets) -> None:
    """What a process does first: Ctrl-C is its parent's, and it ends when its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (parent := parent_process()) is not None and sys.platform != "win32":

        def end() -> None:
            connection.wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=end, daemon=True).start()
    _SETTINGS.append((transform, codec, budgets))


def _work(records: list[Record | Rejected]) -> list[Written | Rejected]:
    return [_done(record, *_SETTINGS[-1]) for record in records]
