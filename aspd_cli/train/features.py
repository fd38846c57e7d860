"""One record as tokens: ids, positions, labels, lanes, and which lanes see each other."""

from typing import Any

import numpy as np

from aspd_cli.core.chat import encode_prompt
from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import Layout, Positions, lay_out, tokenize
from aspd_cli.core.markup import Block, Document, plain
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError

IGNORE = -100
"""The label of a token that takes no loss."""


def features(
    record: dict[str, Any],
    codec: Codec,
    end_ids: list[int],
    style: str = "parallel",
    positions: Positions = "same-seq",
    loss_on_prompt: bool = False,
    max_length: int | None = None,
    too_long: str = "drop",
) -> dict[str, Any]:
    """One record as tokens.

    Returns:
        `input_ids`, `position_ids`, `labels` (not shifted) and `lanes`, all of T entries; `sees`,
        (L, L) which lanes see each other; `length`, T; `whole`, what T is with all blocks;
        `learnt`, how many tokens take loss; `depth` of its blocks; `made_serial`, whether it lost
        them for being too long.

    Raises:
        MarkupError: the completion is not in the grammar.
        DataError: the prompt or the completion is no text and no list of messages.
    """
    document = parse(_answer(record["completion"]))
    if misread := next(filter(None, (block.misread for block in document.blocks())), None):
        raise DataError(
            f"the title {misread!r} looks like a label, but its block has no form: transform the "
            "answer again, or change the title"
        )
    prompt_ids = encode_prompt(codec, record["prompt"]) if record["prompt"] else []

    def laid_out(document: Document) -> Layout:
        tree = tokenize(document, codec)
        return lay_out(tree, codec, prompt_ids=prompt_ids, end_ids=end_ids, positions=positions)

    depth = _depth(document)
    if depth and style == "serial":
        document, depth = Document((plain(document),)), 0
    found = laid_out(document)
    whole = len(found)
    made_serial = bool(
        depth and too_long == "serial" and max_length is not None and whole > max_length
    )
    if made_serial:
        found, depth = laid_out(Document((plain(document),))), 0
    labels = found.labels(IGNORE)
    if loss_on_prompt:
        answer = int(found.sampled.argmax())
        labels[:answer] = found.input_ids[:answer]
    return {
        "input_ids": found.input_ids,
        "position_ids": found.position_ids,
        "labels": labels,
        "lanes": found.lanes,
        "sees": found.sees,
        "length": len(found),
        "whole": whole,
        "learnt": int((labels[1:] != IGNORE).sum()),
        "depth": depth,
        "made_serial": made_serial,
    }


def _answer(completion: Any) -> str:
    """The markup of a completion: a text, or the last of its messages."""
    if isinstance(completion, list) and completion:
        completion = completion[-1].get("content") if isinstance(completion[-1], dict) else None
    if not isinstance(completion, str) or not completion:
        raise DataError("the completion is empty, or is neither a string nor a list of messages")
    return completion


def _depth(document: Document) -> int:
    return max(
        (
            1 + max(_depth(branch.content) for branch in part.branches)
            for part in document.parts
            if isinstance(part, Block)
        ),
        default=0,
    )


_NOTHING = np.zeros(0, dtype=np.int64)
UNREADABLE: dict[str, Any] = {
    "input_ids": _NOTHING,
    "position_ids": _NOTHING,
    "labels": _NOTHING,
    "lanes": _NOTHING,
    "sees": np.ones((1, 1), dtype=bool),
    "length": 0,
    "whole": 0,
    "learnt": 0,
    "depth": 0,
    "made_serial": False,
}
"""In place of the features of a record that has none."""
