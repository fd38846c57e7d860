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

    The size is doubled until the time can be measured; what stays too quick counts as linear. Of
    the next two doublings the lesser counts: memory costs more where a cache ends, which is one
    place, and a square is one everywhere.
    """
    once = _seconds(work, made(size))
    while once < LEAST_SECONDS and size < MOST_CHARACTERS:
        size *= 2
        once = _seconds(work, made(size))
    if once < LEAST_SECONDS:
        return 1.0
    # The machine does other things meanwhile, which only adds, and for seconds on end: the least
    # time of each size counts, and what looks bad is measured again after longer and longer pauses.
    inputs = [made(size * times) for times in (1, 2, 4)]
    least, found = [once, float("inf"), float("inf")], float("inf")
    for attempt in range(MOST_ATTEMPTS):
        time.sleep(attempt * SECONDS_BETWEEN)
        least = [min(t, _seconds(work, given)) for t, given in zip(least, inputs, strict=True)]
        found = min(least[1] / least[0], least[2] / least[1])
        if found < MOST_GROWTH:
            break
    return found


def _seconds(work: Callable[[Any], object], given: Any) -> float:
    start = time.process_time()
    work(given)
    return time.process_time() - start
