"""Packaged recipes: found by name in a checkout and in a wheel, and never in place of one's own."""

import tomllib
from pathlib import Path

import pytest

from aspd_cli.errors import RecipeError
from aspd_cli.recipe import load_recipe, packaged_recipes
from aspd_cli.recipe import packaged as module
from aspd_cli.recipe.packaged import find_recipe, shadowed

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_recipe_of_the_repository_is_found_by_name() -> None:
    assert set(packaged_recipes()) == {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    for name, path in packaged_recipes().items():
        assert find_recipe(name) == find_recipe(f"{name}.yaml") == path
        assert load_recipe(name) == load_recipe(path)


def test_a_wheel_holds_them_where_they_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    [target] = build["targets"]["wheel"]["force-include"].items()
    assert target == ("recipes", "aspd_cli/assets/recipes")
    assert "/recipes" in build["targets"]["sdist"]["include"], "a wheel is made from an sdist"
    assert ROOT / target[1] == module._FOLDERS[0]


def test_a_copy_in_the_package_comes_before_the_folder_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine.yaml").write_text("data: {seed: 5}\n")
    monkeypatch.setattr(module, "_FOLDERS", (tmp_path / "copy", *module._FOLDERS))
    assert list(packaged_recipes()) == ["mine"]
    assert load_recipe("mine").data.seed == 5


@pytest.mark.parametrize("own", ["qwen", "qwen.yaml"])
def test_a_file_of_the_working_directory_wins(own: str) -> None:
    assert shadowed("qwen") is None
    Path(own).write_text("data: {seed: 5}\n")
    assert load_recipe("qwen").data.seed == 5
    assert shadowed("qwen") == Path(own)
    assert shadowed("llama") is None
    assert shadowed("nonsense") is None


def test_a_directory_does_not() -> None:
    Path("qwen").mkdir()
    assert load_recipe("qwen").model.path == "Qwen/Qwen2.5-7B-Instruct"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("qwne", "no recipe at qwne: did you mean qwen? Packaged recipes: llama, qwen, qwen-full"),
        ("recipes/qwen.yaml", "did you mean qwen? Packaged"),
        ("my", "no recipe at my: did you mean my.yaml? Packaged"),
        ("zzz", "no recipe at zzz: give the path of a YAML file. Packaged"),
        ("x" * 5000, "give the path of a YAML file. Packaged"),
        ("folder", "folder is a directory; give a YAML file or one of llama, "),
        ("", "is a directory"),
    ],
)
def test_an_unknown_name_lists_them_and_the_nearest(name: str, told: str) -> None:
    Path("my.yaml").write_text("")
    Path("folder").mkdir()
    with pytest.raises(RecipeError) as caught:
        load_recipe(name)
    assert told in str(caught.value)
