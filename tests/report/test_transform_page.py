"""The page of a run: in a real browser complete, quiet and as wide as its screen."""

import json
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import Block, Branch, Document
from aspd_cli.core.metrics import ideal_speedup
from aspd_cli.errors import DataError
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.report.transform_page import ANSWERS, write_page
from aspd_cli.transform.pipeline import transform_file
from aspd_cli.transform.token_counts import EstimatingCodec
from tests import make
from tests.browser import browser, open_page
from tests.transform import answers

__all__ = ["browser"]

RECORDS = 60


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about a file whose answers try to be HTML."""
    folder = tmp_path_factory.mktemp("html")
    texts = [text for text, _ in answers.PARALLEL.values()] + [answers.SERIAL["recipe"]]
    lines = [
        json.dumps({"question": f"<b>q</b> {n} & 'x'", "answer": f"<i>{n}\n\n" + text})
        for n, text in zip(range(RECORDS), texts * RECORDS, strict=False)
    ]
    (folder / "in.jsonl").write_text("\n".join(["{broken", *lines]))
    out, codec = folder / "out.jsonl", EstimatingCodec()
    report = transform_file(folder / "in.jsonl", out, TransformSection(min_tokens=10), codec)
    write_page(folder / "new" / "page.html", out, report, codec, "who & what")
    return folder / "new" / "page.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_complete_quiet_and_no_wider_than_its_screen(
    browser: Any, page: Path, width: int, scheme: str
) -> None:
    opened, said = open_page(browser, page, width, scheme)
    assert said == [], "no errors, and nothing is asked of a network"
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.locator(".tile").count() >= 7
    assert opened.locator("table").count() == 2
    assert opened.locator("figure svg:visible").count() == 1
    assert opened.locator(".question").count() == ANSWERS
    assert opened.locator(".branch").count() > 2 * ANSWERS
    assert opened.locator("b >> text=q").count() == 0, "what a user wrote is no HTML"
    assert "<i>" in opened.locator(".answer").first.inner_text()
    paper, ink = (
        opened.evaluate(f"getComputedStyle(document.querySelector('section')).{name}")
        for name in ("backgroundColor", "color")
    )
    assert (_brightness(ink) > _brightness(paper)) == (scheme == "dark")
    opened.context.close()


def _brightness(colour: str) -> int:
    return sum(int(part) for part in colour.strip("rgb()").split(","))


def test_the_page_holds_the_figures_of_the_report(page: Path) -> None:
    text = page.read_text()
    report = json.loads((page.parent.parent / "out.jsonl.report.json").read_text())
    assert f"<b>{RECORDS}</b>" in text
    assert f"{report['parallel']} of them parallel" in text
    for stage in report["stages"]:
        cells = (f'<td data-head="{name}">{stage[name]}</td>' for name in ("stage", "in", "out"))
        assert "".join(cells) in text
    assert f"{ANSWERS} of {report['parallel']} parallel answers" in text
    assert "who &amp; what" in text
    assert "records rejected" in text


def test_without_a_parallel_answer_the_page_says_so(tmp_path: Path) -> None:
    (tmp_path / "in").write_text(json.dumps({"question": "q", "answer": "Only prose. " * 50}))
    out, codec = tmp_path / "out.jsonl", EstimatingCodec()
    report = transform_file(tmp_path / "in", out, TransformSection(), codec)
    write_page(tmp_path / "page.html", out, report, codec, "")
    text = (tmp_path / "page.html").read_text()
    assert "No answer is parallel." in text
    assert "<svg" not in text


def test_a_page_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "in").write_text(json.dumps({"question": "q", "answer": "Only prose."}))
    out, codec = tmp_path / "out.jsonl", EstimatingCodec()
    report = transform_file(tmp_path / "in", out, TransformSection(), codec)
    with pytest.raises(DataError, match=r"cannot write /proc/none/page.html"):
        write_page(Path("/proc/none/page.html"), out, report, codec, "")


def test_a_line_of_the_output_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "in").write_text(json.dumps({"question": "q", "answer": "Only prose."}))
    out, codec = tmp_path / "out.jsonl", EstimatingCodec()
    report = transform_file(tmp_path / "in", out, TransformSection(), codec)
    out.write_bytes(out.read_bytes() + b'{"id": ')
    with pytest.raises(DataError, match=r"out\.jsonl:2 is not JSON"):
        write_page(tmp_path / "page.html", out, report, codec, "")


def test_the_ideal_speedup_counts_the_longest_path() -> None:
    codec = Codec(make.tokenizer("qwen", "chatml"))
    size = {text: len(codec.encode(text)) for text in ("A", "B", ": ", "one two", "three", "end")}
    branches = (("A", "one two"), ("B", "three"))
    block = Block(tuple(Branch(title, Document((text,))) for title, text in branches))
    titles = size["A"] + size["B"]
    contents = size["one two"] + size["three"]
    # Titles twice, once announced and once forced, four tokens around them, and <|para|>;
    # each branch has two tokens around it and a separator; then <|/para|>, text, end of turn.
    tokens = (titles + 4 + 1) + (titles + contents + 4 + 2 * size[": "]) + 1 + size["end"] + 1
    steps = (titles + 4 + 1) + max(size["one two"], size["three"]) + 1 + size["end"] + 1
    assert ideal_speedup(Document((block, "end")), codec) == pytest.approx(tokens / steps)
    assert ideal_speedup(Document(("end",)), codec) == 1.0
    nested = Block((Branch("A", Document((block,))), Branch("B", Document(("three",)))))
    assert ideal_speedup(Document((nested,)), codec) > 1
