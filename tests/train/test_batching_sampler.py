"""The order of training."""

from itertools import pairwise
from random import Random
from statistics import mean

from aspd_cli.train.batching import LengthSampler

LENGTHS = [Random(0).randint(40, 300) for _ in range(7)] + [
    Random(n).randint(40, 300) for n in range(1000)
]


def test_an_epoch_is_a_permutation_of_the_records() -> None:
    assert sorted(LengthSampler(LENGTHS, 8, 0)) == list(range(len(LENGTHS)))


def test_batches_have_like_lengths_and_come_in_no_order_of_length() -> None:
    order = list(LengthSampler(LENGTHS, 8, 0))
    batches = [[LENGTHS[i] for i in order[at : at + 8]] for at in range(0, 1000, 8)]
    assert mean(max(b) - min(b) for b in batches) < 20
    firsts = [b[0] for b in batches]
    assert mean(abs(a - b) for a, b in pairwise(firsts)) > 50


def test_epochs_differ_and_repeat_with_the_seed() -> None:
    first, second = LengthSampler(LENGTHS, 8, 0), LengthSampler(LENGTHS, 8, 0)
    assert list(first) == list(second)
    second.set_epoch(1)
    assert list(first) != list(second)
