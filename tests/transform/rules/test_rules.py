"""The rules: independent structure becomes branches, all else stays, and no character changes."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aspd_cli.core.markup import Block, holds_markup, plain, render
from aspd_cli.core.parser import parse
from aspd_cli.transform.rules import propose
from aspd_cli.transform.rules.cross_references import cross_reference
from aspd_cli.transform.rules.phrases import MAX_WORDS
from tests.transform import answers

LINES = [
    *("# Top", "## Left part", "## Right part", "**Bold head**", "Label:", "In conclusion, done."),
    *("1. **First one**: it says a few words about itself", "2. **Second one**: and a few more",
      "3. third, without any label but with words", "1) odd", "- **Dash**: says something long",
      "* star with several words behind it", "  - nested and indented", "    1. deep", "- x"),
    *("Name: value that goes on for a while", "First, there is a reason that counts for much.",
      "Second, there is a reason of quite another kind.", "Finally, there is an end."),
    *("", "", "plain words in a row", "| a | b |", "```", "---", "\ttab", "中文的一行文字", "…"),
    *("x = 3", "as above", "1. ", "**", "- ", "#", "\u2028", "\x0b", "a\rb"),
]  # fmt: skip
MARKDOWN = st.lists(st.sampled_from(LINES), max_size=25).flatmap(
    lambda lines: st.sampled_from(["\n", "\n\n", "\r\n"]).map(lambda end: end.join(lines))
)


@given(MARKDOWN | st.text(max_size=200).filter(lambda text: not holds_markup(text)))
@settings(max_examples=400, deadline=None)
def test_the_plain_text_is_the_answer_byte_for_byte(answer: str) -> None:
    document = propose(answer).document
    assert plain(document) == answer
    assert parse(render(document)) == document


@given(MARKDOWN, st.integers(2, 5))
@settings(max_examples=200, deadline=None)
def test_no_block_is_too_wide_and_titles_are_short_and_of_one_line(answer: str, most: int) -> None:
    for block in propose(answer, max_branches=most).document.blocks():
        assert 2 <= len(block.branches) <= most
        for branch in block.branches:
            assert len(branch.title.split()) <= MAX_WORDS
            assert "\n" not in branch.title
            assert branch.title == branch.title.strip()


@pytest.mark.parametrize("name", answers.PARALLEL)
def test_independent_parts_become_branches_with_their_labels(name: str) -> None:
    answer, titles = answers.PARALLEL[name]
    [block] = [part for part in propose(answer).document.parts if isinstance(part, Block)]
    assert [branch.title for branch in block.branches] == titles
    assert plain(propose(answer).document) == answer


def test_lists_inside_sections_are_blocks_of_their_own() -> None:
    item = "- **{}**: said at some length, and with much that is worth to be known about it.\n"
    answer = "".join(
        f"## {head}\n\n" + "".join(item.format(f"{head} {n}") for n in "ABC") + "\n"
        for head in ("Trees", "Birds")
    )
    outer, *inner = propose(answer).document.blocks()
    assert outer.titles == ("## Trees", "Birds")
    assert [block.titles[0] for block in inner] == ["- **Trees A**:", "- **Birds A**:"]
    assert plain(propose(answer).document) == answer


@pytest.mark.parametrize("name", answers.SERIAL)
def test_dependent_parts_stay_serial_with_the_reason(name: str) -> None:
    proposal = propose(answers.SERIAL[name])
    assert not list(proposal.document.blocks())
    assert all(proposal.refusals)


def test_nested_lists_stay_in_their_item_and_the_conclusion_stays_outside() -> None:
    document = propose(answers.TIPS).document
    head, block, tail = document.parts
    assert isinstance(block, Block)
    assert isinstance(tail, str)
    assert "Lamps count too." in plain(block.branches[1].content)
    assert str(head).endswith("better:\n\n")
    assert tail.startswith("In conclusion")


@pytest.mark.parametrize("gap", ["\n", "\n\n"])
def test_the_last_branch_ends_like_its_siblings(gap: str) -> None:
    """No branch sees that it is the last: the blank line behind a list is serial text."""
    items = [
        f"- **{name}**: lives in {place} and has been there for years."
        for name, place in (("Anna", "Rome"), ("Tim", "Oslo"), ("Ruth", "Lima"))
    ]
    answer = f"They live here:\n\n{gap.join(items)}\n\nThat is all."
    document = propose(answer).document
    [block] = document.blocks()
    endings = {plain(branch.content).rpartition(".")[2] for branch in block.branches}
    assert endings == {gap}
    assert plain(document) == answer


def test_a_section_that_concludes_is_no_branch() -> None:
    document = propose(answers.SECTIONS).document
    assert str(document.parts[-1]).startswith("## Conclusion")


def test_a_list_too_wide_for_one_block_becomes_several() -> None:
    words = "zero one two three four five six seven eight nine".split()
    items = (
        f"{n}. **Entry {word}** - as many words as a branch needs\n" for n, word in enumerate(words)
    )
    document = propose("".join(items), max_branches=4).document
    assert [len(block.branches) for block in document.blocks()] == [3, 3, 4]


def test_what_the_prompt_names_is_no_reference_to_a_neighbour() -> None:
    branches = [
        ("Price", "- **Price**: The hall was paid for by Anna Keller.\n"),
        ("Use", "- **Use**: Today the heirs of Keller rent it out.\n"),
    ]
    assert cross_reference(branches) is not None
    assert cross_reference(branches, "Tell me about Anna Keller's hall") is None


def test_a_pronoun_that_all_items_begin_with_stands_for_what_is_before_them() -> None:
    first, second = "- It strengthens the back.\n", "- It calms the mind.\n"
    assert cross_reference([("Strength", first), ("Calm", second)]) is None
    assert cross_reference([("Yoga", "- Yoga helps.\n"), ("Calm", second)]) is not None


@pytest.mark.parametrize("mark", ["**", "*", "_", '"'])
def test_a_name_in_emphasis_is_no_pronoun(mark: str) -> None:
    first = ("Clockers", "8. **Clockers** (1995) - A film about a murder in Brooklyn.\n")
    name = f"{mark}He Got Game{mark} (1998) - A film about a father and his son.\n"
    assert cross_reference([first, ("He Got Game", f"9. {name}")]) is None
    assert cross_reference([first, ("He Got Game", "9. He got game in 1998.\n")]) is not None


def test_rules_are_deterministic_and_quick() -> None:
    texts = [text for text, _ in answers.PARALLEL.values()] + list(answers.SERIAL.values())
    start = time.process_time()
    runs = [[propose(text) for text in texts] for _ in range(20)]
    seconds = time.process_time() - start
    assert all(run == runs[0] for run in runs)
    assert len(texts) * 20 / seconds > 300  # a tenth of what an idle core does


def test_long_lines_do_not_take_quadratic_time() -> None:
    for text in ("a" * 200_000, "**" * 50_000, "- " * 50_000, "1. a\n" * 5_000, ": " * 50_000):
        start = time.process_time()
        assert plain(propose(text).document) == text
        assert time.process_time() - start < 5


def test_a_quoted_name_needs_the_section_whose_label_it_is():
    answer = """Here is a plan.

