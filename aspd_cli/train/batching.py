"""Batches: which records go together, and how they are padded.

`LengthSampler` draws batches of like length in random order. `BranchCollator` pads them to one
length, with what is needed to build their masks on the device.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from aspd_cli.core.visibility import pad_sees
from aspd_cli.train.encoding import IGNORE

_POOL = 50
"""Batches that are cut from one pool of records, sorted by length."""


@dataclass(frozen=True, slots=True)
class BranchCollator:
    """Pads B records on the right to T tokens and L lanes."""

    pad_token_id: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask`, `position_ids`, `labels`, `lanes` and `sees`.

        All are (B, T) but `sees`, (B, L, L). `attention_mask` only says which tokens are real, for
        whoever counts them; who sees whom follows from `lanes` (-1 is padding) and `sees`.
        """
        return {
            "input_ids": _padded(rows, "input_ids", self.pad_token_id),
            "attention_mask": _padded(rows, "lanes", -1).ge(0).long(),
            "position_ids": _padded(rows, "position_ids", 0),
            "labels": _padded(rows, "labels", IGNORE),
            "lanes": _padded(rows, "lanes", -1),
            "sees": torch.from_numpy(pad_sees([np.asarray(row["sees"], bool) for row in rows])),
        }


def _padded(rows: Sequence[dict[str, Any]], column: str, fill: int) -> Tensor:
    """(B, T) one column of all rows."""
    out = np.full((len(rows), max(len(row[column]) for row in rows)), fill, dtype=np.int64)
    for padded, row in zip(out, rows, strict=True):
        padded[: len(row[column])] = row[column]
    return torch.from_numpy(out)


class LengthSampler(Sampler[int]):
    """Indices so that each run of `batch_size` has like lengths, and runs come in random order.

    transformers' own grouping leaves each pool sorted from long to short, so that a small model at
    a high learning rate learns the lengths of the moment instead of what they depend on.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Each epoch has an order of its own."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = Random(f"{self.seed} {self.epoch}")
        order = rng.sample(range(len(self)), len(self))
        pool = _POOL * self.batch_size
        batches = []
        for start in range(0, len(order), pool):
            ranked = sorted(order[start : start + pool], key=self.lengths.__getitem__)
            batches += [
                ranked[at : at + self.batch_size] for at in range(0, len(ranked), self.batch_size)
            ]
        last = batches.pop() if len(batches[-1]) < self.batch_size else []
        rng.shuffle(batches)
        for batch in batches:
            yield from batch
        yield from last
