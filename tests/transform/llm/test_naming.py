"""Titles of what a model proposes: from labels, from its own words, or from the rules."""

import pytest

from aspd_cli.transform.llm.naming import named, shares_words

BEEF = "1. The ribeye has the most fat, and needs a hot pan.\n"
TENDER = "2. The fillet is tender and lean, best when it is rare.\n"


def titles(*parts: tuple[str, str]) -> list[str] | None:
    found = named(parts)
    assert found is None or [text for _, text in found] == [text for _, text in parts]
    return found and [title for title, _ in found]


def test_a_label_of_the_text_is_the_title_whatever_a_model_says() -> None:
    parts = ("Lisbon", "- **Ribeye**: fat.\n"), ("Lean meat", "- **Fillet**: lean meat.\n")
    assert titles(*parts) == ["Ribeye", "Fillet"]
    assert titles(("Vienna", "## Costs\n\nHigh."), ("Oslo", "## Gains\n\nLow.")) == [
        "Costs",
        "Gains",
    ]
    assert titles(("Rom", "1、**北京**：首都。\n"), ("Wien", "2、**上海**：城市。\n")) == [
        "北京",
        "上海",
    ]


def test_without_a_label_words_of_the_text_stand_and_others_do_not() -> None:
    assert titles(("Ribeye", BEEF), ("Fillet", TENDER)) == ["Ribeye", "Fillet"]
    assert titles(("Lisbon", BEEF), ("Vienna", TENDER)) == [
        "The ribeye has the most fat",
        "The fillet is tender",
    ]


def test_parts_that_cannot_be_told_apart_are_no_group() -> None:
    same = "- **Note**: read this.\n"
    assert titles(("x", same), ("y", same)) is None
    assert titles(("x", BEEF), ("y", "***\n")) is None
    assert titles(("Read", same), ("Y", "- **Note**: hear that.\n")) == ["Read", "Note"]


@pytest.mark.parametrize(
    ("title", "text", "found"),
    [
        ("Transportation costs", "What transport costs is paid by the firm.", True),
        ("The best of Lisbon", "The ribeye is the best.", True),
        ("The Lisbon", "The ribeye is the best.", False),
        ("Café culture", "CAFE life and cultures", True),
        ("首都", "中国的首都，有着悠久的历史。", True),
        ("维也纳", "中国的首都，有着悠久的历史。", False),
        ("東京の料理", "東京は日本の首都です。料理も有名です。", True),
        ("서울 음식", "서울의 음식은 맵습니다.", True),
        ("리스본", "서울의 음식은 맵습니다.", False),
        ("Москва", "В Москве много музеев.", True),
        ("Лиссабон", "В Москве много музеев.", False),
        ("AI", "AI helps.", True),
        ("!!!", "AI helps.", False),
        ("42", "It is 42.", True),
    ],
)  # fmt: skip
def test_shared_words_are_found_in_every_script(title: str, text: str, found: bool) -> None:
    assert shares_words(title, text) is found
