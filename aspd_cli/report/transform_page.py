"""One page about a run of `aspd transform`: figures, stages, ideal speed-ups, and some answers.

It is made from the output itself and the report, so that it shows what is in the file.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import Document
from aspd_cli.core.metrics import ideal_speedup
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError
from aspd_cli.files import read_jsonl, write_text
from aspd_cli.report import html
from aspd_cli.report.chart import Chart, colour, figure, is_narrow
from aspd_cli.transform.report import SAMPLE, Report

_TITLE = "aspd transform: "
MARK = f"<title>{_TITLE}".encode()
"""What every page of ours bears near its beginning."""
ANSWERS = 20
"""Answers that a page shows, drawn at random."""
REASONS = 8
_LONGEST_PROMPT = 1200
_MEASURES = {
    "ppd": ("answers with a block (PPD)", "{:.0%}"),
    "dp": ("of the tokens are branch content (DP)", "{:.0%}"),
    "abn": ("branches in a block (ABN)", "{:.1f}"),
    "ape": ("of branch content remains after the cost of titles (APE)", "{:.0%}"),
}


@dataclass(slots=True)
class _Seen:
    """What a page needs of the parallel answers of a file, in constant memory."""

    speedups: list[float] = field(default_factory=list)
    """Tokens over steps, of at most `SAMPLE` answers drawn at random."""
    answers: list[tuple[dict[str, Any], Document, float]] = field(default_factory=list)
    """Row, document and ideal speed-up of at most `ANSWERS` of them, in the order of the file."""


def write_page(path: Path, out: Path, report: Report, codec: Codec, about: str) -> None:
    """Writes the page about `out` to `path`.

    Args:
        report: of the run that wrote `out`.
        about: who transformed what, in one line.

    Raises:
        DataError: a file cannot be read or written.
    """
    seen = _look(out, codec)
    parts = [
        html.tiles(_figures(report, seen.speedups)),
        html.pair(_stages(report), _reasons(report)),
        *([_speedups(seen.speedups)] if seen.speedups else []),
        _answers(seen, report.parallel),
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, html.page(f"{_TITLE}{out.name}", *parts, about=about))
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error


def _look(out: Path, codec: Codec) -> _Seen:
    """Draws from the parallel answers of a file."""
    seen, random = _Seen(), Random(0)
    shown: list[tuple[int, dict[str, Any], Document, float]] = []
    for number, row in enumerate(_parallel(out)):
        places = [random.randrange(number + 1) if number >= most else number
                  for most in (SAMPLE, ANSWERS)]  # fmt: skip
        if min(places[0] - SAMPLE, places[1] - ANSWERS) >= 0:
            continue
        document = parse(row["completion"][-1]["content"])
        speedup = ideal_speedup(document, codec)
        _put(seen.speedups, speedup, places[0], SAMPLE)
        _put(shown, (number, row, document, speedup), places[1], ANSWERS)
    seen.answers = [rest for _, *rest in sorted(shown, key=lambda each: each[0])]  # type: ignore[misc]
    return seen


def _put(chosen: list[Any], value: Any, place: int, most: int) -> None:
    if place >= most:
        return
    if place == len(chosen):
        chosen.append(value)
    else:
        chosen[place] = value


def _parallel(out: Path) -> Iterator[dict[str, Any]]:
    for _, row in read_jsonl(out, "answers"):
        if row["aspd"]["status"] == "parallel":
            yield row


def _figures(report: Report, speedups: Sequence[float]) -> Iterator[tuple[str, str, str]]:
    yield f"{report.total - report.rejected:,}", "answers", f"{report.parallel:,} of them parallel"
    for name, (value, low, high) in report.measures().items():
        what, form = _MEASURES[name]
        if not math.isnan(value):
            yield form.format(value), what, f"95%: {form.format(low)} to {form.format(high)}"
    if speedups:
        middle = sorted(speedups)[len(speedups) // 2]
        yield f"{middle:.1f} x", "ideal speed-up, parallel answers", "median of tokens / steps"
    if report.tally is not None and (spent := report.tally.total).calls:
        cost = f"${spent.dollars:.2f}" if spent.dollars is not None else f"{spent.calls:,} calls"
        yield cost, "paid to the endpoint", f"{spent.tokens:,} tokens"
    if report.rejected:
        yield f"{report.rejected:,}", "records rejected", "no answer could be read"


def _stages(report: Report) -> str:
    asked = report.tally is not None
    head = ["stage", "in", "out", "passed", *(["calls", "tokens"] if asked else [])]
    rows = []
    for stage, before, after in report.stages():
        row = [stage, f"{before:,}", f"{after:,}", f"{after / before:.1%}" if before else "-"]
        if report.tally is not None:
            spent = report.tally.stages.get(stage)
            given = report.holds_by_construction(stage)
            row += [f"{spent.calls:,}", f"{spent.tokens:,}"] if spent else ["-", "-"]
            row[3] = "by construction" if given else row[3]
        rows.append(row)
    note = "What an answer must pass, in order, to become parallel."
    return html.section("Stages", html.table(head, rows), note=note)


def _reasons(report: Report) -> str:
    rows = [(reason, f"{count:,}") for reason, count in report.reasons.most_common(REASONS)]
    rest = report.reasons.total() - sum(count for _, count in report.reasons.most_common(REASONS))
    if rest:
        rows.append(("other reasons", f"{rest:,}"))
    note = "Why answers stay serial, the first reason of each."
    return html.section("Serial answers", html.table(("reason", "answers"), rows), note=note)


def _speedups(speedups: Sequence[float]) -> str:
    widest = max(speedups)
    step = 0.25 if widest <= 6 else 0.5 if widest <= 12 else 1.0
    edges = [1 + step * at for at in range(1 + max(1, math.ceil((widest - 1) / step)))]
    edges = [min(1.0, min(speedups)), *edges[1:]]
    middle = sorted(speedups)[len(speedups) // 2]

    def draw(axes: Any) -> None:
        axes.hist(speedups, bins=edges, color=colour("b0"), edgecolor=colour("paper"))
        axes.margins(y=0.18)
        axes.axvline(middle, color=colour("b1"), linewidth=1.4)
        axes.annotate(
            f"median {middle:.2f}",
            (middle, 0.97),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            xytext=(6, 0),
            va="top",
            color=colour("b1"),
        )
        axes.set_xlabel("tokens / steps")
        axes.set_ylabel("answers" if is_narrow(axes) else "parallel answers")
        axes.grid(visible=False, axis="x")

    chart = Chart(
        "speedups",
        f"Histogram of ideal speed-ups of {len(speedups)} parallel answers, median {middle:.2f}",
        draw,
        wide=(10.6, 3.4),
    )
    note = (
        "The speed-up of decoding if every step took the same time: all tokens of an answer, "
        "markup included, divided by the steps of its longest path."
    )
    return html.section("Ideal speed-up", figure(chart), note=note)


def _answers(seen: _Seen, count: int) -> str:
    shown = "".join(_answer(*each) for each in seen.answers)
    note = (
        f"{len(seen.answers)} of {count:,} parallel answers, drawn at random: each branch in its "
        "colour, behind its title. Uncoloured text is serial."
        if seen.answers
        else "No answer is parallel."
    )
    return html.section("Answers", shown, note=note)


def _answer(row: dict[str, Any], document: Document, speedup: float) -> str:
    blocks = list(document.blocks())
    branches = sum(len(block.branches) for block in blocks)
    prompt = "\n".join(turn["content"] for turn in row["prompt"])
    if len(prompt) > _LONGEST_PROMPT:
        prompt = prompt[:_LONGEST_PROMPT] + " …"
    where = f"{branches} branches in {len(blocks)} block{'s'[: len(blocks) != 1]}"
    return html.answer_columns(
        prompt, [(f"id {row['id']}", f"{where}, ideal speed-up {speedup:.2f}", document)]
    )
