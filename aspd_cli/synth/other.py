"""What is outside the four families, or beyond their range: the honest answer is one line."""

from random import Random

from aspd_cli.core.markup import Document
from aspd_cli.synth import rag
from aspd_cli.synth.example import Example
from aspd_cli.synth.wording import listing, typed

ANSWER = (
    "I only know small sums, facts that the prompt gives, a few everyday things and number chains."
)

_QUESTIONS = """
hello
hi
hi there
hey
good morning
good evening
how are you
who are you
what are you
what is your name
what can you do
help
help me
thank you
thanks
test
what is the capital of France
what is the capital of Spain
who wrote Hamlet
who won the world cup
write a poem
write a poem about love
write a story
write me a letter
write a program in Python
write code that sorts a list
tell me a joke
tell me a story
translate this into French
what is the meaning of life
what time is it
what day is it
what is the weather today
will it rain tomorrow
how do I cook pasta
how do I lose weight
how tall is the tower
who is the president
explain quantum physics
explain machine learning
what is love
why is the sky blue
sing a song
can you help me
do you like music
summarize this text
correct my English
make a plan for my holidays
""".strip().splitlines()


_UNKNOWN = (
    "the internet|physics|a computer|football|the economy|a rocket|quantum mechanics|a democracy|"
    "blockchain|an atom|the brain|a vaccine|opera|a volcano|the stock market|a black hole|"
    "philosophy|a telescope|inflation|chess|a dinosaur|the Roman Empire|gravity|photosynthesis|"
    "a database|jazz|a robot|climate change|electricity|a satellite|the human heart|a virus|"
    "poetry|astronomy|a contract|yoga"
).split("|")
_ASKS = ("what is {}", "explain {}", "describe {}", "tell me about {}", "write about {}")
_SUMS = (
    "what is {}",
    "compute {}",
    "calculate {}",
    "{}",
    "how much is {}",
    "solve {}",
    "work out {}",
)


def draw(rng: Random) -> Example:
    """One example from outside the families."""
    kind = rng.random()
    if kind < 0.4:
        question = rng.choice(_QUESTIONS)
    elif kind < 0.6:
        question = rng.choice(_ASKS).format(listing(rng, rng.sample(_UNKNOWN, rng.randint(1, 3))))
    elif kind < 0.7:
        question = rag.question(rng)
    else:
        question = rng.choice(_SUMS).format(listing(rng, _large_sums(rng)))
    return Example(typed(rng, question, ("?", ".", "", "!")), Document((ANSWER,)), "other")


def _large_sums(rng: Random) -> list[str]:
    """One to three sums, one at least beyond the range of the family math."""
    terms = [
        (rng.randint(2, 9), rng.choice("+-*"), rng.randint(2, 9)) for _ in range(rng.randint(0, 2))
    ]
    terms.insert(rng.randint(0, len(terms)), _beyond(rng))
    gap = rng.choice(("", " "))
    return [f"{left}{gap}{sign}{gap}{right}" for left, sign, right in terms]


def _beyond(rng: Random) -> tuple[int, str, int]:
    """A sum that the family math never asks for."""
    sign = rng.choice("+++---**/")
    least = {"+": 21, "-": 31, "*": 10, "/": 2}[sign]
    large = rng.randint(least, rng.choice((least + 20, 99, 999, 9999)))
    if sign == "-" or rng.random() < 0.5:
        return large, sign, rng.randint(2, 20)
    return rng.randint(2, 20), sign, large
