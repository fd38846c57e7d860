"""Pages that commands write: one HTML file each, complete in itself, light and dark, any width.

    page("Title", section("Heading", table(("system", "score"), [("parallel", "7.1")])))

Everything that is given as text is escaped here; what is HTML already comes from this module or
from `aspd_cli.report.chart`.
"""

import html
from collections.abc import Iterable, Sequence
from importlib.resources import files

from aspd_cli.core.markup import Block, Document
from aspd_cli.report.lane_colours import PAGE, page_colour
from aspd_cli.safe_text import printable

COLOURS = {
    "ink": ("#1c2128", "#e3e8ee"),
    "muted": ("#5a6572", "#98a4b3"),
    "line": ("#d9dfe6", "#333c47"),
    "paper": ("#fffffe", "#1b2129"),
    "ground": ("#f4f6f8", "#12161b"),
    **PAGE,
}
"""Name of a colour -> what it is on a light and on a dark screen; b0, b1, ... are branches."""

MANY_COLUMNS = 6
"""A table with more has intervals under their values instead of beside them."""

NARROW_COLUMNS = 2
"""A table with more is too wide for a phone."""

LONG_REFERENCE = 120
"""Characters from which a reference answer is folded away."""

# Nothing on a page may ask for anything outside of it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def escape(text: str) -> str:
    """Text as HTML; what a reader could not see stands there as an escape."""
    return html.escape(printable(text))


def page(title: str, *parts: str, about: str = "") -> str:
    """The whole HTML file.

    Args:
        title: text of the tab and of the heading.
        parts: HTML, one under the other.
        about: text under the heading: what was run, on what.
    """
    head = f'<p class="about">{escape(about)}</p>' if about else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{head}\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str, note: str = "") -> str:
    """A card with a heading, a line that explains it, and HTML."""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section>\n<h2>{escape(heading)}</h2>\n{below}\n" + "\n".join(parts) + "\n</section>"


def paragraphs(*texts: str) -> str:
    """Texts, one under the other."""
    return "\n".join(f"<p>{escape(text)}</p>" for text in texts)


def pair(*sections: str) -> str:
    """Sections side by side where there is room."""
    return '<div class="pair">\n' + "\n".join(sections) + "\n</div>"


def tiles(figures: Iterable[tuple[str, str, str]]) -> str:
    """Key figures: (value, what it is, its interval or unit), all text."""
    cards = (
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span>'
        f"<span>{escape(detail)}</span></div>"
        for value, name, detail in figures
    )
    return '<div class="tiles">\n' + "\n".join(cards) + "\n</div>"


def table(head: Sequence[str], rows: Iterable[Sequence[str | tuple[str, str]]]) -> str:
    """A table of texts; a cell that is a pair shows its second text small, as for an interval.

    On a phone a table of many columns shows each row as a card, a line for each column.
    """

    def cell(name: str, content: str | tuple[str, str]) -> str:
        opening = f'<td data-head="{escape(name)}">'
        if isinstance(content, str):
            return f"{opening}{escape(content)}</td>"
        return f"{opening}{escape(content[0])}<small>{escape(content[1])}</small></td>"

    kinds = [("dense", len(head) > MANY_COLUMNS), ("cards", len(head) > NARROW_COLUMNS)]
    named = " ".join(name for name, on in kinds if on)
    style = f' class="{named}"' if named else ""
    above = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "\n".join(f"<tr>{''.join(map(cell, head, row))}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table{style}>\n<thead><tr>{above}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def folded(summary: str, text: str) -> str:
    """Text that opens at a click, as it is, in fixed width."""
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"


def answer(document: Document | str) -> str:
    """An answer's plain text, its branches coloured and labelled with their titles."""
    inner = escape(document) if isinstance(document, str) else _document(document)
    return f'<div class="answer">{inner}</div>'


def answer_columns(
    prompt: str, answers: Iterable[tuple[str, str, Document | str]], reference: str = ""
) -> str:
    """Answers to one prompt side by side: (who, detail, answer) each, all text.

    Args:
        reference: the right answer, where there is one.
    """
    columns = "\n".join(
        f"<div><h3>{escape(who)}<small>{escape(detail)}</small></h3>{answer(document)}</div>"
        for who, detail, document in answers
    )
    if len(reference) > LONG_REFERENCE:
        below = folded("Reference answer", reference)
    else:
        below = f'<p class="note">Reference: {escape(reference)}</p>' if reference else ""
    return (
        f'<div class="question">\n<p class="prompt">{escape(prompt)}</p>\n{below}'
        f'<div class="answers">\n{columns}\n</div>\n</div>'
    )


def _document(document: Document) -> str:
    return "".join(
        _block(part) if isinstance(part, Block) else escape(part) for part in document.parts
    )


def _block(block: Block) -> str:
    return "".join(
        f'<span class="branch" style="--lane:var(--{page_colour(at)})">'
        f"{_label(branch.title, lead)}{_document(branch.content)}</span>"
        for at, (branch, lead) in enumerate(zip(block.branches, block.leads, strict=True))
    )


def _label(title: str, lead: str) -> str:
    """What names a branch: its lead, which is text of the answer, or the title that is none."""
    if lead:
        return f'<span class="lead">{escape(lead)}</span>'
    return f'<span class="title">{escape(title)}</span>'


def colour_rules() -> str:
    """The colours of a page as variables in CSS, for light and dark screens."""
    light, dark = (
        "".join(f"--{name}:{values[at]};" for name, values in COLOURS.items()) for at in (0, 1)
    )
    return f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def _style() -> str:
    sheet = (files("aspd_cli") / "report" / "page.css").read_text(encoding="utf-8")
    return f"{colour_rules()}\n{sheet}"
