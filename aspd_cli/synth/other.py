"""What is outside the four families, or beyond their range: the honest answer is one line."""

from random import Random

from aspd_cli.core.markup import Document
from aspd_cli.synth import rag, sums
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
_COUNTS = (1, 1, 1, 2, 2, 3, 4)
"""Sums in a question beyond the range."""


def draw(rng: Random) -> Example:
    """One example from outside the families."""
    kind = rng.random()
    if kind >= 0.7:
        return _too_large(rng, sums.draw_terms(rng, rng.choice(_COUNTS)))
    if kind < 0.4:
        question = rng.choice(_QUESTIONS)
    elif kind < 0.6:
        question = rng.choice(_ASKS).format(listing(rng, rng.sample(_UNKNOWN, rng.randint(1, 3))))
    else:
        question = rag.question(rng)
    return Example(typed(rng, question, ("?", ".", "", "!")), Document((ANSWER,)), "other")


def draw_limits(rng: Random) -> Example:
    """Few sums of the family math, or as often few with one beyond its range: where it ends."""
    terms = sums.draw_terms(rng, rng.choice(_COUNTS))
    return sums.asked(rng, terms) if rng.random() < 0.5 else _too_large(rng, terms)


def _too_large(rng: Random, terms: list[sums.Term]) -> Example:
    """The terms with one beyond the range of the family math among them."""
    terms[rng.randrange(len(terms))] = _beyond(rng)
    question, _ = sums.question(rng, terms)
    return Example(question, Document((ANSWER,)), "other")


def _beyond(rng: Random) -> sums.Term:
    """A sum that the family math never asks for."""
    sign = rng.choice("+++---**/")
    least = {"+": 21, "-": 31, "*": 10, "/": 2}[sign]
    large = rng.randint(least, rng.choice((least + 10, least + 10, least + 10, 99, 9999)))
    if sign == "-" or rng.random() < 0.5:
        return large, sign, rng.randint(2, 20)
    return rng.randint(2, 20), sign, large
