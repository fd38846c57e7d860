"""The generated questions and answers, checked by deriving each answer from its question alone."""

import re
from collections import Counter

import pytest

from aspd_cli.core.markup import plain, render
from aspd_cli.core.parser import parse
from aspd_cli.synth import QUESTION_FAMILIES, Example, examples, split
from aspd_cli.synth.world import THINGS

SAMPLE = list(examples(1200, families=QUESTION_FAMILIES)) + list(
    examples(800, split="test", seed=1, families=QUESTION_FAMILIES)
)

SIGNS = {"plus": "+", "minus": "-", "times": "*"}


def evaluated(left: str, sign: str, right: str) -> int:
    a, b = int(left), int(right)
    return {"+": a + b, "-": a - b, "*": a * b}[SIGNS.get(sign, sign)]


def answer_math(question: str) -> str:
    terms = re.findall(r"(\d+) ?([-+*]|plus|minus|times) ?(\d+)", question)
    lines = [f"{a}{SIGNS.get(s, s)}{b}={evaluated(a, s, b)}" for a, s, b in terms]
    if len(terms) == 1:
        return lines[0]
    results = [evaluated(*term) for term in terms]
    smallest = "smallest" in question
    closing = f"The {'smallest' if smallest else 'largest'} is {(max, min)[smallest](results)}."
    return "\n".join(["Here are the results:", *(f"- {line}" for line in lines), closing])


def answer_chain(question: str) -> str:
    signs = "add|plus|subtract|minus|take away|times|multiply (?:it )?by"
    start, *steps = re.findall(
        rf"\d+|double (?:it|that)|(?:{signs}) \d+",
        re.sub(r"^(please )?(take|I have) ", "", question, flags=re.I).lower(),
    )
    value, lines = int(start), ["Step by step:"]
    for step in steps:
        operand = step.split()[-1] if step[-1].isdigit() else "2"
        sign = "+" if step[0] in "ap" else "-" if step.startswith(("s", "minus", "take")) else "*"
        lines.append(f"{value}{sign}{operand}={evaluated(str(value), sign, operand)}")
        value = evaluated(str(value), sign, operand)
    return "\n".join([*lines, f"The result is {value}."])


def answer_rag(question: str) -> str:
    fact = r"([A-Z]\w+) (lives in|works as a|likes|has a|plays the) (\w+)\."
    facts = {(name, verb): value for name, verb, value in re.findall(fact, question)}
    asked = re.sub(fact, "", question)
    clues = {
        "lives in": r" live\b|city|cities",
        "works as a": r"living|work|job",
        "plays the": r" play\b|instrument",
        "has a": r"\bpets?\b|animal",
        "likes": r" like\b",
    }
    verb = next(verb for verb, clue in clues.items() if re.search(clue, asked))
    people = {name for name, _ in facts}
    names = [name for name in re.findall(r"\w+", asked) if name in people]
    lines = [f"{name} {verb} {facts[name, verb]}." for name in names]
    if len(lines) == 1:
        return lines[0]
    head, tail = "The text says:", "That is all it says about this."
    return "\n".join([head, *(f"- {line}" for line in lines), tail])


def answer_general(question: str) -> str:
    lower = question.lower()
    brief = r"briefly|one sentence|shortly|in short|few words|one line"
    long = r"detail|three sentences|at length"
    sentences = 1 if re.search(brief, lower) else 3 if re.search(long, lower) else 2
    by_name = {thing.name.lower(): thing for thing in THINGS}
    things = [by_name[word] for word in re.findall(r"\w+", lower) if word in by_name]
    lines = [f"{t.title}: {' '.join(t.sentences[:sentences])}" for t in things]
    if len(lines) == 1:
        return lines[0]
    return "\n".join(["Here they are:", *(f"- {line}" for line in lines), "That is all."])


DERIVE = {
    "math": answer_math,
    "chain": answer_chain,
    "rag": answer_rag,
    "general": answer_general,
}


@pytest.mark.parametrize("family", QUESTION_FAMILIES)
def test_every_answer_is_what_its_question_demands(family: str) -> None:
    for example in SAMPLE:
        if example.family == family:
            assert example.text == DERIVE[family](example.question), example.question


def test_train_and_test_share_no_question_in_whatever_spelling() -> None:
    def key(example: Example) -> str:
        return re.sub(r"[^\w+*-]", "", example.question.lower())

    train = {key(e) for e in examples(4000)}
    test = {key(e) for e in examples(500, split="test", families=QUESTION_FAMILIES)}
    assert not train & test
    assert split("What is 3+4 and 5*6?") == split("what is 3+4 and 5*6")


def test_the_same_seed_gives_the_same_examples_and_another_seed_others() -> None:
    assert list(examples(50, seed=3)) == list(examples(50, seed=3))
    assert list(examples(50, seed=3)) != list(examples(50, seed=4))


def test_markup_of_every_answer_parses_back_and_keeps_its_plain_text() -> None:
    for example in SAMPLE:
        assert parse(render(example.answer)) == example.answer
        assert plain(example.answer) == example.text


def test_chains_are_serial_and_the_others_fork_when_two_things_are_asked_for() -> None:
    counts = {family: Counter[int]() for family in QUESTION_FAMILIES}
    for example in SAMPLE:
        counts[example.family][example.branches] += 1
    assert set(counts["chain"]) == {0}
    for family in ("math", "rag", "general"):
        assert set(counts[family]) == {0, 2, 3, 4, 5, 6, 7, 8}  # one thing asked for: serial
        assert counts[family][0] < 0.1 * counts[family].total()


def test_branch_lengths_vary_from_a_few_words_to_several_sentences() -> None:
    words = [
        len(plain(branch.content).split())
        for example in SAMPLE
        for block in example.answer.blocks()
        for branch in block.branches
    ]
    assert min(words) <= 4
    assert max(words) >= 35


def test_questions_outside_the_families_get_the_honest_answer() -> None:
    others = [e for e in examples(2000) if e.family == "other"]
    assert 20 < len(others) < 120
    assert {e.text for e in others} == {others[0].text}
    assert others[0].text.startswith("I only know")


IN_WORDS = {" plus ": "+", " minus ": "-", " times ": "*", " divided by ": "/"}
MOST = {"+": 20, "*": 9, "-": 30, "/": 0}


def is_too_large(question: str) -> bool:
    for words, sign in IN_WORDS.items():
        question = question.replace(words, sign)
    found = re.findall(r"(\d+) ?([+*/-]) ?(\d+)", question)
    return any(max(int(left), int(right)) > MOST[sign] for left, sign, right in found)


def test_sums_beyond_the_range_of_the_family_get_the_honest_answer() -> None:
    asked = [e for e in examples(400, families=["other"]) if re.search(r"\d", e.question)]
    assert len(asked) > 50
    for example in asked:
        assert is_too_large(example.question), example.question


def test_sums_at_both_sides_of_the_limit_are_as_frequent() -> None:
    asked = list(examples(400, families=["limits"]))
    honest = [e for e in asked if e.text.startswith("I only know")]
    assert 150 < len(honest) < 250
    for example in asked:
        assert is_too_large(example.question) == (example in honest), example.question
        assert (example.family == "other") == (example in honest)
