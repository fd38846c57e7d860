"""Segments: together the answer byte for byte, each one thing that a model may group."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aspd_cli.transform.llm.segments import LONG, cut_segments, number
from tests.core.strategies import TEXTS
from tests.transform import answers

REAL = [text for text, _ in answers.PARALLEL.values()] + list(answers.SERIAL.values())
LINES = st.sampled_from(
    ["# Head", "- item one", "  - nested", "2. two. Three? Four!", "", "---", "```", "| a | b |"]
) | st.sampled_from(
    ["A sentence. " * 30, "Label: text", "三个句子。" * 60, "tail", "\u2028", "**Bold**", "1)"]
)


@given(st.lists(TEXTS | LINES, max_size=12).map("\n".join))
def test_all_segments_together_are_the_answer(text: str) -> None:
    segments = cut_segments(text)
    assert "".join(segments) == text
    assert all(segment.strip() for segment in segments) or not text.strip()


@pytest.mark.parametrize("text", REAL)
def test_answers_are_cut_without_loss(text: str) -> None:
    assert "".join(cut_segments(text)) == text


def test_items_headings_and_paragraphs_are_one_segment_each() -> None:
    heads = [segment.split("\n")[0] for segment in cut_segments(answers.TIPS)]
    assert [head[:14] for head in heads] == [
        "Here are some ",
        "1. **Keep a sc",
        "2. **Dim the l",
        "   - Lamps cou",
        "   - So does t",
        "3. **Cool the ",
        "In conclusion,",
    ]
    assert [segment.split("\n")[0] for segment in cut_segments("# A\n\ntext\n\n## B\nmore")] == [
        "# A", "text", "## B", "more",
    ]  # fmt: skip


def test_blank_lines_and_rules_belong_to_the_segment_before() -> None:
    assert cut_segments("one.\n\n---\n\ntwo.\n") == ("one.\n\n---\n\n", "two.\n")
    assert cut_segments("\n\none.\n\ntwo.") == ("\n\none.\n\n", "two.")


def test_code_and_tables_stay_whole() -> None:
    code = "```python\n" + "x = 1  # a comment. Another one.\n" * 40 + "\ny = 2\n```\n"
    table = "| a | b |\n| - | - |\n" + "| One. | Two. |\n" * 60
    assert cut_segments("See.\n" + code + "Done.\n" + table) == ("See.\n", code, "Done.\n", table)


def test_a_long_paragraph_is_cut_into_sentences_and_a_short_one_is_not() -> None:
    sentence = 'Dr. Smith of the U.S. said "this is so." '
    assert cut_segments(sentence * 2) == (sentence * 2,)
    assert cut_segments(sentence * 40) == (sentence,) * 40
    hard = "a line that\nis wrapped by hand and goes\non.\n" * 5
    assert len(cut_segments(hard)) == 5


def test_chinese_sentences_end_without_a_space() -> None:
    sentence = "春天来了，花都开了。"
    count = LONG // len(sentence.encode()) + 1
    assert cut_segments(sentence * count) == (sentence,) * count
    assert cut_segments("一、概述。\n二、方法。") == ("一、概述。\n", "二、方法。")


def test_numbers_stand_before_the_segments_and_indentation_stays() -> None:
    assert number(("a\n\n", "  - b\n")) == "[1] a\n[2]   - b"
