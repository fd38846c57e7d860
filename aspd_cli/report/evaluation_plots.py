"""The three charts of an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aspd_cli.core.metrics import Interval
from aspd_cli.evaluate.timeline import TimelineBar
from aspd_cli.report.chart import Chart, colour, is_narrow
from aspd_cli.report.lane_colours import page_colour

LONGEST_LABEL = {True: 12, False: 26}
"""Characters of a lane's title, on a narrow and on a wide drawing."""


@dataclass(frozen=True, slots=True)
class Point:
    """One system in the chart of quality against speed."""

    system: str
    number: int
    """Which system of the evaluation it is, from 0: its colour."""
    speed: Interval
    quality: Interval


def lane_colour(number: int) -> str:
    """The colour of a branch or of a system, from 0."""
    return colour(page_colour(number))


def quality_against_speed(
    points: Sequence[Point], speed: str, quality: str, *, suffix: str = ""
) -> Chart:
    """Each system a point with its intervals both ways.

    Args:
        speed, quality: what the axes measure, with units.
        suffix: tells the charts of several tasks apart.
    """

    def draw(axes: Any) -> None:
        for point in points:
            axes.errorbar(
                point.speed[0],
                point.quality[0],
                xerr=_arms(point.speed),
                yerr=_arms(point.quality),
                fmt="o",
                markersize=6,
                elinewidth=1.6,
                capsize=3,
                color=lane_colour(point.number),
                clip_on=False,
            )
        _label(axes, points)
        axes.margins(0.16)
        low, high = axes.get_ylim()
        if all(0 <= end <= 1 for point in points for end in point.quality):  # shares
            axes.set_ylim(max(low, 0.0), min(high, 1.0))
        axes.set_xlim(left=max(axes.get_xlim()[0], 0.0))
        axes.set_xlabel(speed)
        axes.set_ylabel(quality)

    alt = "; ".join(
        f"{p.system}: {quality} {p.quality[0]:.2f}, {speed} {p.speed[0]:.2f}" for p in points
    )
    return Chart(f"quality-speed{suffix}", alt, draw)


def speedup_by_branches(
    systems: Mapping[str, Mapping[int, Interval]],
    ideal: Mapping[int, float],
    numbers: Mapping[str, int],
) -> Chart:
    """Measured speed-up by number of branches, under the line of the ideal one.

    Args:
        systems: other system -> number of branches of an answer -> speed-up over that system.
        ideal: number of branches -> mean of tokens / steps.
        numbers: system -> its number, which is its colour.
    """
    shift = 0.12

    def draw(axes: Any) -> None:
        counts = sorted(ideal)
        axes.plot(
            counts,
            [ideal[n] for n in counts],
            linestyle=(0, (4, 3)),
            marker="_",
            color=colour("muted"),
            label="ideal: tokens / steps",
        )
        axes.axhline(1, color=colour("line"), linewidth=1.2)
        for at, (system, values) in enumerate(systems.items()):
            offset = (at - (len(systems) - 1) / 2) * shift
            measured = sorted(values)
            axes.errorbar(
                [n + offset for n in measured],
                [values[n][0] for n in measured],
                yerr=np.hstack([_arms(values[n]) for n in measured]),
                fmt="o-",
                linewidth=1.4,
                elinewidth=1.6,
                markersize=5,
                capsize=3,
                color=lane_colour(numbers[system]),
                label=f"over {system}",
            )
        axes.set_xticks(counts)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("branches of the answer")
        axes.set_ylabel("speed-up")
        axes.legend(loc="best")

    alt = "; ".join(
        f"over {system} with {n} branches: {value[0]:.2f} of ideal {ideal[n]:.2f}"
        for system, values in systems.items()
        for n, value in sorted(values.items())
    )
    return Chart("speedup-branches", alt, draw)


def lanes_over_steps(bars: Sequence[TimelineBar]) -> Chart:
    """The timeline of one decode: a row for each lane, a bar for each stretch of its steps."""
    lanes = 1 + max(bar.lane for bar in bars)
    steps = max(bar.end for bar in bars)
    names = {bar.lane: bar.title or "main lane" for bar in bars}

    def draw(axes: Any) -> None:
        for bar in bars:
            fill = lane_colour(bar.lane - 1) if bar.lane else colour("muted")
            axes.broken_barh(
                [(bar.start - 1, bar.end - bar.start + 1)],
                (bar.lane - 0.36, 0.72),
                facecolors=fill,
                alpha=0.45 if bar.titles else 1.0,
                linewidth=0,
            )
        longest = LONGEST_LABEL[is_narrow(axes)]
        axes.set_yticks(range(lanes), [_short(names.get(n, ""), longest) for n in range(lanes)])
        axes.tick_params(axis="y", labelcolor=colour("ink"), length=0)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.set_xlim(0, steps)
        axes.set_xlabel("step (one forward pass of the model)")

    height = 0.9 + 0.3 * lanes
    alt = f"{lanes} lanes over {steps} steps: " + "; ".join(
        f"{names[bar.lane]} from step {bar.start} to {bar.end}" for bar in bars
    )
    return Chart("timeline", alt, draw, wide=(11.2, height), narrow=(3.6, height))


def _arms(interval: Interval) -> list[list[float]]:
    """An interval as matplotlib's error bars take it: lengths below and above."""
    value, low, high = interval
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def _label(axes: Any, points: Sequence[Point]) -> None:
    """Names beside the points: above where there is room, below for the lower of two neighbours."""
    span = max(p.quality[0] for p in points) - min(p.quality[0] for p in points) or 1.0
    for point in points:
        crowded = any(
            other is not point
            and abs(other.quality[0] - point.quality[0]) < 0.08 * span
            and (other.quality[0], other.speed[0]) > (point.quality[0], point.speed[0])
            for other in points
        )
        axes.annotate(
            point.system,
            (point.speed[0], point.quality[0]),
            xytext=(7, -7 if crowded else 7),
            textcoords="offset points",
            va="top" if crowded else "bottom",
            color=lane_colour(point.number),
            fontweight="bold",
        )


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
