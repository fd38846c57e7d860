"""The report of an evaluation: one HTML page, and its charts as PNG files beside it."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aspd_cli.core.markup import Document
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError, MarkupError
from aspd_cli.evaluate.figures import ALL
from aspd_cli.evaluate.measures import explained
from aspd_cli.evaluate.results import EvalAnswer, Evaluation, System
from aspd_cli.files import write_text
from aspd_cli.report.chart import Chart, figure, save
from aspd_cli.report.evaluation_plots import (
    Point,
    lanes_over_steps,
    quality_against_speed,
    speedup_by_branches,
)
from aspd_cli.report.evaluation_tables import (
    category_table,
    judged_table,
    main_metric,
    plain_number,
    quality,
    speed,
    speed_table,
    speedup,
    speedup_on,
    tasks_of,
    whole,
)
from aspd_cli.report.html import (
    answer_columns,
    folded,
    page,
    pair,
    paragraphs,
    section,
    tiles,
)

PAGE = "report.html"
CHARTS = ("quality-speed*.png", "speedup-branches.png", "timeline.png")
"""The names of the pictures, as patterns."""
ANSWERS_SHOWN = 10


def write_report(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Writes report.html and its charts into `folder`; returns what was written, the page first.

    Raises:
        DataError: a file cannot be written.
    """
    charts = list(_charts(evaluation))
    try:
        path = folder / PAGE
        write_text(path, render(evaluation, charts))
        written = [path]
        for _, _, chart in charts:
            written.append(folder / f"{chart.name}.png")
            save(chart, written[-1])
    except OSError as error:
        raise DataError(f"cannot write the report to {folder}: {error.strerror}") from error
    return written


def render(evaluation: Evaluation, charts: Iterable[tuple[str, str, Chart]] = ()) -> str:
    """The page. `charts`: (heading, note, chart) each; the wide ones get a row of their own."""
    cards = [(chart, section(head, figure(chart), note=note)) for head, note, chart in charts]
    beside = [card for chart, card in cards if chart.wide[0] <= 7]
    parts = [tiles(_key_figures(evaluation))]
    parts += [section("What to know", paragraphs(*evaluation.notes))] if evaluation.notes else []
    parts += [pair(*beside)] if beside else []
    parts += [card for chart, card in cards if chart.wide[0] > 7]
    if evaluation.scores or evaluation.latency:
        note = "With 95% intervals"
        if evaluation.latency:
            note += f"; speed-ups of the whole answer over {evaluation.baseline}"
        parts.append(section("By category", category_table(evaluation), note=f"{note}."))
    parts += [_judged(bench, found) for bench, found in evaluation.judged.items()]
    if evaluation.latency:
        note = (
            "Means over all answers with 95% intervals. Useful tokens: what the reader sees. "
            + explained(evaluation.latency)
        )
        parts.append(section("Speed", speed_table(evaluation), note=note))
    if evaluation.answers:
        parts.append(_answers(evaluation))
    parts.append(_circumstances(evaluation))
    tasks = tasks_of(evaluation) or dict.fromkeys(answer.task for answer in evaluation.answers)
    return page(f"Evaluation: {', '.join(tasks)}", *parts, about=_about(evaluation))


def _about(evaluation: Evaluation) -> str:
    systems = ", ".join(system.name for system in evaluation.systems)
    models = " and ".join(dict.fromkeys(system.model for system in evaluation.systems))
    first = evaluation.systems[0]
    return f"{systems}, on {models}, {first.device} {first.dtype}. Baseline: {evaluation.baseline}."


def _parallel(evaluation: Evaluation) -> System | None:
    """The system that the report is about: the first that decodes in parallel."""
    return next((system for system in evaluation.systems if system.mode == "parallel"), None)


