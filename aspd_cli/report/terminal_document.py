"""A document in a terminal: lanes in colour, tokens with positions, and the mask.

`picture` draws a document, `sample_text` one record as a run of training sees it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.text import Text

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import Layout, Positions, lay_out, tokenize
from aspd_cli.core.markup import (
    BRANCH,
    BRANCH_END,
    PARA,
    PARA_END,
    SEPARATOR,
    TITLE,
    TITLE_END,
    Block,
    Document,
)
from aspd_cli.core.visibility import MAIN
from aspd_cli.report.lane_colours import terminal_colour
from aspd_cli.safe_text import printable

SIDE = 72
"""Most rows and columns of the picture of a mask; longer documents are drawn coarser."""

_HALVES = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}

_SHOWN_PROMPT = 40
"""Tokens of the prompt's end that a dry run shows."""


def picture(
    document: Document, codec: Codec, positions: Positions, *, real: bool
) -> RenderableType:
    """Everything there is to see of a document.

    Args:
        real: whether `codec` has a tokenizer behind it; without one tokens cannot be drawn.
    """
    layout = lay_out(tokenize(document, codec), codec, positions=positions)
    parts: list[RenderableType] = [markup_text(document)]
    if real:
        parts += [Text("tokens as token@position (forced tokens underlined)", "bold")]
        parts += [token_text(layout, codec)]
    parts += [
        Text("attention mask: rows are tokens, columns are the tokens they attend to", "bold")
    ]
    return Group(*parts, mask_text(layout.visibility()))


def markup_text(document: Document, colour: str = "default") -> Text:
    """The markup, with each branch and its title in one colour; control tokens are dim."""
    out = Text()
    for part in document.parts:
        if isinstance(part, Block):
            out.append_text(_block_text(part))
        else:
            out.append(printable(part), colour)
    return out


def _block_text(block: Block) -> Text:
    out = Text()
    coloured = [(branch, terminal_colour(at)) for at, branch in enumerate(block.branches)]
    for title, (_, colour) in zip(block.titles, coloured, strict=True):
        out.append(TITLE, "dim").append(printable(title), f"bold {colour}")
        out.append(TITLE_END, "dim")
    out.append(PARA + "\n", "dim")
    for lead, (branch, colour) in zip(block.leads, coloured, strict=True):
        out.append(BRANCH, "dim")
        out.append(printable(lead or branch.title + SEPARATOR), f"underline {colour}")
        out.append_text(markup_text(branch.content, colour)).append(BRANCH_END + "\n", "dim")
    return out.append(PARA_END, "dim")


def token_text(layout: Layout, codec: Codec) -> Text:
    """Every token as token@position; forced ones are underlined, lanes have their colours."""
    out = Text()
    names = codec.tokenizer.convert_ids_to_tokens(layout.input_ids.tolist())
    rows = zip(names, layout.position_ids, layout.lanes, layout.sampled, strict=True)
    for name, position, lane, sampled in rows:
        colour = _lane_colour(lane)
        out.append(printable(str(name)), colour if sampled else f"underline {colour}")
        out.append(f"@{position}  ", "dim")
    return out


def mask_text(mask: NDArray[np.bool_]) -> Text:
    """(T, T) as half blocks, two rows a line; at most `SIDE` wide and high."""
    step = -(-len(mask) // SIDE)
    coarse = mask[::step, ::step]  # (S, S) with S <= SIDE
    if len(coarse) % 2:
        coarse = np.vstack([coarse, np.zeros_like(coarse[:1])])
    lines = (
        "".join(_HALVES[bool(a), bool(b)] for a, b in zip(upper, lower, strict=True))
        for upper, lower in zip(coarse[::2], coarse[1::2], strict=True)
    )
    return Text("\n".join(lines), no_wrap=True)


def _lane_colour(lane: int) -> str:
    return "default" if lane == MAIN else terminal_colour(lane - 1)


def sample_text(
    codec: Codec,
    *,
    ids: Sequence[int],
    positions: Sequence[int],
    lanes: Sequence[int],
    learnt: Sequence[bool],
    answer: int,
) -> Text:
    """Every token of a record as token@position, in the colour of its lane.

    Args:
        ids, positions, lanes, learnt: of each token; `learnt` says whether it takes loss.
        answer: index of the first token of the answer.
    """
    out = Text()
    first = max(0, answer - _SHOWN_PROMPT)
    if first:
        out.append(f"({first} tokens before) ", "dim")
    names = codec.tokenizer.convert_ids_to_tokens(list(ids))
    for at in range(first, len(ids)):
        colour = _lane_colour(lanes[at])
        style = "dim" if at < answer else colour if learnt[at] else f"underline {colour}"
        out.append(printable(str(names[at])), style).append(f"@{positions[at]}  ", "dim")
    return out
