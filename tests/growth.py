"""How processor time grows with the size of an input: the shape of a curve, never seconds."""

import time
from collections.abc import Callable
from typing import Any

LEAST_SECONDS = 0.05
MOST_CHARACTERS = 4_000_000
MOST_ATTEMPTS = 10
SECONDS_BETWEEN = 0.5
MOST_GROWTH = 3.0
"""Of the time when the input doubles: 2 is linear, 4 is quadratic."""


def growth(work: Callable[[Any], object], made: Callable[[int], Any], size: int = 10_000) -> float:
    """The time for an input of twice the size, as a multiple of the time for one.

    It is the mean of two doublings. The size is doubled until the time can be measured; what stays
    too quick counts as linear.
    """
    once = _seconds(work, made(size))
    while once < LEAST_SECONDS and size < MOST_CHARACTERS:
        size *= 2
        once = _seconds(work, made(size))
    if once < LEAST_SECONDS:
        return 1.0
    # The machine does other things meanwhile, which only adds, and for seconds on end: the least time of
    # each size counts, and what looks bad is measured again after longer and longer pauses.
    small, large = once, float("inf")
    for attempt in range(MOST_ATTEMPTS):
        time.sleep(attempt * SECONDS_BETWEEN)
        small = min(small, _seconds(work, made(size)))
        large = min(large, _seconds(work, made(4 * size)))
        if (large / small) ** 0.5 < MOST_GROWTH:
            break
    return float((large / small) ** 0.5)


def _seconds(work: Callable[[Any], object], given: Any) -> float:
    start = time.process_time()
    work(given)
    return time.process_time() - start
