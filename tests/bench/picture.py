"""Draws the README's moving picture from a real decode: `python -m tests.bench.picture`.

The frames are those of the live view, one a step. What changes between them becomes an SVG with CSS
animations: no script, so that it moves inside of an <img>. The same model gives the same file.
"""

import argparse
import io
from collections import defaultdict
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path

from rich.console import Console, RenderableType
from rich.style import Style
from rich.text import Text

import aspd_cli as aspd
from aspd_cli.cli.views.generate import measures
from aspd_cli.cli.views.live import Lanes, frame, printable
from aspd_cli.engine.events import Done, Event
from aspd_cli.engine.events import Text as TextEvent

PROMPT = "Describe the tiger, Saturn, cheese and the drill in detail"
WIDTH, HEIGHT = 88, 14
"""Columns and rows of the terminal."""
CELL, ROW, MARGIN = 8.4, 19, 16
"""Width and height of a character, and the border around all, in pixels."""
BEFORE, STEP, AFTER = 1.0, 0.1, 5.0
"""Seconds of the prompt alone, of a step, and of the finished answer."""

COLOURS = {
    "text": ("#1f2328", "#e6edf3"),
    "dim": ("#59636e", "#8b949e"),
    "cyan": ("#1b7c83", "#39c5cf"),
    "magenta": ("#8250df", "#bc8cff"),
    "green": ("#1a7f37", "#3fb950"),
    "yellow": ("#9a6700", "#d29922"),
    "blue": ("#0969da", "#58a6ff"),
    "red": ("#cf222e", "#ff7b72"),
    "paper": ("#ffffff", "#0d1117"),
    "edge": ("#d1d9e0", "#30363d"),
}
"""Name -> colour on a light page and on a dark one."""

BORDERS = {
    "─": "M0 {m}h{w}",
    "│": "M{c} 0v{h}",
    "╭": "M{c} {h}v-4q0-5 {q}-5.5",
    "╮": "M{c} {h}v-4q0-5-{q}-5.5",
    "╰": "M{c} 0v4q0 5 {q} 5.5",
    "╯": "M{c} 0v4q0 5-{q} 5.5",
}
"""Lines are drawn, since fonts leave gaps between them."""

Cell = tuple[str, str]
"""A character, and the classes of its style."""
Grid = list[list[Cell]]


def frames(prompt: str, events: list[Event], console: Console) -> Iterator[Grid]:
    """What stands on the terminal, step by step. A step ends before a lane writes again."""
    command = Text(f'$ aspd generate --stats "{prompt}"', style="bold")
    yield grid(console, command)
    lanes, wrote = Lanes(), set[int]()
    for event in events:
        if isinstance(event, TextEvent):
            if event.lane in wrote:
                yield grid(console, command, frame(lanes, console, WIDTH, HEIGHT - 1))
                wrote.clear()
            wrote.add(event.lane)
        lanes.apply(event)
        if isinstance(event, Done):
            # Seconds are of the machine; what is counted is not.
            counted = measures(event.output).partition(", estimated")[0]
            answer = Text(printable(event.output.text).rstrip())
            yield grid(console, command, answer, Text(counted, style="dim"))


def grid(console: Console, *parts: RenderableType) -> Grid:
    """The cells of what is printed."""
    rows: Grid = []
    for part in parts:
        for line in console.render_lines(part, pad=True):
            rows.append([(c, classes(s.style)) for s in line for c in s.text][:WIDTH])
    return [*rows, *[[(" ", "")] * WIDTH] * (HEIGHT - len(rows))][:HEIGHT]


def classes(style: Style | None) -> str:
    """The CSS classes of a style."""
    if style is None:
        return ""
    colour = style.color.name if style.color else ""
    return " ".join(filter(None, ("dim" if style.dim else colour, "b" if style.bold else "")))


