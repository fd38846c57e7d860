"""`annotate`: whatever a model replies, the plain text is the answer, or the reply is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aspd_cli.core.markup import Block, plain, render
from aspd_cli.core.parser import parse
from aspd_cli.errors import ReplyError
from aspd_cli.transform.llm.annotate import ask_for, read_document
from tests.core.strategies import TEXTS

SEGMENTS = ("Intro.\n\n", "1. Rome.\n", "   old\n", "2. Oslo.\n", "3. Bonn.\n\n", "End.")
TWO = [{"title": "Rome", "first": 2, "last": 3}, {"title": "Oslo", "first": 4, "last": 4}]


def titles(reply: Any, most: int = 16) -> list[list[str]]:
    text = reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False)
    document = read_document(text, SEGMENTS, most)
    assert plain(document) == "".join(SEGMENTS)
    assert parse(render(document)) == document
    return [[branch.title for branch in block.branches] for block in document.blocks()]


def part(title: Any = "Rome", **span: Any) -> dict[str, Any]:
    return {"title": title, **span}


GROUP = json.dumps({"groups": [TWO]})
FORMS: dict[str, Any] = {
    "as asked": {"groups": [["2-3: Rome", "4: Oslo"]]},
    "other marks": {"groups": [["[2]–[3] Rome", "4. Oslo"]]},
    "words and wide colons": {"groups": [["2 to 3：Rome", " 4 : Oslo:"]]},
    "a single group of texts": {"groups": ["2-3: Rome", "4-4: Oslo"]},
    "objects": {"groups": [TWO]},
    "blocks of branches": {"blocks": [{"branches": TWO}]},
    "a list of groups": [TWO],
    "a single group": TWO,
    "a single group under its key": {"groups": TWO},
    "a string": json.dumps(GROUP),
    "a string under its key": {"groups": json.dumps([TWO])},
    "a fence": f"```json\n{GROUP}\n```",
    "words around it": f"Sure! In [1] nothing, but:\n{GROUP}\nI hope that [this] helps.",
    "ranges as text": {"groups": [[part(segments="2-3"), part("Oslo", segments="4")]]},
    "ranges with a dash": {"groups": [[part(segments="2–3"), part("Oslo", segments="[4]")]]},
    "ranges as lists": {"groups": [[part(segments=[2, 3]), part("Oslo", segments=[4])]]},
    "lists of all numbers": {"groups": [[part(range=["2", "3"]), part("Oslo", range=4)]]},
    "start and end": {"groups": [[part(start=2, end=3), part("Oslo", start=4, end=4)]]},
    "a range as an object": {
        "groups": [[part(segments={"first": 2, "last": 3}), part("Oslo", first=4)]]
    },
    "numbers as text": {"groups": [[part(first="2", last="3"), part("Oslo", first="4")]]},
    "names for titles": {"groups": [[{**TWO[0], "name": "x"}, TWO[1]]]},
    "white space in titles": {"groups": [[part(" **Rome:** \n", first=2, last=3), TWO[1]]]},
    "parts in disorder": {"groups": [TWO[::-1]]},
}


@pytest.mark.parametrize("reply", FORMS.values(), ids=FORMS.keys())
def test_every_form_of_the_structure_is_read(reply: Any) -> None:
    assert titles(reply) == [["Rome", "Oslo"]]


def test_nothing_independent_is_a_valid_reply() -> None:
    assert titles({"groups": []}) == []
    assert titles('{"groups": [[]]}') == []


def test_parts_that_do_not_follow_each_other_are_no_group() -> None:
    far = [part("Rome", first=2), part("Oslo", first=4), part("Bonn", first=5)]
    assert titles({"groups": [far]}) == [["Oslo", "Bonn"]]
    assert titles({"groups": [far[:2]]}) == []


def test_groups_come_in_the_order_of_the_answer_and_long_ones_become_several() -> None:
    late, early = [part("C", first=4), part("D", first=5)], [part("A", first=1), part("B", first=2)]
    assert titles({"groups": [late, early]}) == [["Intro", "Rome"], ["Oslo", "Bonn"]]
    five = [part(f"T{n}", first=n) for n in range(1, 6)]
    found = [["Intro", "Rome"], ["old", "Oslo", "Bonn"]]
    assert titles({"groups": [five]}, most=3) == found


def test_titles_that_are_not_from_the_text_are_replaced_and_equal_ones_do_no_harm() -> None:
    assert titles({"groups": [["2-3: Lisbon", "4: Lisbon"]]}) == [["Rome", "Oslo"]]
    assert titles({"groups": [["2-3: Old Rome", "4: Vienna"]]}) == [["Old Rome", "Oslo"]]


BAD: dict[str, Any] = {
    "no JSON": "I find nothing.",
    "another object": {"answer": 3},
    "groups is a number": {"groups": 3},
    "a group is a text": {"groups": ["Rome"]},
    "a part without a number": {"groups": [["Rome", "4: Oslo"]]},
    "a part without a title": {"groups": [["2-3", "4: Oslo"]]},
    "a part that ends before it begins": {"groups": [["3-2: Rome", "4: Oslo"]]},
    "no title": {"groups": [[{"first": 2}, TWO[1]]]},
    "an empty title": {"groups": [[part(" ", first=2), TWO[1]]]},
    "a title that is none": {"groups": [[part(7, first=2), TWO[1]]]},
    "a title as long as a text": {"groups": [[part("x" * 81, first=2), TWO[1]]]},
    "a control token in a title": {"groups": [[part("<|para|>", first=2), TWO[1]]]},
    "no range": {"groups": [[part(), TWO[1]]]},
    "a range of words": {"groups": [[part(segments="all"), TWO[1]]]},
    "a list with holes": {"groups": [[part(segments=[1, 2, 4]), TWO[1]]]},
    "a range that is none": {"groups": [[part(first=3, last=2), TWO[1]]]},
    "segments that are not there": {"groups": [[part(first=5), part("B", first=6, last=7)]]},
    "segment 0": {"groups": [[part(first=0), part("B", first=1)]]},
    "parts that overlap": {"groups": [[part(first=2, last=4), TWO[1]]]},
    "groups that overlap": {"groups": [TWO, [part("A", first=4), part("B", first=5)]]},
}


@pytest.mark.parametrize("reply", BAD.values(), ids=BAD.keys())
def test_what_is_no_structure_is_refused(reply: Any) -> None:
    with pytest.raises(ReplyError):
        titles(reply)


NUMBERS = st.integers(-1, 8)
PARTS = st.builds(lambda title, a, b: part(title, first=a, last=b), TEXTS, NUMBERS, NUMBERS)
WRITTEN = st.builds("{}-{}: {}".format, NUMBERS, NUMBERS, TEXTS)
JSONS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | PARTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["groups", "branches", "title", "first"]), inner, max_size=3
        )
    ),
)


@given(
    st.lists(st.lists(PARTS | WRITTEN, max_size=4), max_size=3).map(lambda g: {"groups": g})
    | JSONS
    | TEXTS
)
def test_no_reply_changes_a_byte(reply: Any) -> None:
    try:
        found = titles(reply)
    except ReplyError:
        return
    assert all(len(block) > 1 for block in found)


def test_the_prompt_holds_numbered_segments_and_no_place_is_filled_twice() -> None:
    [message] = ask_for("Which $answer?", ("costs $question.", "two"))
    assert "Which $answer?" in message["content"]
    assert "[1] costs $question.\n[2] two\n</answer>" in message["content"]


def test_contents_hold_the_text_between_the_branches() -> None:
    document = read_document(GROUP, SEGMENTS, 16)
    [block] = [each for each in document.parts if isinstance(each, Block)]
    assert block.texts[0] == "1. Rome.\n   old\n"
