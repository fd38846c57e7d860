"""Document order: events as if branches had been decoded one after another.

Branches are decoded at the same time, but a reader who sees one text sees the first open branch
grow while its siblings are held back until their turn comes.
"""

from collections.abc import Iterator

from aspd_cli.core.visibility import MAIN
from aspd_cli.engine.events import AnyEvent, Close, Event, Fork, Merge, Text


class DocumentOrder:
    """Puts the events of one answer in document order."""

    def __init__(self) -> None:
        self._told: dict[int, list[Event]] = {MAIN: []}
        self._order = self._in_order(MAIN)
        self._ended = False

    def take(self, event: AnyEvent) -> Iterator[Event]:
        """Takes an event of any lane; gives those that nothing can come before any more."""
        match event:
            case Text(lane) | Close(lane) | Merge(_, lane):
                self._told[lane].append(event)
            case Fork(lane, _, _, lanes):
                self._told[lane].append(event)
                self._told |= {branch: [] for branch in lanes}
        yield from self._settled()

    def end(self) -> Iterator[Event]:
        """No event will come any more: gives what was held back."""
        self._ended = True
        yield from self._settled()

    def _settled(self) -> Iterator[Event]:
        for event in self._order:
            if event is None:
                return
            yield event

    def _in_order(self, lane: int) -> Iterator[Event | None]:
        """The events of a lane and of all that fork from it; None where they have to wait."""
        events, at = self._told[lane], 0
        while True:
            while at < len(events):
                event = events[at]
                at += 1
                yield event
                if isinstance(event, Close):
                    return
                if isinstance(event, Fork):
                    for branch in event.lanes:
                        yield from self._in_order(branch)
            if self._ended:
                return
            yield None