def _key_figures(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    system = _parallel(evaluation) or evaluation.systems[0]
    figures = []
    row = speed(evaluation, system.name)
    gain = speedup(evaluation, row)
    if system.name != evaluation.baseline and not math.isnan(gain[0]):
        detail = f"{plain_number(gain[1], 'x')} to {plain_number(gain[2], 'x')}"
        name = f"speed-up of {system.name} over {evaluation.baseline}"
        figures.append((plain_number(gain[0], "x"), name, detail))
    for task in tasks_of(evaluation):
        score = quality(evaluation, task, ALL, system.name)
        other = quality(evaluation, task, ALL, evaluation.baseline)
        if score:
            versus = other if other is not score else None
            detail = f"{evaluation.baseline}: {plain_number(versus.value[0])}" if versus else ""
            name = f"{task}, {score.metric.partition(',')[0]}"
            figures.append((plain_number(score.value[0]), name, detail))
    for measure, name, unit in (
        ("ideal_speedup", "ideal speed-up: tokens / steps", "x"),
        ("ppd", "answers with a block (PPD)", "%"),
        ("dp", "tokens in branches (DP)", "%"),
        ("abn", "branches per block (ABN)", ""),
    ):
        if row and measure in row.measures and not math.isnan(row.measures[measure].mean[0]):
            value, low, high = (plain_number(v, unit) for v in row.measures[measure].mean)
            figures.append((value, name, f"{low} to {high}"))
    return figures


def _charts(evaluation: Evaluation) -> Iterable[tuple[str, str, Chart]]:
    several = len(evaluation.systems) > 1
    tasks = tasks_of(evaluation)
    for at, task in enumerate(tasks):
        points = []
        for number, system in enumerate(evaluation.systems):
            score = quality(evaluation, task, ALL, system.name)
            row = speed(evaluation, system.name)
            if score is None or row is None:
                continue
            over = speedup_on(evaluation, system.name, task)
            pace = over if several else row.measures["tps"].mean
            if not math.isnan(pace[0]) and not math.isnan(score.value[0]):
                points.append(Point(system.name, number, pace, score.value))
        if points:
            unit = f"speed-up over {evaluation.baseline}" if several else "useful tokens a second"
            metric = str(main_metric(evaluation, task)).partition(",")[0]
            suffix = "" if len(tasks) == 1 else f"-{at + 1}"
            chart = quality_against_speed(points, unit, f"{task}: {metric}", suffix=suffix)
            yield "Quality against speed", "Up and to the right is better; 95% intervals.", chart
    yield from _branches_chart(evaluation)
    yield from _timeline_chart(evaluation)


def _branches_chart(evaluation: Evaluation) -> Iterable[tuple[str, str, Chart]]:
    system = _parallel(evaluation)
    if system is None:
        return
    rows = [
        row
        for row in evaluation.latency
        if (row.system, row.task, row.category) == (system.name, whole(evaluation), ALL)
        and row.branches
    ]
    lowest = min((row.concurrency for row in rows), default=0)
    by_branches = {row.branches: row for row in rows if row.concurrency == lowest}
    ideal = {n: row.measures["ideal_speedup"].mean[0] for n, row in by_branches.items() if n}
    gains = {
        other.name: {
            n: row.speedup[other.name]
            for n, row in by_branches.items()
            if n and not math.isnan(row.speedup.get(other.name, (math.nan,))[0])
        }
        for other in evaluation.systems
        if other is not system
    }
    gains = {name: values for name, values in gains.items() if values}
    if ideal and gains:
        numbers = {each.name: at for at, each in enumerate(evaluation.systems)}
        note = f"Time of another system over that of {system.name}, for the same prompts."
        yield "Speed-up by branches", note, speedup_by_branches(gains, ideal, numbers)


def _timeline_chart(evaluation: Evaluation) -> Iterable[tuple[str, str, Chart]]:
    """The answer whose ideal speed-up is the median of those with a block."""
    forked = [a for a in evaluation.answers if a.bars and a.branches and a.finish_reason == "stop"]
    if forked:
        forked.sort(key=lambda answer: answer.stats.ideal_speedup)
        chosen = forked[len(forked) // 2]
        stats = chosen.stats
        note = (
            f"The forked answer of median ideal speed-up: {stats.tokens} tokens in {stats.steps} "
            f"steps, {stats.ideal_speedup:.2f} a step. Pale: titles. {_brief(chosen.prompt)}"
        )
        if stats.accepted_tokens:
            note += f" Steps that drafts saved are drawn as well: {stats.accepted_tokens}."
        yield "Timeline of one decode", note, lanes_over_steps(chosen.bars)


def _judged(bench: str, found: Mapping[str, Any]) -> str:
    note = (
        f"{found['judge']} by instructions {found['prompts']} on {found['questions']} questions, "
        f"{found['samples']} times at each turn. A verdict that changes with the order of "
        "the answers counts as a tie."
    )
    return section(f"Judge on {bench}", judged_table(found), note=note)


def _answers(evaluation: Evaluation) -> str:
    keys = list(dict.fromkeys(answer.key for answer in evaluation.answers if not answer.repeat))
    lowest = min((key[3] for key in keys), default=0)
    keys = [key for key in keys if key[3] == lowest]
    count = min(ANSWERS_SHOWN, len(keys))
    chosen = [keys[at * len(keys) // count] for at in range(count)]
    by_key: dict[object, list[EvalAnswer]] = {key: [] for key in chosen}
    for answer in evaluation.answers:
        if answer.key in by_key:
            by_key[answer.key].append(answer)
    questions = [
        answer_columns(
            answers[0].prompt,
            [(a.system, _detail(a), _document(a)) for a in answers],
            answers[0].target or "",
        )
        for answers in by_key.values()
    ]
    note = f"{count} prompts, evenly spaced over all. A colour is a branch, after its title."
    return section("Answers side by side", *questions, note=note)


def _detail(answer: EvalAnswer) -> str:
    parts = [plain_number(answer.stats.time_s, "s"), f"{answer.stats.steps} steps"]
    parts += [
        f"{name.partition(',')[0]} {plain_number(value)}" for name, value in answer.scores.items()
    ]
    return ", ".join(parts)


def _document(answer: EvalAnswer) -> Document | str:
    try:
        return parse(answer.markup)
    except MarkupError:  # stock decoding may write control tokens as it likes
        return answer.text


def _circumstances(evaluation: Evaluation) -> str:
    dumped = json.dumps(dict(evaluation.settings), indent=2, ensure_ascii=False, default=str)
    machine = json.dumps(dict(evaluation.machine), indent=2, ensure_ascii=False, default=str)
    parts = folded("Machine and versions", machine), folded("Settings", dumped)
    return section("How it was measured", *parts)


def _brief(text: str, length: int = 160) -> str:
    line = " ".join(text.split())
    return f"“{line if len(line) <= length else line[: length - 1] + '…'}”"