def animate(shots: list[Grid], seconds: list[float], label: str) -> str:
    """The SVG that shows each grid for its seconds, again and again; the last one at rest."""
    ends = [sum(seconds[: i + 1]) for i in range(len(seconds))]
    starts, total = [0.0, *ends[:-1]], ends[-1]
    spans: dict[tuple[int, int], list[str]] = defaultdict(list)
    for row in range(HEIGHT):
        lives = [lifetimes([shot[row][column] for shot in shots]) for column in range(WIDTH)]
        keys = sorted({key for life in lives for key in life})
        for key in keys:
            columns = [column for column, life in enumerate(lives) if key in life]
            for _, run in groupby(enumerate(columns), lambda pair: pair[1] - pair[0]):
                first, *rest = (column for _, column in run)
                cells = [shots[key[0]][row][column] for column in (first, *rest)]
                spans[key] += drawn(cells, first, row)
    rules, body = [], []
    for (first, last), shapes in sorted(spans.items()):
        ended = last == len(shots) - 1
        name = f"s{first}-{last}"
        if first == 0 and ended:
            body += shapes
            continue
        stops = ["0%{opacity:0}"] if first else []
        stops.append(f"{100 * starts[first] / total:.2f}%{{opacity:1}}")
        if not ended:
            stops.append(f"{100 * ends[last] / total:.2f}%{{opacity:0}}")
        rules.append(f"@keyframes {name}{{{''.join(stops)}}}")
        rules.append(f".{name}{{animation-name:{name};opacity:{int(ended)}}}")
        body.append(f'<g class="a {name}">{"".join(shapes)}</g>')
    width, height = WIDTH * CELL + 2 * MARGIN, HEIGHT * ROW + 2 * MARGIN
    light, dark = (
        "".join(f"--{name}:{pair[i]};" for name, pair in COLOURS.items()) for i in (0, 1)
    )
    named = "".join(
        f".{name}{{fill:var(--{name})}}path.{name}{{stroke:var(--{name})}}"
        for name in COLOURS
        if name not in ("text", "paper", "edge")
    )
    style = "\n".join(
        (
            f"svg{{{light}}}",
            f"@media(prefers-color-scheme:dark){{svg{{{dark}}}}}",
            'text{font:14px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;'
            "fill:var(--text);white-space:pre}",
            "path{fill:none!important;stroke:var(--text)}",
            named,
            ".b{font-weight:bold}",
            f".a{{animation:{total:.1f}s step-end infinite}}",
            *rules,
            "@media(prefers-reduced-motion:reduce){.a{animation:none}}",
        )
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="{escape(label)}">\n'
        f"<style>\n{style}\n</style>\n"
        f'<rect x="1" y="1" width="{width - 2:g}" height="{height - 2:g}" rx="8" '
        'style="fill:var(--paper);stroke:var(--edge)"/>\n'
        f'<g transform="translate({MARGIN} {MARGIN})">\n' + "\n".join(body) + "\n</g>\n</svg>\n"
    )


def lifetimes(cells: list[Cell]) -> set[tuple[int, int]]:
    """First and last frame of each time in which a place holds the same visible character."""
    found, at = set(), 0
    for (char, _), run in groupby(cells):
        end = at + len(list(run))
        if char != " ":
            found.add((at, end - 1))
        at = end
    return found


def drawn(cells: list[Cell], column: int, row: int) -> Iterator[str]:
    """The shapes of cells that stand side by side."""
    for style, run in groupby(cells, lambda cell: (cell[1], cell[0] in BORDERS)):
        chars = "".join(char for char, _ in run)
        kind = f' class="{style[0]}"' if style[0] else ""
        x, y = column * CELL, row * ROW
        if style[1]:
            half = {"m": ROW / 2, "c": CELL / 2, "w": CELL, "h": ROW, "q": CELL / 2}
            if set(chars) == {"─"}:
                half["w"], chars = CELL * len(chars), "─"
                column += round(half["w"] / CELL) - 1
            for i, char in enumerate(chars):
                path = BORDERS[char].format(**{key: f"{value:g}" for key, value in half.items()})
                yield f'<path{kind} transform="translate({x + i * CELL:g} {y})" d="{path}"/>'
        else:
            length = f'textLength="{len(chars) * CELL:g}" lengthAdjust="spacingAndGlyphs"'
            yield f'<text{kind} x="{x:g}" y="{y + 14}" {length}>{escape(chars)}</text>'
        column += len(chars)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="directory or Hub id; none: the embedded model")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--out", type=Path, default=Path(".github/decode.svg"))
    args = parser.parse_args()
    console = Console(width=WIDTH, file=io.StringIO(), color_system="standard", force_terminal=True)
    shots = list(frames(args.prompt, list(aspd.load(args.model).stream(args.prompt)), console))
    seconds = [BEFORE, *[STEP] * (len(shots) - 2), AFTER]
    label = "A terminal: aspd generate --stats, and branches of its answer that grow side by side"
    args.out.write_text(animate(shots, seconds, label), encoding="utf-8")


if __name__ == "__main__":
    main()
