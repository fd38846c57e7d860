"""The report in a real browser: complete in itself, quiet, drawn, and as wide as its screen."""

import json
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from aspd_cli.cli.main import app
from aspd_cli.core.parser import parse
from aspd_cli.evaluate.results import read_evaluation
from aspd_cli.report.chart import Chart, figure
from aspd_cli.report.evaluation_page import ANSWERS_SHOWN, write_report
from aspd_cli.report.evaluation_plots import Point, quality_against_speed
from aspd_cli.report.html import answer, page, section, table
from tests.browser import browser, open_page

__all__ = ["browser"]

CHARTS = ("quality-speed", "speedup-branches", "timeline")
PER_FAMILY = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `aspd eval` leaves of a real run."""
    path = tmp_path_factory.mktemp("report")
    args = ["eval", "--tasks", "aspd_synth", "--limit", str(PER_FAMILY), "--quiet"]
    args += ["--compare", "parallel,plain", "--output_path", str(path)]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    return path


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_complete_quiet_and_never_wider_than_its_screen(
    browser: Any, folder: Path, width: int, scheme: str
) -> None:
    opened, said = open_page(browser, folder / "report.html", width, scheme)
    assert said == [], "no errors, and nothing is asked of a network"
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    drawings = opened.locator("figure svg:visible")
    assert drawings.count() == len(CHARTS)
    for drawing in drawings.all():
        box = drawing.bounding_box()
        assert box["width"] > 250
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert drawing.locator("path").count() > 5
        sizes = drawing.locator("text").evaluate_all(
            "texts => texts.map(text => text.getBoundingClientRect().height)"
        )
        assert min(sizes) > 7, "labels can be read"
    assert opened.locator(".question").count() == ANSWERS_SHOWN
    assert opened.locator(".answers > div").count() == 2 * ANSWERS_SHOWN
    assert opened.locator(".branch").count() > 3


@pytest.mark.parametrize("width", [1280, 390])
def test_every_table_is_whole_and_names_every_system(
    browser: Any, folder: Path, width: int
) -> None:
    opened, _ = open_page(browser, folder / "report.html", width, "light")
    boxes = opened.locator(".scroll").all()
    assert len(boxes) == 2
    for box in boxes:
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
    category = opened.locator("section", has_text="By category")
    cells = category.locator("td").evaluate_all(
        "cells => cells.map(cell => getComputedStyle(cell, '::before').content + cell.innerText)"
    )
    if width < 640:  # a row is a card: each value has the heading of its column
        assert sum('"plain"' in cell for cell in cells) == 5
        assert sum('"parallel, speed-up"' in cell for cell in cells) == 5
    else:
        assert category.locator("th").all_inner_texts()[1:3] == ["parallel", "plain"]


def test_abbreviations_are_explained_and_notes_are_in_sight(folder: Path, tmp_path: Path) -> None:
    evaluation = replace(read_evaluation(folder), notes=("Mind <this>.",))
    write_report(evaluation, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert text.index("Mind &lt;this&gt;.") < text.index("By category")
    for short in ("TTFT", "TPS", "P-TPS", "PPD", "DP", "ABN", "APE"):
        assert len(re.findall(rf"(?<![\w-]){short}: ", text)) == 1
        assert f"({short})" in text


def test_a_share_is_drawn_between_zero_and_one() -> None:
    def limits(*quality: tuple[float, float, float]) -> tuple[float, float]:
        points = [Point(str(n), n, (1.0, 0.1, 2.0), value) for n, value in enumerate(quality)]
        axes = Figure().add_subplot()
        quality_against_speed(points, "speed", "quality").draw(axes)
        assert axes.get_xlim()[0] >= 0
        low, high = axes.get_ylim()
        return float(low), float(high)

    assert limits((1.0, 1.0, 1.0), (0.9, 0.8, 1.0))[1] == 1.0
    assert limits((1.0, 1.0, 1.0))[1] == 1.0
    assert limits((0.02, 0.0, 0.1), (0.5, 0.4, 0.6))[0] == 0.0
    assert limits((7.0, 6.0, 9.9))[1] > 9.9, "a grade is no share"


def test_a_dark_screen_gets_light_ink_on_dark_paper(browser: Any, folder: Path) -> None:
    def brightness(scheme: str, name: str) -> float:
        opened, _ = open_page(browser, folder / "report.html", 1280, scheme)
        script = f"getComputedStyle(document.querySelector('section')).{name}"
        return sum(map(int, re.findall(r"\d+", opened.evaluate(script))[:3]))

    assert brightness("light", "color") < brightness("light", "backgroundColor")
    assert brightness("dark", "color") > brightness("dark", "backgroundColor")


def test_the_charts_are_there_as_pictures(folder: Path) -> None:
    for name in CHARTS:
        data = (folder / f"{name}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", data[16:24])
        assert width >= 1000
        assert height >= 300


def test_the_page_says_what_the_results_say(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    results = json.loads((folder / "results.json").read_text())["aspd"]
    for score in results["scores"]:
        if score["category"] == "all" and score["task"] == "aspd_synth":
            assert f"{score['value']['value']:.3f}" in text
    for category in {s["category"] for s in results["scores"]} - {"all"}:
        assert f"{category}</td>" in text


def test_a_report_is_made_again_from_what_was_written(folder: Path, tmp_path: Path) -> None:
    write_report(read_evaluation(folder), tmp_path)
    here, there = (
        re.sub(r"<svg .*?</svg>", "", (path / "report.html").read_text(), flags=re.DOTALL)
        for path in (tmp_path, folder)
    )
    assert here == there


def test_speed_alone_has_a_report_too(folder: Path, tmp_path: Path) -> None:
    evaluation = replace(read_evaluation(folder), scores=(), lm_eval={})
    written = [path.name for path in write_report(evaluation, tmp_path)]
    assert written == ["report.html", "speedup-branches.png", "timeline.png"]
    empty = replace(evaluation, answers=(), latency=())
    assert [path.name for path in write_report(empty, tmp_path)] == ["report.html"]


def test_text_is_never_taken_for_html() -> None:
    attack = "<script>alert(1)</script><img src=x onerror=y>"
    markup = (
        f"{attack}<|title|>{attack}<|/title|><|title|>b<|/title|><|para|><|branch|>{attack}: "
        f"{attack}<|/branch|><|branch|>b: c<|/branch|><|/para|>"
    )
    made = page(
        attack,
        section(
            attack, answer(parse(markup)), answer(attack), table([attack], [[(attack, attack)]])
        ),
        about=attack,
    )
    assert "<script" not in made
    assert "<img" not in made
    chart = Chart("c", attack, lambda axes: axes.set_xlabel(attack))
    assert "<script" not in figure(chart)
    assert "<img" not in figure(chart)
