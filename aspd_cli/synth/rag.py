"""Family rag: facts about several people, copied out of a context in the prompt."""

from random import Random

from aspd_cli.synth.example import Example, answer
from aspd_cli.synth.wording import count, listing, typed

INTRO = "The text says:\n"
CLOSING = "That is all it says about this."

NAMES = (
    "Anna Ben Clara David Emma Felix Grace Hugo Ida Jack Kate Leo Maria Noah Olga Paul Rosa Sam "
    "Tina Victor Wendy Yara Adam Bella Carl Diana Eric Fiona George Hanna Ivan Julia Kevin Lucy "
    "Max Nina Oscar Peter Ruth Simon Tom Vera Will Zoe Alice Bob Mike Sara "
    "Alex Amy Andrew Ann Betty Brian Chris Dan Daniel Eva Frank Fred Gina Greg Helen Henry "
    "Jane Jim Joe John Karen Lena Linda Lisa Lukas Marie Mark Mary Matt Mia Nick Omar Pia Rita "
    "Robert Ryan Sally Steve Sue Theo Tim Tony Ursula"
).split()
_SYLLABLES = (
    "ba be bi bo da de di do fa fe ga go ha ka ke ki ko la le li lo lu ma me mi mo na ne ni no "
    "pa po ra re ri ro sa se si so ta te ti to va ve vi vo wa ya za zo ar en il or un ber dan "
    "gor kel lin mar nor ral sten tor vik wen xan yor"
).split()
_INVENTED_SHARE = 0.12
"""Of the groups of people, those with names made of syllables, so that copying is practised too."""

RELATIONS = {
    "lives in {}": "Rome Paris Oslo Berlin London Madrid Cairo Tokyo Delhi Lima Boston Vienna "
    "Dublin Athens Prague Lisbon Moscow Sydney Toronto Chicago",
    "works as a {}": "baker teacher doctor farmer nurse pilot lawyer painter driver cook tailor "
    "gardener writer sailor judge dentist builder singer waiter barber",
    "likes {}": "soup rice bread cheese pasta fish apples cake beans salad honey grapes noodles "
    "tomatoes chocolate potatoes pizza mushrooms olives pears",
    "has a {}": "cat dog horse parrot rabbit hamster goat pony turtle lizard snake goldfish "
    "donkey duck canary ferret mouse sheep frog spider",
    "plays the {}": "piano guitar violin flute drums harp trumpet cello banjo clarinet organ "
    "trombone saxophone bassoon mandolin fiddle tuba lute viola bagpipes",
}
_ASKS = {
    "lives in {}": (
        "where do {} live",
        "where does each of {} live",
        "in which city do {} live",
        "which city is home to {}",
        "tell me where {} live",
        "what are the cities of {}",
        "give me the city of {}",
        "list the cities of {}",
        "say where {} live",
    ),
    "works as a {}": (
        "what do {} do for a living",
        "what do {} work as",
        "what are the jobs of {}",
        "which jobs do {} have",
        "tell me the jobs of {}",
        "give me the job of {}",
        "list the jobs of {}",
        "what is the job of {}",
        "say what {} work as",
    ),
    "likes {}": (
        "what do {} like",
        "which food do {} like",
        "what food do {} like",
        "tell me what {} like",
        "what does each of {} like",
        "give me the food that {} like",
        "list what {} like",
        "say what {} like",
    ),
    "has a {}": (
        "which pets do {} have",
        "what pet do {} have",
        "what are the pets of {}",
        "tell me the pets of {}",
        "give me the pet of {}",
        "list the pets of {}",
        "what animal do {} have",
        "say which pet {} have",
    ),
    "plays the {}": (
        "what do {} play",
        "which instrument do {} play",
        "what instrument do {} play",
        "what are the instruments of {}",
        "tell me what {} play",
        "give me the instrument of {}",
        "list the instruments of {}",
        "say what {} play",
    ),
}


def draw(rng: Random) -> Example:
    """One example: a context of one or two facts a person, and a question for one relation."""
    asked_count = count(rng)
    everyone = people(rng, asked_count + rng.choice((0, 0, 1, 1, 2)))
    relation, *others = rng.sample(list(RELATIONS), 2)
    facts = {name: _fact(name, relation, rng) for name in everyone}
    sentences = list(facts.values())
    if asked_count <= 6 and rng.random() < 0.5:
        for other in others:
            sentences += [_fact(name, other, rng) for name in everyone if rng.random() < 0.7]
        if rng.random() < 0.5:
            sentences.sort(key=lambda sentence: everyone.index(sentence.split()[0]))
    if rng.random() < 0.4:
        rng.shuffle(sentences)
        asked = rng.sample(everyone, asked_count)
    else:
        chosen = set(rng.sample(everyone, asked_count))
        asked = [name for name in everyone if name in chosen]
    question = _question(rng, relation, asked)
    context = " ".join(sentences)
    prompt = _prompt(rng, context, question)
    if asked_count == 1:
        return Example(prompt, answer("", [("", facts[asked[0]])], ""), "rag")
    lines = [(name, f"- {facts[name]}\n") for name in asked]
    return Example(prompt, answer(INTRO, lines, CLOSING), "rag")


def question(rng: Random) -> str:
    """A question about people of whom nothing is told."""
    return _asked(rng, rng.choice(list(_ASKS)), people(rng, rng.randint(1, 3)))


def _question(rng: Random, relation: str, asked: list[str]) -> str:
    return typed(rng, _asked(rng, relation, asked), ("?", "?", ".", ""))


def _asked(rng: Random, relation: str, asked: list[str]) -> str:
    ask = rng.choice(_ASKS[relation])
    if len(asked) == 1:
        ask = ask.replace(" do {}", " does {}", 1)
    return ask.format(listing(rng, asked))


def _prompt(rng: Random, context: str, question: str) -> str:
    order = rng.random()
    if order < 0.45:
        return f"{context} {question[0].upper()}{question[1:]}"
    if order < 0.7:
        return f"{context}\n{question}"
    if order < 0.8:
        return f"Context: {context}\nQuestion: {question}"
    return f"{question}\n{context}"


def _fact(name: str, relation: str, rng: Random) -> str:
    return f"{name} {relation.format(rng.choice(RELATIONS[relation].split()))}."


def people(rng: Random, number: int) -> list[str]:
    """Distinct names."""
    names: list[str] = []
    invented = rng.random() < _INVENTED_SHARE
    while len(names) < number:
        name = invent(rng) if invented and rng.random() < 0.6 else rng.choice(NAMES)
        if name not in names:
            names.append(name)
    return names


def invent(rng: Random) -> str:
    """A name made of syllables."""
    return "".join(rng.choices(_SYLLABLES, k=rng.choice((2, 2, 3)))).capitalize()
