"""The mask that grows with the steps is the one that the definition gives."""

import random

import numpy as np
import pytest
import torch

from aspd_cli.core.visibility import MAIN
from aspd_cli.engine.attention import mask_table
from aspd_cli.engine.kv_cache import Feed, LaneCache


def expected(cache, row, span):
    """(Q, K) by the definition: what stands before, in a lane that is seen."""
    lanes, sees = cache.lanes[row, : cache.used[row]], cache.trees[row].sees
    slots = range(span.slot, span.slot + span.stop - span.start)
    return np.array(
        [[j <= i and sees[lanes[i], lanes[j]] for j in range(len(lanes))] for i in slots]
    )


@pytest.mark.parametrize("room", [0, 3, 256])
@pytest.mark.parametrize("seed", range(4))
def test_masks_of_any_course_of_lanes_are_those_of_the_definition(seed, room, monkeypatch):
    """Lanes fork, pause, end and go on; rows are taken again; masks are asked for or not."""
    monkeypatch.setattr(mask_table, "_ROOM", room)
    draw, like = random.Random(seed), torch.zeros(1)
    rows, shared = 5, 0
    cache = LaneCache(1, rows, torch.device("cpu"))
    alive, grown = {}, 0
    for _ in range(400):
        feeds = []
        for row in range(rows):
            if row not in alive or draw.random() < 0.03:
                cache.open_row(row)
                alive[row] = [MAIN]
                feeds.append(Feed(row, MAIN, [1] * draw.randint(1, 5), 0))
                continue
            if draw.random() < 0.05:
                alive[row] = list(
                    cache.trees[row].fork(draw.choice(alive[row]), draw.randint(2, 4))
                )
            elif draw.random() < 0.05:
                alive[row] = [draw.choice(range(len(cache.trees[row])))]
            elif len(alive[row]) > 1 and draw.random() < 0.1:
                alive[row].remove(draw.choice(alive[row]))
            size = 2 if draw.random() < 0.05 else 1
            feeds += [Feed(row, lane, [1] * size, 9) for lane in alive[row]]
        if draw.random() < 0.3:  # one row alone: the others wait
            feeds = [feed for feed in feeds if feed.row == feeds[0].row]
        plan = cache.prepare(feeds)
        for span in plan.spans:
            # Those that share a call may have a row between theirs that has one of its own.
            near = [g for g in plan.groups if g.first <= span.row < g.last]
            group = min(near, key=lambda g: g.last - g.first)
            right = expected(cache, span.row, span)
            if group.bias is None:
                assert np.array_equal(right, np.tri(*right.shape, dtype=bool))
                continue
            size, keys = right.shape
            found = group.seen(None)[span.row - group.first, :size]
            assert np.array_equal(found[:, :keys], right)
            assert not found[:, keys:].any()
            alone = group.last - group.first == 1
            shared += not alone
            if alone and len(set(span.lanes)) == size:  # a token of each lane
                grown += 1
                assert group.sees_all(None) == (size == 1 and right.all())
            else:
                assert not group.sees_all(None)
            if draw.random() < 0.7:
                mask = group.mask(None, 3, like)
                queries = size if alone else group.place.gather.shape[1]
                assert mask.shape == (group.last - group.first, 1, 3 * queries, group.keys)
                mask = (mask == 0)[span.row - group.first, 0].view(3, queries, -1)
                for found in mask.numpy():
                    assert np.array_equal(found[:size, :keys], right)
    assert grown > 40
    assert shared > 100


def test_a_step_of_the_same_lanes_does_not_start_afresh(monkeypatch):
    asked = []
    right = LaneCache._allowed
    monkeypatch.setattr(LaneCache, "_allowed", lambda *args: asked.append(1) or right(*args))
    cache = LaneCache(1, 1, torch.device("cpu"))
    tree = cache.open_row(0)
    cache.prepare([Feed(0, MAIN, [1, 2, 3], 0)])
    lanes = tree.fork(MAIN, 4)
    for step in range(200):
        cache.prepare([Feed(0, lane, [1], 3 + step) for lane in lanes])
    assert len(asked) <= 1 + 4 * 200 // mask_table._ROOM + 1


def test_the_cache_takes_little_more_than_it_needs():
    cache = LaneCache(1, 1, torch.device("cpu"))
    tree = cache.open_row(0)
    cache.prepare([Feed(0, MAIN, [1] * 4096, 0)])
    capacities = set()
    lanes = tree.fork(MAIN, 8)
    for step in range(300):
        cache.prepare([Feed(0, lane, [1], 4096 + step) for lane in lanes])
        assert cache.capacity <= 1.1 * cache.used[0]
        capacities.add(cache.capacity)
    assert len(capacities) <= 10, "and is seldom copied"
