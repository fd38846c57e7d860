"""Titles of items that do not name themselves end where a phrase does."""

import pytest

from aspd_cli.transform.rules.titles import title_of, told_apart


@pytest.mark.parametrize(
    ("head", "title"),
    [
        ("TV shows have plots", "TV shows have plots"),
        (
            "Some plants, like the prickly pear, can be eaten raw.",
            "Some plants, like the prickly pear",
        ),
        ("If you find a water source, you should boil it.", "If you find a water source"),
        ("Gift ideas for the lover of tools:", "Gift ideas for the lover of tools"),
        ("The rent you might get after a year is lower.", "The rent you might get"),
        ("The display system shall incorporate a bright screen.", "The display system"),
        ("Start days with a good breakfast and a walk.", "Start days with a good breakfast"),
        ("Set clear, fair and good goals for the day.", "Set clear, fair and good goals"),
        ("询问家人或朋友是否看见过你的车钥匙。", "询问家人或朋友是否看见过你的车钥匙"),
        ("在公共场所佩戴口罩，勤洗手。", "在公共场所佩戴口罩"),
        (
            "道路和桥梁的设计者们没有料到今天的车流量会通过十倍的速度增长。",
            "道路和桥梁的设计者们没有料到今天",
        ),
    ],
)
def test_a_title_is_not_cut_within_a_word_or_a_phrase(head: str, title: str) -> None:
    assert title_of(head) == title


def test_items_that_begin_alike_are_named_from_where_they_differ() -> None:
    heads = [f"The number drawn is {word} one of the N numbers." for word in ("surely", "not")]
    titles = told_apart(heads, [title_of(head) or "" for head in heads])
    assert titles == ["surely one of the N numbers", "not one of the N numbers"]
