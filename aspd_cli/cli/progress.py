"""How far a run has come, on standard error: a bar on a terminal, a line now and then in a pipe."""

import math
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

SECONDS_BETWEEN_LINES = 10.0
"""How often a run tells its progress where there is no terminal."""

_BAR_WIDTH = 20


class ProgressReporter:
    """Counts what is done and tells it, with the rate and the time that is left.

        with ProgressReporter("answers", total=24, quiet=quiet) as progress:
            progress.advance()

    Args:
        noun: what is counted, in the plural.
        quiet: nothing is shown.
        total: how many there will be, where that is known already.
        before: what happens until the first number is known.
        every: seconds between two lines in a pipe; infinite: only what `say` is given.
    """

    def __init__(
        self,
        noun: str,
        *,
        quiet: bool,
        total: int | None = None,
        before: str = "",
        every: float = SECONDS_BETWEEN_LINES,
        console: Console | None = None,
    ) -> None:
        console = console or Console(stderr=True)
        self.quiet = quiet
        self.has_bar = console.is_terminal and not quiet
        self.done = 0
        self.total = total
        self._noun, self._every = noun, every
        self._details: Sequence[str] = ()
        self._first, self._since = 0, time.monotonic()
        self._told = self._since
        columns = (BarColumn(_BAR_WIDTH), TextColumn("{task.description}", markup=False))
        self._bar = Progress(*columns, console=console, transient=True, disable=not self.has_bar)
        self._task = self._bar.add_task(before, total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def expect(self, number: int) -> None:
        """So many more will come. What was done before the first of them does not slow the rate."""
        if self.total is None:
            self._first, self._since = self.done, time.monotonic()
        self.total = (self.total or 0) + number
        self._show()

    def advance(self, number: int = 1) -> None:
        """So many more are done."""
        self.reach(self.done + number)

    def reach(self, done: int, details: Sequence[str] | None = None) -> None:
        """So many are done in all.

        Args:
            details: what else there is to tell from now on; None: what was told before.
        """
        self.done = done
        if details is not None:
            self._details = details
        self._show()

    def say(self, sentence: str) -> None:
        """A line of its own, above the bar."""
        if not self.quiet:
            self._bar.console.out(sentence, highlight=False)

    def line(self) -> str:
        """Numbers, details, rate, and the time that is left, as far as they are known."""
        of = "" if self.total is None else f" of {self.total}"
        parts = [f"{self.done}{of} {self._noun}", *self._details]
        seconds = time.monotonic() - self._since
        if self.done > self._first and seconds:
            rate = (self.done - self._first) / seconds
            parts.append(f"{f'{rate:.3g}' if rate < 1000 else f'{rate:,.0f}'} {self._noun}/s")
            parts += [f"{left} left"] if (left := self.left()) else []
        return ", ".join(parts)

    def left(self) -> timedelta | None:
        """How long it will take to the end at the rate so far; None where that is not known."""
        if self.total is None or not self._first < self.done < self.total:
            return None
        pace = (time.monotonic() - self._since) / (self.done - self._first)
        return timedelta(seconds=math.ceil(pace * (self.total - self.done)))

    def _show(self) -> None:
        if self.has_bar:
            self._bar.update(
                self._task, completed=self.done, total=self.total, description=self.line()
            )
        elif time.monotonic() - self._told >= self._every:
            self._told = time.monotonic()
            self.say(self.line())
