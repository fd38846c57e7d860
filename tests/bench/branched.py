"""Random documents with blocks, and a clock: what the benchmarks of training share."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import Layout, TokenBlock, TokenBranch, TokenTree, lay_out
from aspd_cli.train.features import IGNORE


def document(codec: Codec, tokens: int, seed: int) -> TokenTree:
    """A tree that is laid out as `tokens` tokens: serial texts and blocks of 2 to 8 branches."""
    rng = np.random.default_rng(seed)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(rng.integers(200, len(codec.tokenizer), length).tolist())

    parts: list[Any] = []
    left = tokens
    while left > 0:
        text, branches, inside = int(rng.integers(8, 40)), int(rng.integers(2, 9)), tokens // 64
        titles = [ids(2) for _ in range(branches)]
        block = TokenBlock(
            tuple(titles),
            tuple(
                TokenBranch(t, ids(4), (ids(int(rng.integers(inside, 2 * inside)) + 4),))
                for t in titles
            ),
        )
        size = text + len(lay_out((block,), codec))
        if size > left:
            parts.append(ids(left))
            break
        parts += [ids(text), block]
        left -= size
    return tuple(parts)


def row(found: Layout) -> dict[str, Any]:
    """What the dataset holds of a record."""
    return {
        "input_ids": found.input_ids,
        "position_ids": found.position_ids,
        "labels": found.labels(IGNORE),
        "lanes": found.lanes,
        "sees": found.sees,
    }


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    result = run()
    return result, time.perf_counter() - began
