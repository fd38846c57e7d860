"""Charts: one drawing each, as SVG that follows the colours of its page, and as PNG.

    chart = Chart("speedup", "Speed-up by branches", draw)      # draw(axes) calls matplotlib
    page("...", section("...", figure(chart)));  save(chart, Path("speedup.png"))

`draw` takes its colours from `colour`, so that the SVG can name them instead of fixing them.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aspd_cli.files import write_atomically
from aspd_cli.report.html import COLOURS, escape

PNG_DPI = 200


@dataclass(frozen=True, slots=True)
class Chart:
    """What to draw."""

    name: str
    """Stem of its PNG's file name."""
    alt: str
    """What it shows, for who cannot see it."""
    draw: Callable[[Any], None]
    """Draws on a matplotlib `Axes`. Called once a size: it may ask the axes how wide they are."""
    wide: tuple[float, float] = (6.0, 4.0)
    """Width and height on a desktop and in the PNG, in inches of 100 CSS pixels."""
    narrow: tuple[float, float] = (3.6, 3.4)
    """The same on a phone."""


def colour(name: str) -> str:
    """A colour of the page by name, as matplotlib takes it."""
    return COLOURS[name][0]


def is_narrow(axes: Any) -> bool:
    """Whether this drawing is the phone's."""
    return bool(axes.figure.get_figwidth() < 5)


def figure(chart: Chart) -> str:
    """The chart as HTML: a drawing for wide screens and one for narrow ones."""
    drawings = "".join(
        f'<div class="{size}">{_svg(chart, getattr(chart, size), size)}</div>'
        for size in ("wide", "narrow")
    )
    return f"<figure>{drawings}</figure>"


def save(chart: Chart, path: Path) -> None:
    """Writes the chart as a PNG, in the light colours."""
    with write_atomically(path) as file:
        _drawn(chart, chart.wide).savefig(file, format="png", dpi=PNG_DPI)


def _svg(chart: Chart, size: tuple[float, float], prefix: str) -> str:
    out = io.StringIO()
    drawing = _drawn(chart, size)
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": chart.name + prefix}):
        drawing.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace("'DejaVu Sans'", "system-ui, sans-serif")
    # Two drawings of one page must not share ids.
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\1{chart.name}-{prefix}-", svg)
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{name})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(chart.alt)}" ', 1)


def _drawn(chart: Chart, size: tuple[float, float]) -> Any:
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 9,
        "font.family": "DejaVu Sans",
        "text.color": colour("ink"),
        "axes.labelcolor": colour("muted"),
        "axes.edgecolor": colour("line"),
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": colour("line"),
        "grid.linewidth": 0.7,
        "xtick.color": colour("line"),
        "ytick.color": colour("line"),
        "xtick.labelcolor": colour("muted"),
        "ytick.labelcolor": colour("muted"),
        "legend.frameon": False,
        "figure.facecolor": colour("paper"),
        "svg.fonttype": "none",
    }
    with matplotlib.rc_context(style):
        drawing = Figure(figsize=size, dpi=100, layout="constrained")
        chart.draw(drawing.add_subplot())
    return drawing
