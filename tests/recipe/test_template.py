"""The recipe that `aspd train --init` writes: valid as it is, and whole when all # are removed."""

import re

import pytest

from aspd_cli.recipe import Recipe, new_recipe
from aspd_cli.recipe.training import LoraSection
from aspd_cli.recipe.yaml_reader import read_yaml

TEXT = new_recipe("my.yaml")
FULL = re.sub(r"(?m)^( *)#(?=[^ \n]|  )", r"\1", TEXT)


def recipe(text: str) -> Recipe:
    source = read_yaml(text)
    assert not source.problems
    assert not source.ambiguous
    return Recipe.model_validate({k: v or {} for k, v in source.data.items()})


def test_it_is_the_defaults_with_lora_and_a_directory_of_its_own() -> None:
    expected = Recipe(lora=LoraSection()).model_dump()
    expected["training"]["output_dir"] = "runs/my"
    assert recipe(TEXT).model_dump() == expected


def test_without_its_hash_signs_it_holds_every_field_with_its_default() -> None:
    data = read_yaml(FULL).data
    whole = Recipe(lora=LoraSection()).model_dump()
    assert set(data) == set(whole)
    for section, fields in whole.items():
        assert set(data[section]) == set(fields)
    endpoint = type(recipe(FULL).transform.endpoint)
    assert set(data["transform"]["endpoint"]) == set(endpoint.model_fields)  # type: ignore[union-attr]
    found = recipe(FULL).model_dump()
    found["transform"]["endpoint"] = found["evaluation"]["judge"] = None
    found["transform"]["judge"] = found["model"]["endpoint"] = None
    found["training"]["output_dir"] = whole["training"]["output_dir"]
    assert found == whole


@pytest.mark.parametrize("section", Recipe.model_fields)
def test_every_field_comes_with_what_it_is(section: str) -> None:
    for field in type(getattr(Recipe(lora=LoraSection()), section)).model_fields.values():
        assert f"# {field.description}" in TEXT


def test_what_must_change_first_is_marked() -> None:
    marked = [line.split(":")[0].strip() for line in TEXT.splitlines() if "# change this" in line]
    assert marked == ["path", "train", "output_dir"]


def test_lines_fit_a_screen() -> None:
    assert max(map(len, TEXT.splitlines())) <= 104
