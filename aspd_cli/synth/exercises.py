"""Warm-up texts for the base: dense practice of copying, looking up, counting on and comparing.

A small model learns to copy from its context late and suddenly; pages of pure practice make that
happen in the first minutes. They are plain texts, not dialogues.
"""

from random import Random

from aspd_cli.synth.rag import RELATIONS, people
from aspd_cli.synth.sums import result
from aspd_cli.synth.world import THINGS


def exercise(rng: Random) -> str:
    """One page of practice, of about 60 to 140 tokens."""
    return rng.choice((_copying, _looking_up, _reckoning, _comparing))(rng)


def _copying(rng: Random) -> str:
    """A list of words and names, and the same list again."""
    words = [f" {thing.name}" for thing in THINGS]
    words += [f" {word}" for values in RELATIONS.values() for word in values.split()]
    words += [f" {number}" for number in range(100)]
    listed = rng.choices(words, k=rng.randint(8, 16)) + [f" {n}" for n in people(rng, 4)]
    rng.shuffle(listed)
    line = ",".join(listed).strip()
    return f"{line}\n{line}\n{line}"


def _looking_up(rng: Random) -> str:
    """Facts about people, then the same facts in another order."""
    relations = rng.sample(list(RELATIONS), rng.choice((1, 1, 2)))
    facts = [
        f"{name} {relation.format(rng.choice(RELATIONS[relation].split()))}."
        for name in people(rng, rng.randint(3, 6))
        for relation in relations
    ]
    again = rng.sample(facts, len(facts))
    return f"{' '.join(facts)}\n- " + "\n- ".join(again)


def _reckoning(rng: Random) -> str:
    """Sums with their results."""
    lines = []
    for _ in range(rng.randint(10, 16)):
        sign = rng.choice("+-*")
        if sign == "*":
            left, right = rng.randint(2, 9), rng.randint(2, 9)
        else:
            left = rng.randint(1, 50)
            right = rng.randint(1, min(20, left))
        lines.append(f"{left}{sign}{right}={result(left, sign, right)}")
    return "\n".join(lines)


def _comparing(rng: Random) -> str:
    """Lists of numbers with the largest and the smallest of each."""
    lines = []
    for _ in range(rng.randint(3, 5)):
        numbers = [rng.randint(0, 81) for _ in range(rng.randint(2, 8))]
        most = rng.choice(("largest", "smallest"))
        extreme = max(numbers) if most == "largest" else min(numbers)
        listed = "".join(f"={number}\n" for number in numbers)
        lines.append(f"{listed}The {most} is {extreme}.")
    return "\n".join(lines)
