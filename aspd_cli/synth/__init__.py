"""Question-answer pairs with exactly checkable answers, for the embedded model and for tests.

Four families, after the paper's domains: *math* (independent sums, then a conclusion that needs all
of them), *rag* (facts about several people out of a context), *general* (one treatment of each of
several things) and *chain* (each step needs the one before, so the right answer is serial). In
training there are three more: "other" are questions of no family, with an honest one-line answer,
"limits" are few sums, within the range of *math* as often as beyond it, and "outline" asks for the
names only, which is practice for titles.

    for example in examples(400, split="test"):
        example.question, example.text, example.answer, example.family, example.branches

Everything follows from the seed; no question of one split occurs in the other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from aspd_cli.synth import chain, general, other, outline, rag, sums
from aspd_cli.synth.example import Example, Split, split

__all__ = ["QUESTION_FAMILIES", "Example", "Split", "draw", "examples", "split"]

QUESTION_FAMILIES = ("math", "rag", "general", "chain")
"""What the embedded model is asked; families of models are another thing."""

_DRAWS: dict[str, Callable[[Random], Example]] = {
    "math": sums.draw,
    "rag": rag.draw,
    "general": general.draw,
    "chain": chain.draw,
    "outline": outline.draw,
    "other": other.draw,
    "limits": other.draw_limits,
}
MIX = {"math": 28, "rag": 30, "general": 20, "chain": 19, "other": 3}
"""Shares of the families in training, in percent."""


def draw(family: str, rng: Random) -> Example:
    """One example of a family, of either split."""
    return _DRAWS[family](rng)


def examples(
    number: int,
    split: Split = "train",
    seed: int = 0,
    families: Sequence[str] | None = None,
    mix: Mapping[Any, float] = MIX,
) -> Iterator[Example]:
    """`number` examples of one split.

    Args:
        families: taken in turn, so that each gets the same number; None draws them by `mix`.
        mix: shares of the families, not necessarily summing to one.
    """
    rng = Random(f"{split} {seed}")
    for index in range(number):
        if families is None:
            family = rng.choices(list(mix), list(mix.values()))[0]
        else:
            family = families[index % len(families)]
        example = draw(family, rng)
        while example.split != split:
            example = draw(family, rng)
        yield example
