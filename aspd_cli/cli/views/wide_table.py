"""Tables that lose nothing on a narrow screen.

Where a table is too wide, intervals go under their values and long labels are broken at words;
where that is not enough, its columns go to several tables, one below the other. Nothing is cut off.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

GAP = 2
"""Blank columns between two columns of a table."""


@dataclass(slots=True)
class WideTable:
    """What a table says, before it is known how wide it may be."""

    title: str
    stubs: tuple[str, ...]
    """Headings of the columns that say what a row is; every part of the table repeats them."""
    heads: tuple[str, ...]
    """Headings of the columns with values."""
    rows: list[list[str]] = field(default_factory=list)
    """Stubs, then values; a value is a number, or `1.75 [1.50, 1.98]` with its interval."""

    def add(self, *cells: str) -> None:
        self.rows.append(list(cells))

    def fitted(self, width: int) -> Iterator[Table]:
        """The table, or its parts, none wider than `width` columns where words allow it."""
        first = len(self.stubs)
        numbers = list(range(first, first + len(self.heads)))
        for stacked, share in ((False, 2), (True, 2), (True, 3)):
            widths = self._widths(stacked, width // share)
            if sum(widths) + GAP * (len(widths) - 1) <= width:
                yield self._part(numbers, widths, self.title, stacked)
                return
        room = width - sum(widths[:first]) - GAP * first
        parts: list[list[int]] = [[]]
        for number in numbers:
            taken = sum(widths[n] + GAP for n in parts[-1])
            if parts[-1] and taken + widths[number] > room:
                parts.append([])
            parts[-1].append(number)
        for at, part in enumerate(parts):
            yield self._part(part, widths, "continued" if at else self.title, stacked=True)

    def _widths(self, stacked: bool, label: int) -> list[int]:
        """Columns of the screen that each column takes; `label`: from where labels are broken."""
        widths = []
        for number, head in enumerate((*self.stubs, *self.heads)):
            cells = [_cell(row[number], stacked) for row in self.rows]
            lines = [line for cell in cells for line in cell.splitlines()]
            longest = max(map(len, lines), default=0)
            if number < len(self.stubs):
                longest = min(longest, max(label, _longest_word(lines)))
            widths.append(max(longest, _longest_word([head]), 1))
        return widths

    def _part(
        self, numbers: Sequence[int], widths: Sequence[int], title: str, stacked: bool
    ) -> Table:
        table = Table(
            title=title,
            title_justify="left",
            title_style="bold",
            box=SIMPLE_HEAD,
            padding=(0, GAP - 1, 0, 0),
            pad_edge=False,
            show_edge=False,
        )
        heads = (*self.stubs, *self.heads)
        chosen = [*range(len(self.stubs)), *numbers]
        for number in chosen:
            is_text = _is_text(self.rows, number, len(self.stubs))
            justify: Literal["left", "right"] = "left" if is_text else "right"
            table.add_column(heads[number], width=widths[number], justify=justify, overflow="fold")
        for row in self.rows:
            table.add_row(*(_cell(row[number], stacked) for number in chosen))
        return table


def _cell(text: str, stacked: bool) -> str:
    return text.replace(" [", "\n[") if stacked else text


def _longest_word(lines: Sequence[str]) -> int:
    return max((len(word) for line in lines for word in line.split()), default=0)


def _is_text(rows: Sequence[Sequence[str]], number: int, stubs: int) -> bool:
    """Whether a column holds names; numbers stand on the right."""
    return number < stubs and not all(row[number].isdigit() for row in rows)
