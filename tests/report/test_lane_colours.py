"""Branches have the same colours wherever a document is drawn."""

from rich.console import Console

from aspd_cli.cli.views.live import Lanes, frame
from aspd_cli.core.markup import Block, Branch, Document
from aspd_cli.engine.events import Fork, Text
from aspd_cli.report import html
from aspd_cli.report.lane_colours import PAGE, TERMINAL, page_colour, terminal_colour
from aspd_cli.report.terminal_document import markup_text

TITLES = tuple(f"title{number}" for number in range(8))


def test_neighbours_differ_and_after_the_last_colour_comes_the_first() -> None:
    for colours, of in ((TERMINAL, terminal_colour), (tuple(PAGE), page_colour)):
        assert len(set(colours)) == len(colours)
        assert [of(branch) for branch in range(2 * len(colours))] == [*colours, *colours]


def test_a_page_knows_every_colour_that_it_names() -> None:
    titles = [f"title {number}" for number in range(2 * len(PAGE))]
    block = Block(tuple(Branch(title, Document(("text",))) for title in titles))
    columns = html.answer_columns("prompt", [("system", "", Document((block,)))])
    for branch in range(len(titles)):
        assert f"--lane:var(--{page_colour(branch)})" in columns
        assert page_colour(branch) in html.COLOURS


def test_titles_in_every_colour_can_be_read_on_light_and_on_dark_pages() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for shades in [*PAGE.values(), html.COLOURS["muted"]]:
        for shade, paper in zip(shades, html.COLOURS["paper"], strict=True):
            low, high = sorted([luminance(shade), luminance(paper)])
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{shade} on {paper}: WCAG's AA"


def test_the_live_view_and_the_picture_of_a_document_have_the_same_colours() -> None:
    lanes = Lanes()
    lanes.apply(Fork(0, 0, TITLES, tuple(range(1, 9))))
    for lane in range(1, 9):
        lanes.apply(Text(lane, "text"))
    console = Console(width=40)
    live = {}
    for line in console.render_lines(frame(lanes, console, 40, 8), pad=False):
        [title] = [segment for segment in line if segment.text.strip() in TITLES]
        assert title.style is not None
        assert title.style.color is not None
        live[title.text.strip()] = title.style.color.name
    picture = {}
    text = markup_text(
        Document((Block(tuple(Branch(title, Document(("text",))) for title in TITLES)),))
    )
    for span in text.spans:
        if text.plain[span.start : span.end] in TITLES:
            picture[text.plain[span.start : span.end]] = str(span.style).removeprefix("bold ")
    assert live == picture == dict(zip(TITLES, map(terminal_colour, range(8)), strict=True))
