"""Answers in the notations of others: the same text, their paths as branches, or a reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.core.markup import Block, Document, plain, render
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError
from aspd_cli.transform.io.notations import read_marked, read_streams
from aspd_cli.transform.io.records import Record, Rejected, read_records
from aspd_cli.transform.rows import transform_records

RED, BLUE = "The red ones are three in number.", "The blue ones are four in number."

MULTIVERSE = f"""Let me count.
<Parallel>
<Goal>
<Outline>
1: Count the red ones
</Outline>
<Outline>
2: Count the blue ones
</Outline>
</Goal>
<Path>
1: {RED}
</Path>
<Path>
2: {BLUE}
</Path>
<Conclusion>
So there are 7.
</Conclusion>
</Parallel>
The answer is 7."""

THREADWEAVER = f"""<think>
Let me count.
<Parallel>
<Outlines>
<Outline> 1: Count the red ones</Outline>
<Outline> 2: Count the blue ones</Outline>
</Outlines>
<Thread>
1: {RED}
</Thread>
<Thread>
2: {BLUE}
</Thread>
</Parallel>
</think>
The answer is 7."""

NPR = (
    "<guideline><plan>1: Red</plan><plan>2: Blue</plan></guideline>"
    f"<step>1: {RED}</step><step>2: {BLUE}</step><takeaway>There are 7.</takeaway>\n"
    "<guideline><plan>1: Check</plan><plan>2: Doubt</plan></guideline>"
    "<step>1: It is right.</step><step>2: It is wrong.</step><takeaway>Right.</takeaway>\nAnswer: 7"
)

RELEASE = (
    "Two:\n<|title|>Red<|/title|><|title|>Blue<|/title|><|para|>"
    f"<|branch|>Red: {RED}<|/branch|><|branch|>Blue: {BLUE}<|/branch|><|/para|>\n\nSeven."
)

CASES: dict[str, tuple[str, str, list[list[str]]]] = {
    "Multiverse": (
        MULTIVERSE,
        f"Let me count.\n\n{RED}\n\n{BLUE}\n\nSo there are 7.\n\nThe answer is 7.",
        [["Count the red ones", "Count the blue ones"]],
    ),
    "ThreadWeaver": (
        THREADWEAVER,
        f"<think>\nLet me count.\n\n{RED}\n\n{BLUE}\n\n</think>\nThe answer is 7.",
        [["Count the red ones", "Count the blue ones"]],
    ),
    "NPR": (
        NPR,
        f"{RED}\n{BLUE}\nThere are 7.\nIt is right.\nIt is wrong.\nRight.\nAnswer: 7",
        [["Red", "Blue"], ["Check", "Doubt"]],
    ),
    "Parallel-R1": (
        f"Hm.\n<Parallel><Path>{RED}</Path><Path>{BLUE}</Path></Parallel><Summary>7</Summary>",
        f"Hm.\n{RED}\n{BLUE}\n7",
        [["The red ones are three in number", "The blue ones are four in number"]],
    ),
    "ParaThinker": (
        f"<think1>{RED}</think1><think2>{RED}</think2><summary>7</summary>",
        f"{RED}\n{RED}\n7",
        [["The red ones are three in number", "Path 2"]],
    ),
    "ASPD release": (RELEASE, f"Two:\nRed: {RED}\nBlue: {BLUE}\n\nSeven.", [["Red", "Blue"]]),
}


def titles(document: Document) -> list[list[str]]:
    return [[branch.title for branch in block.branches] for block in document.blocks()]


@pytest.mark.parametrize("name", CASES)
def test_every_notation_is_known_and_its_paths_are_branches(name: str) -> None:
    answer, text, expected = CASES[name]
    found = read_marked(answer)
    assert found is not None
    assert found.notation == name
    assert plain(found.document) == text
    assert titles(found.document) == expected
    assert parse(render(found.document)) == found.document


def test_paths_nest_where_they_nest() -> None:
    inner = (
        "<Parallel><Goal><Outline>2.1: dark</Outline><Outline>2.2: light</Outline></Goal>"
        "<Path>2.1: One is dark.</Path><Path>2.2: Three are light.</Path></Parallel>"
    )
    found = read_marked(MULTIVERSE.replace(f"2: {BLUE}", f"2: {BLUE} {inner}"))
    assert found is not None
    outer, nested = found.document.blocks()
    assert nested in outer.branches[1].content.parts
    assert titles(found.document)[1] == ["dark", "light"]


def test_a_single_path_is_text_and_ordinary_answers_are_nobodys() -> None:
    one = "<guideline><plan>1: Red</plan></guideline><step>1: It is red.</step>\nDone."
    found = read_marked(one)
    assert found is not None
    assert found.document == Document(("It is red.\nDone.",))
    for text in ("Use `<title>` and <Path>.", "<Parallel>", "<summary>x</summary>", "a < b"):
        assert read_marked(text) is None


def test_long_plans_become_short_titles_and_equal_ones_are_told_apart() -> None:
    plan = "We look at the first of all cases, " + "and go on with it at great length " * 9
    answer = MULTIVERSE.replace("Count the red ones", plan).replace("Count the blue ones", plan)
    found = read_marked(answer)
    assert found is not None
    [[first, second]] = titles(found.document)
    assert len(first.split()) <= 8
    assert second == "Path 2"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (MULTIVERSE.replace("</Conclusion>", ""), "expected </Conclusion>, found </Parallel>"),
        (MULTIVERSE.replace(f"<Path>\n2: {BLUE}\n</Path>", ""), "a plan of 2 items has 1 paths"),
        (MULTIVERSE + "</Parallel>", "</Parallel> closes nothing that is open"),
        (MULTIVERSE.replace("</Path>\n<Path>", "</Path> or\n<Path>"), "text between two paths"),
        (NPR + "<plan>", "<plan> stands outside of <guideline>"),
        ("<think1>" * 50, "nested more than 32 deep"),
        ("a<Parallel><Path>b<|para|></Path><Path>c</Path></Parallel>", "control tokens"),
        (RELEASE.replace("<|/para|>", ""), "control tokens, but its markup is not well formed"),
    ],
)
def test_what_leaves_a_notation_is_refused_with_the_place(answer: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_marked(answer)
    assert words in str(caught.value)


def test_blanks_are_those_of_the_text_before_it_was_marked_up() -> None:
    original = f"Two:\n\n{RED}\n\n{BLUE}\n\n\nSeven."
    found = read_marked(RELEASE, original=original)
    assert found is not None
    assert plain(found.document) == original
    shown = read_marked(RELEASE, original=f"Two:\n\nRed: {RED}\n- Blue: {BLUE}\nSeven.")
    assert shown is not None
    assert f"Red: {RED}\n" in plain(shown.document)


APAR_TURN: dict[str, Any] = {
    "prompt": "Give tips.",
    "response": "Tips:\n\n1. **Rest**:[SplitMask]\n2. **Food**:[SplitMask]\n\nThat is all.",
    "streams": [" Sleep at the same hour.", "[SplitSop] Eat what is in season."],
    "forkable": True,
}


def test_streams_of_apar_are_put_where_they_fork() -> None:
    text, document = read_streams(APAR_TURN)
    assert document is not None
    assert text == plain(document)
    assert text == (
        "Tips:\n\n1. **Rest**: Sleep at the same hour.\n"
        "2. **Food**: Eat what is in season.\n\nThat is all."
    )
    [block] = (part for part in document.parts if isinstance(part, Block))
    assert block.leads == ("1. **Rest**:", "2. **Food**:")
    whole = text.replace("\n2.", "  \n\n2.")
    assert read_streams({**APAR_TURN, "reassembled_response": whole})[0] == whole


def test_lists_of_apar_with_text_between_are_blocks_of_their_own() -> None:
    response = APAR_TURN["response"] + "\n\nMore:\n- A:[SplitMask]\n- B:[SplitMask]"
    streams = [*APAR_TURN["streams"], " first", " second"]
    _, document = read_streams({"response": response, "streams": streams})
    assert document is not None
    assert titles(document) == [["Rest", "Food"], ["A", "B"]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"streams": []}, "2 marks [SplitMask] for 0 streams"),
        ({"streams": ["a", "b[SplitMask]"]}, "holds [SplitMask] itself"),
        ({"response": 5}, "needs a `response`"),
        ({"reassembled_response": "Something else."}, "do not give `reassembled_response`"),
    ],
)
def test_streams_that_do_not_fit_are_rejected_alone(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "in.jsonl"
    rows = [{"dialog": [APAR_TURN]}, {"dialog": [{**APAR_TURN, **change}]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    good, bad = read_records(path)
    assert isinstance(good, Record)
    assert isinstance(bad, Rejected)
    assert bad.line == 2
    assert words in bad.reason


def test_blocks_of_others_stand_if_they_pay_and_need_no_list() -> None:
    long = " ".join(["This goes on for a good while, and says a lot about it."] * 12)
    answer = MULTIVERSE.replace(RED, f"{RED} {long}").replace(BLUE, f"{BLUE} {long}")
    paying, short, ours = transform_records(
        [{"question": "q", "answer": text} for text in (answer, MULTIVERSE, answer)]
    )
    assert paying["aspd"]["status"] == "parallel"
    assert paying["aspd"]["notation"] == "Multiverse"
    assert (short["aspd"]["status"], short["aspd"]["reason"]) == ("serial", "fewer than 128 tokens")
    assert "<Path>" not in short["completion"][0]["content"]
    assert transform_records([ours])[0]["completion"] == ours["completion"]


def test_wide_forks_become_several_blocks() -> None:
    long = "It goes on for a good while here, and says a lot about this and that. " * 3
    paths = "".join(f"<Path>Number{n} is another one. {long}</Path>" for n in range(20))
    answer = f"<Parallel>{paths}</Parallel>"
    [row] = transform_records([{"question": "q", "answer": answer}])
    document = parse(row["completion"][0]["content"])
    assert [len(block.branches) for block in document.blocks()] == [10, 10]
