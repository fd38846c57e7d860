"""Log-probabilities of given tokens: forward passes over the layout that holds them.

What a lane was decoded with is what a pass over the finished layout computes, so the tokens of an
answer need not be scored while they are sampled.

Shapes: T tokens of a layout, S tokens of a step, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aspd_cli.core.layout import Layout
from aspd_cli.core.visibility import LaneTree
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.kv_cache import Feed, LaneCache

_AT_ONCE = 256
"""Tokens of a forward pass: their logits are (256, V)."""


@dataclass(frozen=True, slots=True)
class Score:
    """One token under the model, before temperature and other warping."""

    token: int
    logprob: float | None
    """None for the first token: nothing stands before it."""
    top: dict[int, float]
    """The likeliest tokens and their log-probabilities, the likeliest first."""


@torch.inference_mode()
def score(decoder: Decoder, layout: Layout, top: int = 0) -> list[Score]:
    """The scores of T tokens, each after what its lane sees.

    Args:
        top: how many of the likeliest tokens to name for each.
    """
    cache = LaneCache(decoder.runner.layers, 1, decoder.device)
    cache.open_row(0)
    cache.trees[0] = LaneTree.of(layout.sees)
    scores: list[Score] = []
    before: dict[int, Tensor] = {}
    """Lane -> logits after its last token."""
    for feeds in _steps(layout):
        size = sum(len(feed.ids) for feed in feeds)
        logits = decoder.runner.forward(range(size), cache, cache.prepare(feeds)).float()  # (S, V)
        at = 0
        for feed in feeds:
            after = logits[at : at + len(feed.ids)]
            at += len(feed.ids)
            if feed.lane in before:
                scores += _scores(torch.cat([before[feed.lane][None], after[:-1]]), feed.ids, top)
            else:
                scores.append(Score(feed.ids[0], None, {}))
                scores += _scores(after[:-1], feed.ids[1:], top)
            before[feed.lane] = after[-1]
    return scores


def _steps(layout: Layout) -> list[list[Feed]]:
    """The layout in runs of one lane on consecutive positions, and these in steps."""
    lanes, positions = layout.lanes, layout.position_ids
    breaks = (np.diff(lanes) != 0) | (np.diff(positions) != 1)
    cuts = np.union1d(np.flatnonzero(breaks) + 1, np.arange(0, len(layout), _AT_ONCE))
    steps: list[list[Feed]] = []
    for start, stop in zip(cuts, [*cuts[1:], len(layout)], strict=True):
        if start % _AT_ONCE == 0:
            steps.append([])
        ids = layout.input_ids[start:stop].tolist()
        steps[-1].append(Feed(0, int(lanes[start]), ids, int(positions[start])))
    return steps


def _scores(logits: Tensor, ids: Sequence[int], top: int) -> list[Score]:
    """The scores of n tokens by the (n, V) logits before them."""
    logprobs = logits.log_softmax(-1)
    own = logprobs[range(len(ids)), list(ids)].tolist()
    values, indices = logprobs.topk(top)
    likely = zip(indices.tolist(), values.tolist(), strict=True)
    return [
        Score(token, logprob, dict(zip(*best, strict=True)))
        for token, logprob, best in zip(ids, own, likely, strict=True)
    ]
