"""The answer on a terminal while it is decoded: the branches of a block grow side by side.

`Lanes` keeps the answer as a tree of lanes, up to date by the engine's events. `frame` is a pure
function from lanes and a size to what is drawn; it never exceeds the size.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from aspd_cli.engine.events import AnyEvent, Close, Done, Fork, Merge
from aspd_cli.engine.events import Text as TextEvent
from aspd_cli.report.lane_colours import terminal_colour
from aspd_cli.safe_text import printable

PANEL_WIDTHS = (30, 20)
"""Columns that a panel should have, and those that it must have, in characters."""
PANEL_HEIGHT = 3
"""Fewest lines of a panel: its borders and one line of text."""
FRAMES_PER_SECOND = 12.0


@dataclass(slots=True)
class BlockView:
    """One block: its lanes in document order, and whether they have merged."""

    lanes: tuple[int, ...]
    merged: bool = False


@dataclass(slots=True)
class LaneView:
    """The content of one lane so far."""

    title: str = ""
    parts: list[str | BlockView] = field(default_factory=list)
    closed: bool = False


class Lanes:
    """All lanes of one answer; lane 0 is the main lane."""

    def __init__(self) -> None:
        self.lanes = {0: LaneView()}
        self._splits: dict[int, BlockView] = {}  # by the engine's number of the block

    def apply(self, event: AnyEvent) -> None:
        """Takes one event of the engine; `Done` changes nothing."""
        match event:
            case TextEvent(lane, text):
                self.lanes[lane].parts.append(text)
            case Fork(lane, block, titles, lanes):
                split = self._splits[block] = BlockView(lanes)
                self.lanes[lane].parts.append(split)
                for title, new in zip(titles, lanes, strict=True):
                    self.lanes[new] = LaneView(title)
            case Close(lane):
                self.lanes[lane].closed = True
            case Merge(block, _):
                self._splits[block].merged = True

    def plain(self, lane: int = 0) -> str:
        """The plain text of a lane and of all that forked from it, as far as it is written."""
        return self.plain_of(self.lanes[lane].parts)

    def plain_of(self, parts: list[str | BlockView]) -> str:
        """The plain text of some parts of a lane."""
        return "".join(
            part if isinstance(part, str) else "".join(map(self.plain, part.lanes))
            for part in parts
        )


def show_live(events: Iterable[AnyEvent], console: Console) -> Any:
    """Draws an answer while it is decoded and leaves the plain text behind, also when interrupted.

    Returns the output of its last event.

    A frame is drawn after the event that it is due at, so that drawing never delays a step that
    nobody would see.
    """
    lanes, output, due = Lanes(), None, 0.0
    try:
        with Live(console=console, transient=True, auto_refresh=False) as live:
            for event in events:
                lanes.apply(event)
                if isinstance(event, Done):
                    output = event.output
                elif time.monotonic() >= due:
                    width, height = console.size
                    live.update(frame(lanes, console, width, height - 2), refresh=True)
                    due = time.monotonic() + 1 / FRAMES_PER_SECOND
    finally:
        text = printable(lanes.plain() if output is None else output.text)
        console.file.write(text if text.endswith("\n") or not text else text + "\n")
        console.file.flush()
    assert output is not None, "the engine ends every stream with Done"
    return output


def frame(lanes: Lanes, console: Console, width: int, height: int) -> RenderableType:
    """What a terminal of this size shows of the answer so far."""
    parts = lanes.lanes[0].parts
    split = (
        parts[-1] if parts and isinstance(parts[-1], BlockView) and not parts[-1].merged else None
    )
    if split is None:
        return Text("\n").join(_tail(lanes.plain(), console, width, height))
    above = _tail(lanes.plain_of(parts[:-1]), console, width, height // 4)
    below = _block(lanes, split, console, width, height - len(above))
    return Group(*above, below)


def _block(
    lanes: Lanes, split: BlockView, console: Console, width: int, height: int
) -> RenderableType:
    """Panels in as few rows as are wide enough; a line for each branch where panels do not fit."""
    branches = [
        _Branch(lane.title, lanes.plain_of(lane.parts), lane.closed, terminal_colour(at))
        for at, lane in enumerate(map(lanes.lanes.__getitem__, split.lanes))
    ]
    for panel_width in PANEL_WIDTHS:
        rows = math.ceil(len(branches) / max(1, width // panel_width))
        if height // rows >= PANEL_HEIGHT:
            return _panels(branches, rows, console, width, height // rows)
    lines = [branch.line(width) for branch in branches]
    if len(lines) > height:
        more = Text(f"... and {len(lines) - height + 1} more branches", style="dim")
        more.truncate(width)
        lines = [*lines[: max(0, height - 1)], more]
    return Group(*lines)


def _panels(
    branches: list["_Branch"], rows: int, console: Console, width: int, height: int
) -> RenderableType:
    """Rows of panels of equal width, each row as high as its longest text, up to `height`."""
    columns = math.ceil(len(branches) / rows)
    grid = Table.grid(expand=True)
    for _ in range(columns):
        grid.add_column(ratio=1)
    for start in range(0, len(branches), columns):
        row = branches[start : start + columns]
        # The narrowest column of an expanded grid, less two borders and two spaces.
        contents = [_tail(b.text, console, width // columns - 4, height - 2) for b in row]
        high = max(1, *map(len, contents)) + 2
        grid.add_row(*(b.panel(lines, high) for b, lines in zip(row, contents, strict=True)))
    return grid


@dataclass(frozen=True, slots=True)
class _Branch:
    """What is drawn of one branch."""

    title: str
    text: str
    closed: bool
    colour: str

    def panel(self, lines: list[Text], height: int) -> Panel:
        title = Text(printable(self.title), style="bold")
        style = f"dim {self.colour}" if self.closed else self.colour
        return Panel(Text("\n").join(lines), title=title, height=height, border_style=style)

    def line(self, width: int) -> Text:
        line = Text(printable(self.title), style=f"bold {self.colour}")
        line.truncate(max(1, width // 3), overflow="ellipsis")
        line.append(" ")
        words = " ".join(printable(self.text).split())
        while words and line.cell_len + cell_len(words) > width:
            words = words[max(1, (line.cell_len + cell_len(words) - width) // 2) :]
        return line.append(words, style="dim" if self.closed else "none")


def _tail(text: str, console: Console, width: int, height: int) -> list[Text]:
    """The last lines of `text`, wrapped to `width`: at most `height` of them, none when blank."""
    text = printable(text).lstrip("\n").rstrip()
    if not text.strip() or height < 1:
        return []
    # Wrapping costs time in proportion to the text; what is far above the window is not needed.
    recent = text[-2 * width * height :]
    return list(Text(recent).wrap(console, max(1, width)))[-height:]
