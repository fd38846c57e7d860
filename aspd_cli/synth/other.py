"""What is outside the four families: the honest answer is one line."""

from random import Random

from aspd_cli.core.markup import Document
from aspd_cli.synth.example import Example
from aspd_cli.synth.wording import typed

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


def draw(rng: Random) -> Example:
    """One example from outside the families."""
    question = typed(rng, rng.choice(_QUESTIONS), ("?", ".", "", "!"))
    return Example(question, Document((ANSWER,)), "other")
