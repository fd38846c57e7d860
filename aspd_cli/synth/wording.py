"""How people type: lists, politeness, capitals and punctuation, all drawn from one generator."""

from random import Random

_COUNTS = (2, 3, 4, 5, 6, 7, 8)
_COUNT_WEIGHTS = (20, 22, 20, 14, 10, 7, 7)
_SINGLE_SHARE = 0.04
"""Questions that ask for one thing only, so that a serial answer is right."""


def count(rng: Random) -> int:
    """How many things a question asks for: mostly 2 to 8, now and then one."""
    if rng.random() < _SINGLE_SHARE:
        return 1
    return rng.choices(_COUNTS, _COUNT_WEIGHTS)[0]


def listing(rng: Random, items: list[str]) -> str:
    """`a, b and c`, in one of the ways people write a list."""
    if len(items) == 1:
        return items[0]
    style = rng.random()
    if style < 0.55:
        return ", ".join(items[:-1]) + " and " + items[-1]
    if style < 0.75:
        return ", ".join(items[:-1]) + ", and " + items[-1]
    if style < 0.9:
        return ", ".join(items)
    return " and ".join(items)


def typed(rng: Random, question: str, marks: tuple[str, ...]) -> str:
    """A question as typed: sometimes polite, in either case, ended by one of `marks`."""
    manner = rng.random()
    if manner < 0.12:
        question = "please " + question
    elif manner < 0.2:
        question += " please" if rng.random() < 0.5 else ", please"
    if rng.random() < 0.7:
        question = question[0].upper() + question[1:]
    return question + rng.choice(marks)
