"""The endpoint section of a recipe: problems are named by their place, and each field is used."""

import ast
from pathlib import Path

import pytest

import aspd_cli.endpoint
from aspd_cli.errors import RecipeError
from aspd_cli.recipe import load_recipe
from aspd_cli.recipe.endpoint import EndpointSection


def test_problems_of_a_nested_section_come_with_place_and_advice(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "transform:\n  endpoint:\n    modle: x\n    base_url: localhost:8000\n"
        "    concurrency: 1.5\n    temprature: 3\n"
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert sorted(str(caught.value).split("\n  ")[1:]) == [
        f"{path}:2: transform.endpoint.model: is required; give it a value",
        f"{path}:3: transform.endpoint.modle: no such field; did you mean model?",
        f"{path}:4: transform.endpoint.base_url: must begin with http:// or https://, "
        "not 'localhost:8000'",
        f"{path}:5: transform.endpoint.concurrency: must be a valid integer, not 1.5",
        f"{path}:6: transform.endpoint.temprature: no such field; did you mean temperature?",
    ]


def test_no_field_is_read_nowhere() -> None:
    assert aspd_cli.endpoint.__file__ is not None
    read = {
        node.attr
        for file in Path(aspd_cli.endpoint.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and "section" in str(getattr(node.value, "attr", getattr(node.value, "id", "")))
    }
    assert set(EndpointSection.model_fields) <= read
