"""Draws the README's picture: one frame of a real decode, and the answer it becomes.

python -m tests.bench.picture                   # the embedded model, to .github/decode.svg
python -m tests.bench.picture --model DIR --prompt "..." --out decode.svg
"""

import argparse
import io
from pathlib import Path

from rich.console import Console
from rich.text import Text

import aspd_cli as aspd
from aspd_cli.cli.views.generate import measures
from aspd_cli.cli.views.live import Lanes, frame, printable
from aspd_cli.engine.events import Done, Output

PROMPT = "Describe the tiger, Saturn, cheese and the drill in detail"
WIDTH, HEIGHT = 108, 16
MOMENT = 0.55
"""Which share of the events the drawn frame has seen."""


def picture(model: str | None, prompt: str, **options: object) -> str:
    """The SVG of a decode."""
    events = list(aspd.load(model).stream(prompt, **options))
    lanes, output = Lanes(), None
    for event in events[: int(MOMENT * len(events))]:
        lanes.apply(event)
    if isinstance(events[-1], Done):
        output = events[-1].output
    assert isinstance(output, Output)
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text(f'$ aspd generate --parallel "{prompt}"', style="bold"))
    console.print(frame(lanes, console, WIDTH, HEIGHT))
    console.print(Text("\n... and when it is done:\n", style="dim italic"))
    console.print(Text(printable(output.text).rstrip()))
    console.print(Text(measures(output), style="dim"))
    return console.export_svg(title="aspd", unique_id="aspd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="directory or Hub id; none: the embedded model")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(".github/decode.svg"))
    args = parser.parse_args()
    svg = picture(args.model, args.prompt, temperature=args.temperature, seed=args.seed)
    args.out.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
