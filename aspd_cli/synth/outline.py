"""Family outline: only the names of what another question asks for, or of a list, one a line.

The list of titles is where an answer in branches begins, and every branch copies its own: so the
base practises both by themselves, on names made of syllables above all.
"""

from random import Random

from aspd_cli.core.markup import Document
from aspd_cli.synth import general, rag, sums
from aspd_cli.synth.example import Example
from aspd_cli.synth.wording import listing

_ASKS = ("Only the names.", "Just name them.", "Give me the names only.", "Just the list.")
_LONG = (4, 5, 6, 7, 8, 8)
"""Lists are made this long at least: short ones are learnt early."""


def draw(rng: Random) -> Example:
    """One example: what is wanted, and above or below it that only the names are."""
    question, names = _names(rng) if rng.random() < 0.4 else _titles(rng)
    ask = rng.choice(_ASKS)
    joined = (f"{question}\n{ask}", f"{ask}\n{question}")
    text = "".join(f"- {name}\n" for name in names)
    return Example(rng.choice(joined), Document((text,)), "outline")


def _names(rng: Random) -> tuple[str, list[str]]:
    """A list of invented names, few of which were ever seen."""
    names = [rag.invent(rng) for _ in range(rng.choice(_LONG))]
    return listing(rng, names), names


def _titles(rng: Random) -> tuple[str, list[str]]:
    """The question of another family, and the titles of its answer."""
    family, least = rng.choice((sums, rag, general)), rng.choice(_LONG)
    example = family.draw(rng)
    while example.branches < least:
        example = family.draw(rng)
    titles = [branch.title for block in example.answer.blocks() for branch in block.branches]
    return example.question, titles
