"""Where Markdown takes text as it stands, there are no items; and lines are those of the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aspd_cli.transform.rules import propose
from aspd_cli.transform.rules.markdown import Kind, cut_lines

KINDS = "Apple Bread Cheese Dates".split()
SAYS = "is a thing of its own kind, which people make by hand and sell in shops near the market."
ITEMS = [f"- **{name}**: {name} {SAYS}" for name in KINDS]
LABELS = [f"**{name}**: {name} {SAYS}" for name in KINDS]


def around(before: list[str], after: list[str], indent: str = "") -> str:
    inside = [indent + line for line in [*before, *ITEMS, *after]]
    return "\n".join(["Write this:", "", *inside, "", "That is all."])


HELD = {
    "fence": around(["```"], ["```"]),
    "fence with a longer end": around(["```text"], ["`````"]),
    "fence in a longer one": around(["````md", "```text"], ["```", "", "End.", "````"]),
    "fence in a tilde fence": around(["~~~", "```"], ["```", "~~~"]),
    "tildes in a fence": around(["```", "~~~"], ["~~~", "```"]),
    "an end with an info string": around(["```", "```python"], ["```"]),
    "fence that never ends": around(["```"], []),
    "indented code": around(["# list.md"], [], "    "),
    "code indented by a tab": around([], [], "\t"),
    "HTML comment": around(["<!--"], ["-->"]),
    "HTML comment with blank lines": around(["<!--", ""], ["", "-->"]),
    "pre": around(["<pre>"], ["</pre>"]),
    "pre with blank lines": around(["<pre>", "", ""], ["", "</pre>"]),
    "script": around(["<script>", "let x = 1;", ""], ["</script>"]),
    "raw HTML": around(["<div>"], ["</div>"]),
    "dollars": around(["$$"], ["$$"]),
    "dollars with blank lines": around(["$$ x = 1", ""], ["", "y $$."]),
    "brackets": around(["\\["], ["\\]"]),
    "quote": around([], [], "> "),
    "table of numbers": "\n".join(["Name | Text", "--- | ---", *(f"{k} | 12" for k in KINDS)]),
}  # fmt: skip

FREE = {
    "fence in one line": around(["``` is a fence ```", ""], []),
    "fence that has ended": around(["```", "- x", "```", ""], []),
    "HTML block that a blank line ends": around(["<details>", ""], ["", "</details>"]),
    "formula in one line": around(["$$ x = 1 $$", ""], []),
    "dollars of a price": around(["$$ is moderate, $$$ is dear.", ""], []),
    "quote before": around(["> said somebody", ""], []),
    "item by four blanks in an item": around(["Text", "    that is no code", ""], []),
    "code span": around(["Say `<!--` and `~~~`.", ""], []),
}


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_is_taken_as_it_stands_holds_no_list(name: str, end: str) -> None:
    proposal = propose(HELD[name].replace("\n", end))
    assert not list(proposal.document.blocks())


@pytest.mark.parametrize("name", FREE)
def test_lists_around_and_behind_it_are_found(name: str) -> None:
    [block] = propose(FREE[name]).document.blocks()
    assert [branch.title for branch in block.branches] == KINDS


@pytest.mark.parametrize("context", [("<!--", "-->"), ("$$", "$$"), ("```", "```")])
def test_it_holds_no_labels_and_no_headings_either(context: tuple[str, str]) -> None:
    first, last = context
    heads = [line for name in KINDS for line in (f"## {name}", f"{name} {SAYS}", "")]
    for inside in (LABELS, heads):
        assert not list(propose("\n".join([first, *inside, last])).document.blocks())


def test_items_with_code_stay_serial_wherever_the_code_begins() -> None:
    for code in ("\n  ```\n  x\n  ```", "\n\n      x = 1\n"):
        answer = "\n".join(item + code for item in ITEMS)
        assert propose(answer).refusals == ("an item holds code",)
    answer = "\n".join(f"- ```\n  {name} {SAYS}\n  ```" for name in KINDS)
    assert not list(propose(answer).document.blocks())


def test_items_may_hold_a_quote_or_raw_html() -> None:
    for more in ("\n  > Somebody said so.", "\n  <br>"):
        answer = "\n".join(item + more for item in ITEMS)
        [block] = propose(answer).document.blocks()
        assert [branch.title for branch in block.branches] == KINDS


@given(st.lists(st.sampled_from(["a", "- b", "\n", "\r", "\r\n", "\u2028", "\x0b", " ", "```"])))
def test_lines_end_where_markdown_ends_them_and_join_up_to_the_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    lines = cut_lines(text)
    assert "".join(text[line.start : line.end] for line in lines) == text
    assert [line.end for line in lines] == [
        at
        for at in range(1, len(text) + 1)
        if at == len(text) or text[at - 1] == "\n" or (text[at - 1] == "\r" and text[at] != "\n")
    ]


def test_a_block_that_begins_behind_a_marker_leaves_the_line_to_the_item() -> None:
    kinds = [line.kind for line in cut_lines("- ```\n  x\n  ```\n- > y\n  > z\n")]
    assert kinds == [Kind.BULLET, Kind.CODE, Kind.CODE, Kind.BULLET, Kind.VERBATIM]


def test_a_line_that_leads_into_something_is_no_heading() -> None:
    said = ["We can write this as:", "Here is what follows:", "以下是结果：", "Using the formula:"]
    assert all(line.kind is Kind.TEXT for line in cut_lines("\n".join(said)))
    named = ["Cultural experiences:", "Must-see attractions:", "水果和蔬菜："]
    assert all(line.kind is Kind.HEADING for line in cut_lines("\n".join(named)))


@pytest.mark.parametrize(
    ("lines", "marker", "numbers"),
    [
        (["1.洪水：常见", "2.旱灾：常见"], ".", [1, 2]),
        (["a) red", "b) blue"], "a)", [1, 2]),
        (["(a) red", "(b) blue"], "(a)", [1, 2]),
        (["① red", "② blue"], "①", [1, 2]),
        (["III. red", "IV. blue"], "Ai.", [3, 4]),
        (["1️⃣ red", "2️⃣ blue"], "\ufe0f\u20e3", [1, 2]),
        (["一、红", "十二、蓝"], "一、", [1, 12]),
    ],
)
def test_markers_of_many_kinds_count(lines: list[str], marker: str, numbers: list[int]) -> None:
    read = cut_lines("\n".join(lines))
    assert [line.kind for line in read] == [Kind.NUMBERED] * 2
    assert [line.marker for line in read] == [marker] * 2
    assert [line.number for line in read] == numbers


def test_emoji_are_bullets_of_one_kind_and_words_are_none() -> None:
    read = cut_lines("✅ red\n🔹 blue\nIt is so\nI. e. so\nA man\n“quoted” words\n")
    kinds = [Kind.BULLET, Kind.BULLET, Kind.TEXT, Kind.NUMBERED, Kind.TEXT, Kind.TEXT]
    assert [line.kind for line in read] == kinds
    assert read[0].marker == read[1].marker


def test_an_underlined_line_is_a_heading_and_a_rule_is_none() -> None:
    read = cut_lines("Rome\n----\n\nText.\n\n---\n\nA sentence that ends.\n---\n")
    heads = [line.text for line in read if line.kind is Kind.HEADING]
    assert heads == ["Rome"]
    assert sum(line.kind is Kind.RULE for line in read) == 2


def test_a_program_without_a_fence_is_code_and_prose_with_brackets_is_not() -> None:
    program = "#!/bin/sh\nx = f(1);\n\n- a list\n- in a comment\n\nreturn x;\n"
    kinds = {line.kind for line in cut_lines(program)[3:5]}
    assert kinds == {Kind.CODE}
    prose = "Call them (if you can).\n\n- One: more\n- Two: more\n\nSo it was (at last).\n"
    assert not any(line.kind is Kind.CODE for line in cut_lines(prose))
