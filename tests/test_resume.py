"""What was made with other settings is refused by the names of those that differ."""

from typing import Any

import pytest

from aspd_cli.errors import UsageError
from aspd_cli.recipe import Recipe
from aspd_cli.resume import refuse_changes, settings_of


def refusal(before: dict[str, Any], now: dict[str, Any], *growing: str) -> str:
    with pytest.raises(UsageError) as caught:
        refuse_changes("out", before, now, "do this", growing=growing)
    return str(caught.value)


def test_a_recipe_is_the_same_as_itself_and_what_is_null_is_not_set() -> None:
    recipe = Recipe().model_dump(mode="json")
    assert None not in settings_of(recipe).values()
    refuse_changes("out", settings_of(recipe), settings_of(recipe), "do this")


def test_one_sentence_names_what_differs_and_what_to_do() -> None:
    before = {"b": [1, 2], "a.x": 3, "same": {"x": 1, "y": 2}, "gone": None}
    now = {"b": ["long" * 99], "a.x": 4, "same": {"y": 2, "x": 1}, "new": "ü"}
    text = refusal(before, now)
    assert text.startswith(
        "out was made with other settings: a.x (was 3, is 4), b (was [1, 2], is ["
    )
    assert text.endswith('..., gone (was null, is not set), new (was not set, is "ü"); do this'[3:])
    assert "same" not in text
    assert len(text) < 250


def test_a_tuple_is_the_list_that_a_file_makes_of_it() -> None:
    refuse_changes("out", {"a": [1, 2]}, {"a": (1, 2)}, "do this")


@pytest.mark.parametrize(
    ("was", "now", "fits"), [(2, 3, True), (3, 2, False), (-1, 3, False), (3, -1, False)]
)
def test_a_growing_field_may_be_raised_and_nothing_else(was: int, now: int, fits: bool) -> None:
    if fits:
        refuse_changes("out", {"steps": was}, {"steps": now}, "do this", growing=("steps",))
    else:
        assert f"steps (was {was}, is {now})" in refusal({"steps": was}, {"steps": now}, "steps")


def test_only_what_decides_is_compared() -> None:
    recipe = {"model": {"path": "m", "device": "cpu"}, "models": 1, "lora": None, "data": {"a": {}}}
    assert settings_of(recipe) == {
        "model.path": "m",
        "model.device": "cpu",
        "models": 1,
        "data.a": {},
    }
    assert settings_of(recipe, only=("model",), free=("model.device",)) == {"model.path": "m"}
    assert settings_of(recipe, free=("model", "data")) == {"models": 1}
