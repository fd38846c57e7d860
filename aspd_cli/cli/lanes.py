"""An answer while it is decoded: its lanes as a tree, kept up to date by the engine's events."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from aspd_cli.engine.events import Close, Event, Fork, Merge, Text


@dataclass(slots=True)
class Split:
    """One block: its lanes in document order, and whether they have merged."""

    lanes: tuple[int, ...]
    merged: bool = False


@dataclass(slots=True)
class Lane:
    """The content of one lane so far."""

    title: str = ""
    parts: list[str | Split] = field(default_factory=list)
    closed: bool = False


class Lanes:
    """All lanes of one answer; lane 0 is the main lane."""

    def __init__(self) -> None:
        self.lanes = {0: Lane()}
        self._splits: dict[int, Split] = {}  # by the engine's number of the block
        self._order = self._in_order(0)

    def apply(self, event: Event) -> None:
        """Takes one event of the engine; `Done` changes nothing."""
        match event:
            case Text(lane, text):
                self.lanes[lane].parts.append(text)
            case Fork(lane, block, titles, lanes):
                split = self._splits[block] = Split(lanes)
                self.lanes[lane].parts.append(split)
                for title, new in zip(titles, lanes, strict=True):
                    self.lanes[new] = Lane(title)
            case Close(lane):
                self.lanes[lane].closed = True
            case Merge(block, _):
                self._splits[block].merged = True

    def plain(self, lane: int = 0) -> str:
        """The plain text of a lane and of all that forked from it, as far as it is written."""
        return self.plain_of(self.lanes[lane].parts)

    def plain_of(self, parts: list[str | Split]) -> str:
        """The plain text of some parts of a lane."""
        return "".join(
            part if isinstance(part, str) else "".join(map(self.plain, part.lanes))
            for part in parts
        )

    def settled(self) -> Iterator[str]:
        """The text, new since the last call, that nothing can come before any more."""
        for text in self._order:
            if text is None:
                return
            yield text

    def _in_order(self, number: int) -> Iterator[str | None]:
        """Document order; None where it has to wait for a lane to be written."""
        lane, at = self.lanes[number], 0
        while True:
            while at < len(lane.parts):
                part = lane.parts[at]
                at += 1
                if isinstance(part, str):
                    yield part
                else:
                    for inner in part.lanes:
                        yield from self._in_order(inner)
            if lane.closed:
                return
            yield None
