"""Whether the tokens of a document are what training and decoding take them for."""

from collections.abc import Iterator

import numpy as np

from aspd_cli.core.layout import lay_out, tokenize
from aspd_cli.core.markup import Document, plain
from aspd_cli.core.tokens import Codec
from aspd_cli.transform.counting import EstimatingCodec


def layout_faults(document: Document, codec: Codec) -> Iterator[str]:
    """What is wrong with the layout of a document, one sentence each.

    Tokens of the plain text must give it back; none of them may be a control token; positions grow
    along every path; no branch sees its neighbours. Without a tokenizer the first two are left out.
    """
    layout = lay_out(tokenize(document, codec), codec)
    lanes, positions = layout.lanes, layout.position_ids
    for lane in range(len(layout.sees)):
        inside = positions[lanes == lane]
        if (np.diff(inside) <= 0).any():
            yield f"positions do not grow along lane {lane}"
    for block in _siblings(document):
        if layout.sees[np.ix_(block, block)].sum() != len(block):
            yield "branches of a block see each other"
    if isinstance(codec, EstimatingCodec):
        return
    ids = layout.input_ids[layout.useful]
    if any(document.blocks()) and np.isin(ids, list(codec.control)).any():
        yield "the plain text is encoded with a control token"
    # Each run was encoded on its own and is a continuation of what stands before it.
    edges = np.flatnonzero(np.diff(lanes[layout.useful], prepend=-1))
    text = "".join(codec.decode(run.tolist()) for run in np.split(ids, edges[1:]))
    if text != (wanted := plain(document)):
        at = next((i for i, (a, b) in enumerate(zip(text, wanted, strict=False)) if a != b), -1)
        at = at if at >= 0 else min(len(text), len(wanted))
        yield f"the tokenizer gives the plain text back changed, from character {at} on"


def _siblings(document: Document) -> Iterator[list[int]]:
    """The lanes of each block, numbered as they are forked: a block's before its nested ones."""
    taken = 0

    def walk(part: Document) -> Iterator[list[int]]:
        nonlocal taken
        for block in part.parts:
            if isinstance(block, str):
                continue
            lanes = list(range(taken + 1, taken + 1 + len(block.branches)))
            taken += len(lanes)
            yield lanes
            for branch in block.branches:
                yield from walk(branch.content)

    return walk(document)