## Activities

* **Morning Pages:** Each class reads ten pages aloud before the first lesson of the day begins.
* **Silent Hour:** On one afternoon nobody speaks in the house, and all take a book of their own.

## Guests

Two writers from the county come to the hall and answer what the children want to know.

## Prizes

Who keeps the "Silent Hour" to its end gets a stamp, and ten are worth a book.
"""
    document = propose(answer, "Design a week of reading for our school.").document
    titles = [{branch.title for branch in block.branches} for block in document.blocks()]
    assert not any({"Activities", "Prizes"} <= together for together in titles)
    other = propose(answer.replace('"Silent Hour"', "silence"), "Design a week of reading.")
    titles = [{branch.title for branch in block.branches} for block in other.document.blocks()]
    assert any({"Activities", "Prizes"} <= together for together in titles)


def test_a_form_does_not_end_amid_a_word():
    answer = """Each letter stands for a part of the work:

* **P**lanning: Think of who is to read the text, and of what they know before they begin it.
* **E**diting: Strike out whatever a reader would not miss, and read it aloud to somebody else.
* **N**otes: Keep a list of places and names at hand, so that nobody changes colour on the way.
"""
    [block] = propose(answer, "").document.blocks()
    assert all(len(branch.title) > 1 for branch in block.branches)
