"""Family chain: every step needs the result before it, so the right answer is serial."""

from random import Random

from aspd_cli.core.markup import Document
from aspd_cli.synth.example import Example
from aspd_cli.synth.sums import result
from aspd_cli.synth.wording import typed

INTRO = "Step by step:\n"
HIGHEST = 50
"""No value on the way is above this one or below 0."""

_STARTS = ("start with {}", "take {}", "begin with {}", "start at {}", "start from {}", "I have {}")
_SAID = {
    "+": ("add {}", "plus {}", "add {} to it"),
    "-": ("subtract {}", "minus {}", "take away {}"),
    "*": ("multiply by {}", "times {}", "multiply it by {}"),
}
_JOINS = (", ", ", then ", ". ", " and then ")
_ENDS = (
    "",
    "",
    ". What is the result",
    ". What do I get",
    ". What is the final number",
    ". Give the result",
    ", what comes out",
)


def draw(rng: Random) -> Example:
    """One example of the family: 2 to 6 steps."""
    value = rng.randint(1, 20)
    start, join = rng.choice(_STARTS).format(value), rng.choice(_JOINS)
    said: list[str] = []
    lines: list[str] = []
    for _ in range(rng.randint(2, 6)):
        sign, operand = _step(rng, value)
        lines.append(f"{value}{sign}{operand}={result(value, sign, operand)}\n")
        value = result(value, sign, operand)
        said.append(_phrase(rng, sign, operand))
    if join == ". ":
        said = [phrase[0].upper() + phrase[1:] for phrase in said]
    question = (
        start + (", " if join == " and then " else join) + join.join(said) + rng.choice(_ENDS)
    )
    answer = Document((INTRO + "".join(lines) + f"The result is {value}.",))
    return Example(typed(rng, question, ("?", ".", "", "")), answer, "chain")


def _step(rng: Random, value: int) -> tuple[str, int]:
    """A sign and a single-digit operand that keep the value in 0..HIGHEST."""
    while True:
        sign = rng.choice("++--*")
        operand = rng.randint(2, 5) if sign == "*" else rng.randint(1, 9)
        if 0 <= result(value, sign, operand) <= HIGHEST and (sign != "*" or value):
            return sign, operand


def _phrase(rng: Random, sign: str, operand: int) -> str:
    if sign == "*" and operand == 2 and rng.random() < 0.5:
        return rng.choice(("double it", "double that"))
    return rng.choice(_SAID[sign]).format(operand)
