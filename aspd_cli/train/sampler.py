"""The order of training: batches of like length, in random order."""

from collections.abc import Iterator, Sequence
from random import Random

from torch.utils.data import Sampler

_POOL = 50
"""Batches that are cut from one pool of records, sorted by length."""


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
