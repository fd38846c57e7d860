"""Stop strings in a stream: events up to the first one, wherever it begins and ends.

A stop string may begin in one lane and end in the next, so what comes first is decided in document
order: events come as if branches were decoded one after another, and the last characters with which
a stop string could begin are held back. The first stop string is the one that is complete first.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from aspd_cli.engine.document_order import DocumentOrder
from aspd_cli.engine.events import Event, Text


class UntilStop:
    """Puts the events of one answer in document order and ends them before a stop string."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = stop
        self._order = DocumentOrder()
        self._held: deque[Event] = deque()
        self._text = ""
        """The text of what is held."""
        self.stopped = False
        """Whether a stop string was met."""
        self.length = 0
        """Characters of the plain text that were let through."""

    def take(self, event: Event) -> Iterator[Event]:
        """Takes an event of any lane; gives those that nothing can take back any more."""
        for settled in self._order.take(event):
            yield from self._hold(settled)

    def end(self) -> Iterator[Event]:
        """No event will come any more: gives what was held back."""
        for settled in self._order.end():
            yield from self._hold(settled)
        yield from self._release(len(self._text))

    def _hold(self, event: Event) -> Iterator[Event]:
        """Adds an event to what is held and gives what need not be held any longer."""
        if self.stopped:
            return
        self._held.append(event)
        if isinstance(event, Text):
            self._text += event.text
        found = first_stop(self._text, self._stop)
        self.stopped = found is not None
        safe = len(self._text) - max(_overlap(self._text, stop) for stop in self._stop)
        yield from self._release(safe if found is None else found)
        if self.stopped:
            self._held.clear()
            self._text = ""

    def _release(self, length: int) -> Iterator[Event]:
        """The held events up to `length` characters of their text."""
        while self._held:
            event = self._held.popleft()
            if isinstance(event, Text):
                shown, rest = event.text[:length], event.text[length:]
                length -= len(shown)
                self.length += len(shown)
                self._text = self._text[len(shown) :]
                if shown:
                    yield Text(event.lane, shown)
                if rest:
                    self._held.appendleft(Text(event.lane, rest))
                    return
            else:
                yield event


def first_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the stop string begins that is complete first; None when none is."""
    found = [(at + len(each), at) for each in stop if (at := text.find(each)) >= 0]
    return min(found)[1] if found else None


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` could begin."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if stop.startswith(text[-n:])), 0)
