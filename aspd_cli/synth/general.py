"""Family general: one treatment of each of several things, short or long as the wording asks."""

from random import Random

from aspd_cli.synth.example import Example, answer
from aspd_cli.synth.wording import count, listing, typed
from aspd_cli.synth.world import THINGS, Thing

INTRO = "Here they are:\n"
CLOSING = "That is all."

_ASKS = (
    "describe {}",
    "explain {}",
    "what is {}",
    "tell me about {}",
    "what do you know about {}",
    "say something about {}",
    "give me some facts about {}",
    "write about {}",
    "can you describe {}",
    "I want to know about {}",
)
_LENGTHS: tuple[tuple[str, ...], ...] = (
    (" briefly", " in one sentence", " shortly", " in short", " in a few words", " in one line"),
    ("", "", "", " in two sentences"),
    (" in detail", " in three sentences", " at length", " with details"),
)
"""Wordings that ask for one, two and three sentences."""
_LENGTH_WEIGHTS = (40, 35, 25)


def draw(rng: Random) -> Example:
    """One example of the family."""
    things = rng.sample(THINGS, count(rng))
    sentences = rng.choices((1, 2, 3), _LENGTH_WEIGHTS)[0]
    names = _names(rng, things)
    length = rng.choice(_LENGTHS[sentences - 1])
    question = rng.choice(_ASKS).format(listing(rng, names)) + length
    if sentences == 1 and rng.random() < 0.3:
        question = "briefly " + question.removesuffix(length)
    lines = [(thing.title, f"- {treatment(thing, sentences)}\n") for thing in things]
    if len(things) == 1:
        found = answer("", [("", treatment(things[0], sentences))], "")
    else:
        found = answer(INTRO, lines, CLOSING)
    return Example(typed(rng, question, (".", "?", "", "", "!")), found, "general")


def treatment(thing: Thing, sentences: int) -> str:
    """What the answer says about a thing in so many sentences (1 to 3)."""
    return f"{thing.title}: {' '.join(thing.sentences[:sentences])}"


def _names(rng: Random, things: list[Thing]) -> list[str]:
    """The things as a person names them: bare, with their article, with "the", or capitalised."""
    style = rng.random()
    if style < 0.45:
        return [thing.name for thing in things]
    if style < 0.65:
        return [f"the {t.name}" if t.article != "-" else t.name for t in things]
    if style < 0.85:
        return [f"{t.article} {t.name}" if t.article != "-" else t.name for t in things]
    return [thing.title if style < 0.93 else thing.name.lower() for thing in things]
