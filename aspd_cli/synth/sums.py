"""Family math: sums that do not depend on each other, then a conclusion that needs all of them."""

from random import Random

from aspd_cli.synth.example import Example, answer
from aspd_cli.synth.wording import count, listing, typed

Term = tuple[int, str, int]
"""Left, sign, right."""
INTRO = "Here are the results:\n"

_WORDS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
_ASKS = (
    "compute {}",
    "calculate {}",
    "what is {}",
    "work out {}",
    "solve {}",
    "find {}",
    "how much is {}",
    "evaluate {}",
    "tell me {}",
    "give me the results of {}",
    "can you compute {}",
    "{}",
)
_MOST = {
    "largest": (
        "",
        " and tell me the largest",
        " and name the largest result",
        " and say which is the largest",
        ", then give the largest",
    ),
    "smallest": (
        " and tell me the smallest",
        " and name the smallest result",
        " and say which is the smallest",
        ", then give the smallest",
    ),
}
_SMALLEST_SHARE = 0.3


def draw(rng: Random) -> Example:
    """One example of the family."""
    return asked(rng, draw_terms(rng, count(rng)))


def asked(rng: Random, terms: list[Term]) -> Example:
    """A question for the values of terms, and the answer."""
    asks, most = question(rng, terms)
    results = [result(*term) for term in terms]
    lines = [
        ("{}{}{}".format(*t), "- {}{}{}={}\n".format(*t, r))
        for t, r in zip(terms, results, strict=True)
    ]
    if len(terms) == 1:
        found = answer("", [("", "{}{}{}={}".format(*terms[0], results[0]))], "")
    else:
        extreme = max(results) if most == "largest" else min(results)
        found = answer(INTRO, lines, f"The {most} is {extreme}.")
    return Example(asks, found, "math")


def question(rng: Random, terms: list[Term]) -> tuple[str, str]:
    """A question for the values of terms, and whether the largest or the smallest is named."""
    most = "smallest" if len(terms) > 1 and rng.random() < _SMALLEST_SHARE else "largest"
    style = rng.random()
    asks = rng.choice(_ASKS).format(listing(rng, [_written(t, style) for t in terms]))
    if len(terms) > 1:
        asks += rng.choice(_MOST[most]) if most == "smallest" or rng.random() < 0.5 else ""
    return typed(rng, asks, ("?", ".", "", "")), most


def result(left: int, sign: str, right: int) -> int:
    """The value of `left sign right`."""
    if sign == "*":
        return left * right
    return left + right if sign == "+" else left - right


def draw_terms(rng: Random, number: int) -> list[Term]:
    """Distinct terms whose results lie in 0..99."""
    terms: list[Term] = []
    while len(terms) < number:
        sign = rng.choice("+-*")
        if sign == "*":
            term = (rng.randint(2, 9), sign, rng.randint(2, 9))
        elif sign == "+":
            term = (rng.randint(1, 20), sign, rng.randint(1, 20))
        else:
            left = rng.randint(2, 30)
            term = (left, sign, rng.randint(1, min(left, 20)))
        if term not in terms:
            terms.append(term)
    return terms


def _written(term: Term, style: float) -> str:
    left, sign, right = term
    if style < 0.45:
        return f"{left}+{right}" if sign == "+" else f"{left}{sign}{right}"
    if style < 0.85:
        return f"{left} {sign} {right}"
    return f"{left} {_WORDS[sign]} {right}"
