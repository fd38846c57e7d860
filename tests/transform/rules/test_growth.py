"""Whatever an answer looks like, the rules take time in proportion to its length."""

from collections.abc import Callable

import pytest

from aspd_cli.core.markup import Document, plain
from aspd_cli.transform.blocks import MOST_BRANCHES
from aspd_cli.transform.rules import propose
from aspd_cli.transform.rules.cross_references import MAX_COMPARED, cross_reference
from tests.growth import MOST_GROWTH, growth

SAYS = "some words about a thing that stands alone here"


def lines(form: str) -> Callable[[int], str]:
    """A maker of answers: one line after the other, `{}` its number."""
    return lambda size: "".join(form.replace("{}", str(n)) for n in range(size // len(form)))


def word(n: int) -> str:
    return "".join(chr(97 + n // 26**place % 26) for place in range(4))


def listed(form: Callable[[int], str], width: int) -> Callable[[int], str]:
    """Two items of many words."""
    return lambda size: "".join(
        f"- **{name}**: {' '.join(form(n) for n in range(size // (2 * width)))}\n" for name in "AB"
    )


ANSWERS: dict[str, Callable[[int], str]] = {
    "brackets in a title": lambda size: f"1. {'[' * size}\n2. {'[' * size}",
    "links that never end": lambda size: f"1. {'[](' * (size // 3)}\n2. {'[a](b' * (size // 5)}",
    "hashes behind a heading": lambda size: f"# {'#' * size}x",
    "spaces in a heading": lambda size: f"# a{' ' * size}b",
    "headings": lines("# a\n"),
    "headings of two ranks": lines("## Ab {}\n\ntext\n\n### u\n\ntext\n"),
    "sections": lines(f"## Head {{}}\n\n{SAYS} {{}}.\n\n"),
    "groups": lines(f"Here is {{}}.\n\n- **One**: {SAYS}\n- **Two**: {SAYS}\n\n"),
    "groups that name": lines(f"So.\n\n- **One**: Anna Keller {SAYS}\n- **Two**: if Keller\n\n"),
    "first without second": lines("First, a b\n\n"),
    "first and third": lines("First, a b\n\nThird, a b\n\n"),
    "the same number": lines("1. a\n"),
    "numbers": lambda size: "".join(f"{n % 999}. **T{n}**: {SAYS}\n" for n in range(size // 60)),
    "bullets": lines(f"- **T{{}}**: {SAYS} {{}}\n"),
    "bullets with one beginning": lines("- a a a a a a a a a a a a a a a {}\n"),
    "deeper and deeper": lambda size: "".join(f"{'  ' * n}- a\n" for n in range(int(size**0.5))),
    "deep, then long": lambda size: (
        "".join(f"{'  ' * n}1. a\n" for n in range(int((size / 2) ** 0.5))) + "a\n" * (size // 4)
    ),
    "labels": lines(f"Label {{}}: {SAYS}\n"),
    "labels in pairs": lines(" A: b\n  C: d\n"),
    "names": listed(lambda n: f"Ab{word(n)} Cd{word(n)}, of Cd{word(n)}, cd{word(n)}", 40),
    "things": listed(lambda n: f"a w{word(n)}, and the w{word(n)}.", 22),
    "acronyms": listed(lambda n: f"(A{word(n).upper()}) word", 14),
    "numbers in words": listed(lambda n: f"{n}77", 7),
    "pointers": lambda size: f"- A\n- saw {'these bands and the chopped onions ' * (size // 36)}\n",
    "things said too": listed(lambda n: f"it also {' '.join(word(n + k) for k in range(9))}.", 60),
    "one thing said too": listed(lambda n: "it also has a b c d", 20),
    "things said too in Chinese": listed(lambda n: f"它也支持{word(n)}网络", 11),
    "things pointed at by two words": listed(lambda n: f"{word(n)} abs, these {word(n)} abs", 21),
    "quoted names": listed(lambda n: f'**Ab{word(n)} Cd** "Ab{word(n)} Cd"', 26),
    "quotes": lines("> - a\n"),
    "steps with points": lines(f"## Step {{}}: a\n\n- **One**: {SAYS}\n- **Two**: {SAYS}\n\n"),
    "steps within steps": lambda size: "".join(
        f"{'  ' * n}- **Step {n}**:\n{'  ' * n}- **Step {n + 1}**:\n"
        for n in range(int((size / 2) ** 0.5))
    ),
    "parts of an exercise": lambda size: (
        "(b) " * (size // 8) + "\n" + "(a) x\n(b) y\n\nz\n" * (size // 40)
    ),
    "quotes in items": lambda size: f"1. {'a “b” ' * (size // 12)}\n2. {'a “b” ' * (size // 12)}",
    "questions": lines("1. Why is {} not a\n"),
    "ways with code": lines("## Option {}: a\n\n```\na\n```\n\nThe above code.\n\n"),
    "fences": lines("```\n~~~\n"),
    "longer and longer fences": lambda size: "".join(
        f"{'`' * (3 + n)}a\n" for n in range(int((2 * size) ** 0.5))
    ),
    "comments": lines("<!--\n"),
    "tags": lambda size: "<a" + " a" * (size // 2),
    "lone brackets": lines("<\n"),
    "formulas": lines("$$ a\n\\[\n"),
    "table": lambda size: "| a | b |\n|---|---|\n" + "| a\n" * (size // 4),
    "lazy quote": lambda size: "> a\n" + "b\n" * (size // 2),
    "carriage returns": lambda size: "\r" * size,
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_twice_the_answer_takes_about_twice_the_time(name: str) -> None:
    assert growth(propose, ANSWERS[name]) < MOST_GROWTH


def test_a_long_prompt_is_not_read_again_for_every_group() -> None:
    answer = ANSWERS["groups"](40_000)
    prompt = "Tell me about it. " * 2000
    assert growth(lambda size: propose(answer, prompt * size), lambda size: size, 10) < MOST_GROWTH


def test_more_items_than_can_be_compared_stay_serial() -> None:
    def answer(count: int) -> str:
        return "".join(f"- **T{word(n)}**: {SAYS}\n" for n in range(count))

    assert list(propose(answer(MAX_COMPARED)).document.blocks())
    proposal = propose(answer(MAX_COMPARED + 1))
    assert proposal.document == Document((answer(MAX_COMPARED + 1),))
    assert "too many to compare" in proposal.refusals[0]


def test_more_branches_than_can_be_laid_out_stay_serial() -> None:
    group = f"Here:\n\n- **One**: {SAYS}\n- **Two**: {SAYS}\n\n"
    assert list(propose(group * (MOST_BRANCHES // 2)).document.blocks())
    proposal = propose(group * (MOST_BRANCHES // 2 + 1))
    assert not list(proposal.document.blocks())
    assert proposal.refusals == ("4098 branches, more than 4096",)


def test_what_was_said_long_before_is_no_longer_known() -> None:
    branches = [
        ("Hall", "The hall was paid by Anna Keller."),
        ("Use", "Today the heirs of Keller rent it."),
    ]
    assert cross_reference(branches, "Keller" + "." * 100_000) is None
    assert cross_reference(branches, "." * 100_000 + "Keller") is None
    assert cross_reference(branches, "." * 100_000 + "Keller" + "." * 100_000)


def test_a_heading_keeps_its_words_and_loses_only_what_closes_it() -> None:
    answer = "".join(
        f"{head}\n\n{SAYS}, and so do many others of its kind.\n\n"
        for head in ("## C#", "## Rust ##", "## Java #1", "## Go #")
    )
    [block] = propose(answer).document.blocks()
    assert [branch.title for branch in block.branches][1:] == ["Rust", "Java #1", "Go"]
    assert plain(propose(answer).document) == answer
