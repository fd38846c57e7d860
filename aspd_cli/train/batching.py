"""Batches: which records go together, and how they lie in memory.

`LengthSampler` draws batches of like length in random order. `BranchCollator` lays the records of a
batch into one row without padding, or pads them to one length, with what is needed to build their
masks on the device.

Shapes: N records, B rows of T tokens, L lanes.
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
from aspd_cli.train.features import IGNORE

_POOL = 50
"""Batches that are cut from one pool of records, sorted by length."""


@dataclass(frozen=True, slots=True)
class BranchCollator:
    """Makes a batch of N records: one row for all of them, or a padded row for each."""

    pad_token_id: int
    packing: bool = False
    """One row (B = 1) in which records follow each other, each with positions from 0 and seen by
    itself alone; else B = N rows, padded on the right."""

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask`, `position_ids`, `labels`, `lanes`, `records` and `sees`.

        All are (B, T) but `sees`, (N, L, L). `attention_mask` only says which tokens are real, for
        whoever counts them; who sees whom follows from `records` (0 to N - 1), `lanes` (of each
        record by itself; -1 is padding) and `sees`.
        """
        lay = _joined if self.packing else _padded
        lengths = [len(row["lanes"]) for row in rows]
        lanes, labels = lay(rows, "lanes", -1), lay(rows, "labels", IGNORE)
        if self.packing:
            records = torch.repeat_interleave(torch.tensor(lengths))[None]
            # What stands before the first token of a record is another record's.
            labels[:, np.cumsum([0, *lengths[:-1]])] = IGNORE
        else:
            records = torch.arange(len(rows))[:, None].expand_as(lanes).contiguous()
        return {
            "input_ids": lay(rows, "input_ids", self.pad_token_id),
            "attention_mask": lanes.ge(0).long(),
            "position_ids": lay(rows, "position_ids", 0),
            "labels": labels,
            "lanes": lanes,
            "records": records,
            "sees": torch.from_numpy(pad_sees([np.asarray(row["sees"], bool) for row in rows])),
        }


def _joined(rows: Sequence[dict[str, Any]], column: str, fill: int) -> Tensor:
    """(1, T) one column of all rows, one after another; nothing needs to be filled."""
    return torch.from_numpy(np.concatenate([np.asarray(row[column], np.int64) for row in rows]))[
        None
    ]


def _padded(rows: Sequence[dict[str, Any]], column: str, fill: int) -> Tensor:
    """(N, T) one column of all rows."""
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
