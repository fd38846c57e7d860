"""Who sees whom: the one rule behind the training mask and the decoder's mask.

Token j is visible to token i iff j <= i in document order and no block has i and j in two different
branches. Tokens of one lane share their fate, so the rule is kept per pair of lanes, in a small
symmetric matrix, and a mask over tokens is a lookup in it.

Shapes: B documents, T tokens, L lanes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

MAIN = 0
"""The lane of the prompt and of the serial text."""


class LaneTree:
    """The lanes of one answer: the main lane, and one more for each branch of each fork."""

    def __init__(self) -> None:
        self.parents: list[int] = [-1]
        self._sees = np.ones((8, 8), dtype=bool)  # (capacity, capacity)

    @classmethod
    def of(cls, sees: NDArray[np.bool_]) -> "LaneTree":
        """The lanes of a finished answer by its (L, L) matrix; it cannot fork any further."""
        tree = cls()
        tree.parents, tree._sees = [-1] * len(sees), sees
        return tree

    def __len__(self) -> int:
        return len(self.parents)

    @property
    def sees(self) -> NDArray[np.bool_]:
        """(L, L) whether tokens of two lanes may see each other; symmetric, a view."""
        return self._sees[: len(self), : len(self)]

    def fork(self, parent: int, branches: int) -> range:
        """New lanes below `parent`: each sees what the parent sees, and none of its siblings."""
        first = len(self)
        lanes = range(first, first + branches)
        self.parents += [parent] * branches
        if len(self) > len(self._sees):
            grown = np.ones((2 * len(self), 2 * len(self)), dtype=bool)
            grown[:first, :first] = self._sees[:first, :first]
            self._sees = grown
        inherited = self._sees[parent, :first]  # (first,)
        self._sees[first : len(self), :first] = inherited
        self._sees[:first, first : len(self)] = inherited[:, None]
        self._sees[first : len(self), first : len(self)] = np.eye(branches, dtype=bool)
        return lanes


def visible(lanes: NDArray[np.int_], sees: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(T, T) bool: row i says which tokens token i sees. `lanes` (T,), `sees` (L, L)."""
    return np.tril(sees[lanes][:, lanes])


def batch_mask(
    lanes: "Tensor", sees: "Tensor", positions: "Tensor | None" = None, window: int | None = None
) -> "Tensor":
    """The dense masks of a batch, on the device of its arguments.

    Args:
        lanes: (B, T) lane of each token; -1 is padding: it sees only itself and nobody sees it.
        sees: (B, L, L) bool, `LaneTree.sees` of each document, padded with False.
        positions: (B, T) position ids; needed with a window.
        window: sliding window of the layer in *positions* (not in indices), or None.

    Returns:
        (B, 1, T, T) bool, True where attention is allowed.
    """
    import torch

    batch, tokens = lanes.shape
    width = sees.shape[-1]
    real = lanes >= 0
    lane = lanes.clamp(min=0)
    # What each lane sees, and last a padding token: rows of the mask are rows of this. They are
    # copied whole: a gather of single elements takes five times as long.
    seen = sees.gather(2, lane[:, None, :].expand(batch, width, tokens)) & real[:, None, :]
    seen = torch.nn.functional.pad(seen, (0, 0, 0, 1)).flatten(0, 1)  # (B * (L + 1), T)
    first = torch.arange(batch, device=lanes.device)[:, None] * (width + 1)
    rows = (torch.where(real, lane, width) + first).flatten()  # (B * T)
    if seen.is_cpu:  # numpy takes huge pages for large arrays, torch does not: a third of the time
        mask = torch.from_numpy(seen.numpy().take(rows.numpy(), axis=0))
    else:
        mask = seen.index_select(0, rows)
    mask = mask.view(batch, tokens, tokens)
    if window is not None:
        if positions is None:
            raise ValueError("a sliding window is cut by positions: pass them")
        mask &= positions[:, :, None] < positions[:, None, :] + window
    mask.tril_()
    mask.diagonal(dim1=1, dim2=2).fill_(True)  # a row that sees nothing is NaN in some kernels
    return mask[:, None]


def pad_sees(trees: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """(B, L, L) the matrices of a batch padded with False to the widest."""
    width = max(len(sees) for sees in trees)
    out = np.zeros((len(trees), width, width), dtype=bool)
    for row, sees in zip(out, trees, strict=True):
        row[: len(sees), : len(sees)] = sees
    return out
