"""A document as a picture file: who sees whom, with lanes, positions and forced tokens."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import Positions, lay_out, tokenize
from aspd_cli.core.markup import Document
from aspd_cli.core.visibility import MAIN
from aspd_cli.errors import DataError
from aspd_cli.files import write_atomically
from aspd_cli.report.html import COLOURS
from aspd_cli.report.lane_colours import PAGE

MARK = b"Software\0aspd"
"""What every picture of ours bears near its beginning."""
SIDE = 1600
"""Most rows and columns that are drawn; of a longer document every n-th token."""
NAMED = 72
"""Most tokens whose text is written beside their row."""
_INK, _PAPER, _PALE = (COLOURS[name][0] for name in ("ink", "paper", "line"))


def draw_mask(
    document: Document, codec: Codec, positions: Positions, path: Path, *, real: bool
) -> None:
    """Writes a PNG: a row for each token, coloured by lane, with a cell for each that it sees.

    Left of it are two strips: whether the token is forced (dark) or sampled (pale), and its
    position as a curve.

    Args:
        real: whether `codec` has a tokenizer behind it; without one tokens have no names.

    Raises:
        DataError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    layout = lay_out(tokenize(document, codec), codec, positions=positions)
    if not len(layout):
        raise DataError("the record has no token to draw")
    every = -(-len(layout) // SIDE)
    mask = layout.visibility()[::every, ::every]
    lanes, forced = layout.lanes[::every], ~layout.sampled[::every]
    count = len(mask)
    figure = Figure(figsize=(11, 8.5), dpi=150, layout="constrained")
    places, marks, cells = figure.subplots(
        1, 3, width_ratios=(1, 0.12, 6), sharey=True, gridspec_kw={"wspace": 0.02}
    )
    cells.imshow(_colours(mask, lanes), aspect="auto", interpolation="nearest")
    cells.set_title(
        f"{len(layout)} tokens in {len(layout.sees)} lanes, positions {positions}"
        + (f", every {every}th drawn" if every > 1 else ""),
        fontsize=10,
        color=_INK,
    )
    cells.set_xlabel("token that is seen")
    marks.imshow(_rgb(_INK, _PALE, forced)[:, None], aspect="auto", interpolation="nearest")
    marks.set_title("forced", fontsize=8, color=_INK)
    marks.set_xticks([])
    places.step(layout.position_ids[::every], np.arange(count), where="mid", color=_INK, lw=0.8)
    places.set_xlabel("position")
    places.grid(color=_PALE, lw=0.5)
    places.set_ylim(count - 0.5, -0.5)
    if real and count == len(layout) <= NAMED:
        _name(places, layout.input_ids.tolist(), codec)
    else:
        places.set_ylabel("token" if every == 1 else f"token / {every}")
    try:
        with write_atomically(path) as file:
            figure.savefig(file, format="png", facecolor=_PAPER, metadata={"Software": "aspd"})
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error


def _colours(mask: NDArray[np.bool_], lanes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(S, S, 3) the colour of the lane of each row where it sees; the main lane is grey."""
    lane_rgb = np.array([_hex(COLOURS["muted"][0]), *(_hex(light) for light, _ in PAGE.values())])
    index = np.where(lanes == MAIN, 0, 1 + (lanes - 1) % len(PAGE))
    return np.where(mask[..., None], lane_rgb[index][:, None], _hex(_PAPER)).astype(np.uint8)


def _rgb(yes: str, no: str, where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(where[:, None], _hex(yes), _hex(no)).astype(np.uint8)


def _hex(colour: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(colour.lstrip("#")), dtype=np.uint8)


def _name(axes: Any, ids: list[int], codec: Codec) -> None:
    names = codec.tokenizer.convert_ids_to_tokens(ids)
    # Dollars would begin a formula.
    shown = [str(name).replace("$", r"\$")[:18] for name in names]
    axes.set_yticks(range(len(ids)), shown, fontsize=6)
