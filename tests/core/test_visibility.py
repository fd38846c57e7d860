"""Visibility: one rule for the lanes of a decode and for the masks of a batch."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aspd_cli.core.layout import Layout, layout
from aspd_cli.core.visibility import MAIN, LaneTree, batch_mask, pad_sees
from tests import make
from tests.core.strategies import STABLE_TEXTS, documents

TOKENIZER = make.tokenizer()
LAYOUTS = documents(STABLE_TEXTS, parts=3).map(lambda document: layout(document, TOKENIZER))
BATCHES = st.lists(LAYOUTS, min_size=1, max_size=3)

FORKS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 6)), max_size=12)
"""(which of the lanes so far, modulo their number; branches) of each fork."""


@given(FORKS)
def test_lanes_see_each_other_unless_a_fork_parts_them(forks: list[tuple[int, int]]) -> None:
    tree, paths = LaneTree(), [frozenset[tuple[int, int]]()]
    for fork, (any_lane, branches) in enumerate(forks):
        parent = any_lane % len(tree)
        lanes = tree.fork(parent, branches)
        assert lanes == range(len(paths), len(paths) + branches)
        paths += [paths[parent] | {(fork, branch)} for branch in range(branches)]
        assert tree.parents[lanes.start :] == [parent] * branches
    parted = [
        [any(f == g and b != c for f, b in one for g, c in other) for other in paths]
        for one in paths
    ]
    assert len(tree) == len(paths)
    assert tree.sees.shape == (len(paths), len(paths))
    assert (~tree.sees).tolist() == parted


def test_lanes_of_one_block_are_apart_and_lanes_of_two_blocks_are_not() -> None:
    tree = LaneTree()
    first, second = tree.fork(MAIN, 2)
    inner = tree.fork(first, 2)
    later = tree.fork(MAIN, 2)
    assert tree.sees[MAIN].all()
    assert not tree.sees[first, second]
    assert tree.sees[inner.start, first]
    assert not tree.sees[inner.start, second]
    assert not tree.sees[inner.start, inner.start + 1]
    assert tree.sees[np.ix_(later, [first, second, *inner])].all()


def padded(arrays: list[np.ndarray], fill: int) -> torch.Tensor:
    """(B, T) one token of padding on the left, one or more on the right."""
    width = max(map(len, arrays)) + 2
    rows = [[fill, *array.tolist(), *[fill] * (width - 1 - len(array))] for array in arrays]
    return torch.tensor(rows)


def masks_of(batch: list[Layout], window: int | None = None) -> Iterator[tuple[Layout, np.ndarray]]:
    """Each document with its mask (T, T), padding included."""
    lanes = padded([laid.lanes for laid in batch], -1)
    positions = padded([laid.position_ids for laid in batch], 0)
    sees = torch.from_numpy(pad_sees([laid.sees for laid in batch]))
    mask = batch_mask(lanes, sees, positions, window)
    assert mask.shape == (len(batch), 1, lanes.shape[1], lanes.shape[1])
    assert mask.dtype == torch.bool
    return zip(batch, mask[:, 0].numpy(), strict=True)


def real(laid: Layout) -> slice:
    """Where a document's own tokens stand between the padding."""
    return slice(1, 1 + len(laid))


@given(BATCHES)
def test_the_mask_of_a_batch_is_the_visibility_of_each_document(batch: list[Layout]) -> None:
    for laid, mask in masks_of(batch):
        assert (mask[real(laid), real(laid)] == laid.visibility()).all()


@given(BATCHES, st.none() | st.integers(1, 9))
def test_padding_sees_only_itself_and_nobody_sees_it(
    batch: list[Layout], window: int | None
) -> None:
    for laid, mask in masks_of(batch, window):
        outside = mask.copy()
        outside[real(laid), real(laid)] = False
        alone = np.eye(len(mask), dtype=bool)
        alone[real(laid)] = False
        assert (outside == alone).all()


@given(BATCHES, st.integers(1, 9))
def test_a_sliding_window_is_cut_by_positions(batch: list[Layout], window: int) -> None:
    for laid, mask in masks_of(batch, window):
        at, sees = laid.position_ids.tolist(), laid.visibility().tolist()
        tokens = range(len(laid))
        expected = [[sees[i][j] and at[i] - at[j] < window for j in tokens] for i in tokens]
        assert mask[real(laid), real(laid)].tolist() == expected


def test_lanes_that_a_document_lacks_see_nothing() -> None:
    small, large = LaneTree(), LaneTree()
    large.fork(MAIN, 2)
    assert pad_sees([small.sees, large.sees]).tolist() == [
        [[True, False, False], [False, False, False], [False, False, False]],
        large.sees.tolist(),
    ]


def test_a_window_without_positions_is_refused() -> None:
    lanes, sees = torch.zeros(1, 3, dtype=torch.long), torch.ones(1, 1, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match="positions"):
        batch_mask(lanes, sees, window=2)
    assert batch_mask(lanes, sees)[0, 0].tolist() == torch.ones(3, 3).tril().bool().tolist()
