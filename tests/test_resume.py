"""What was made with other settings is refused by the names of those that differ."""

from pathlib import Path
from typing import Any

import pytest

from aspd_cli.errors import UsageError
from aspd_cli.recipe import Recipe, load_recipe
from aspd_cli.resume import (
    is_as_saved,
    refuse_another_source,
    refuse_changes,
    saved_facts,
    settings_of,
    settings_text,
    source_facts,
)
from tests import make


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
    with pytest.raises(UsageError, match="do this"):
        refuse_changes("out", {"a": [1, 2]}, {"a": (1, 3)}, "do this")


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


def test_saved_settings_say_who_wrote_them_and_whether_they_were_edited(tmp_path: Path) -> None:
    path, text = tmp_path / "recipe.yaml", Recipe().to_yaml()
    name = "ü \u2028 \x85 \udce9"  # what ends a line of YAML, and what UTF-8 does not hold
    path.write_text(settings_text("transform", text, source={"name": name}))
    assert load_recipe(path) == Recipe()
    facts = saved_facts(path, "transform")
    assert facts is not None
    assert facts["source"] == {"name": name}
    assert saved_facts(path, "train") is None
    assert is_as_saved(path)
    path.write_text(path.read_text() + "# mine\n")
    assert not is_as_saved(path)
    assert saved_facts(tmp_path / "none", "train") is None


def test_a_recipe_of_version_0_1_is_told_from_one_that_a_user_wrote(tmp_path: Path) -> None:
    path, text = tmp_path / "recipe.yaml", make.recipe_of_0_1(Recipe().to_yaml())
    for mine, ours in ((text, True), (f"# mine\n{text}", False), ("model:\n  path: m\n", False)):
        path.write_text(mine)
        assert is_as_saved(path) == ours
        assert saved_facts(path, "transform") is None


def test_a_source_is_known_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    one, moved, other = (tmp_path / name for name in ("one", "moved", "other"))
    one.write_text("same")
    moved.write_text("same")
    other.write_text("else")
    facts = source_facts(one)
    refuse_another_source("out", facts, source_facts(moved), "do this")
    refuse_another_source("out", None, facts, "do this")
    for now in (source_facts(other), source_facts(Path("-"))):
        with pytest.raises(UsageError, match=r"made from another source \(was .*one of 4 b"):
            refuse_another_source("out", facts, now, "do this")


@pytest.mark.parametrize("before", [5, [], {}, {"name": 5}, {"name": [], "bytes": "many"}])
def test_a_source_that_was_edited_away_is_another_one(tmp_path: Path, before: object) -> None:
    (tmp_path / "in").write_text("x")
    with pytest.raises(UsageError, match=r"another source \(was not known, is .*in of 1 bytes\)"):
        refuse_another_source("out", before, source_facts(tmp_path / "in"), "do this")
