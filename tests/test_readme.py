"""The README, the reference and the guide for contributors agree with the program.

That the README's set-up commands work is for `.ci/run` to show.
"""

import json
import re
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from aspd_cli.cli.main import app
from aspd_cli.recipe import load_recipe
from tests.bench.picture import CELL, HEIGHT, ROW, WIDTH, animate
from tests.engine.families import FAMILIES

ROOT = Path(__file__).parent.parent
NAMES = ("README.md", ".github/REFERENCE.md", ".github/CONTRIBUTING.md")
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
README = TEXTS["README.md"]
BLOCKS = [
    (name, kind, block)
    for name, text in TEXTS.items()
    for kind, block in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
]
COMMANDS = [
    line
    for _, kind, block in BLOCKS
    if kind == "sh"
    for line in block.replace("\\\n", " ").splitlines()
    if re.search(r"\baspd ", line)
]
RECIPES = [(name, block) for name, kind, block in BLOCKS if kind == "yaml"]
EXAMPLES = [
    example
    for text in TEXTS.values()
    for example in re.findall(r"^\| .+? \| `(.+?)` \| (parallel|serial) \|$", text, re.MULTILINE)
]


def test_the_readme_fits_a_screen() -> None:
    assert len(README.split()) <= 900


@pytest.mark.parametrize("name", ["README.md", ".github/REFERENCE.md"])
def test_every_tested_family_is_named(name: str) -> None:
    """`Gemma 2 and 3 (text)` are gemma2 and gemma3_text; Qwen2.5 is of the type qwen2."""
    listed = TEXTS[name].partition("rotary positions. Tested")[2].partition("Others")[0]
    listed = re.sub(r"(\w+) 2 and 3", r"\g<1>2, \g<1>3", listed)
    names = {re.sub(r"\W", "", each).lower() for each in listed.partition(":")[2].split(",")}
    assert names - {"qwen25"} == {each.partition("-")[0].replace("_", "") for each in FAMILIES}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_and_flag_exists(line: str) -> None:
    command = re.search(r"\baspd (\w+)", line)
    assert command
    shown = CliRunner().invoke(app, [command[1], "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    for flag in re.findall(r"(?<= )--[a-z_-]+", line):
        assert flag in shown.stdout


def test_the_readme_has_one_recipe() -> None:
    assert [name for name, _ in RECIPES].count("README.md") == 1


@pytest.mark.parametrize(("name", "recipe"), RECIPES)
def test_every_recipe_is_valid(name: str, recipe: str, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(recipe)
    assert load_recipe(path).lora


@pytest.mark.parametrize("name", NAMES)
def test_every_file_it_links_is_there(name: str) -> None:
    folder = (ROOT / name).parent
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", TEXTS[name]):
        assert (folder / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("name", NAMES)
def test_every_path_and_module_it_names_is_there(name: str) -> None:
    named = r"(?<![\w./-])(?:aspd_cli|tests|recipes|\.ci|\.github)/[\w./-]+"
    for path in re.findall(named, TEXTS[name]):
        assert (ROOT / path.rstrip(".")).exists(), path
    for module in re.findall(r"python -m ([a-z_.]+\w)", TEXTS[name]):
        assert find_spec(module), module


def test_the_first_command_answers_as_shown() -> None:
    [prompt] = re.findall(r'aspd generate --parallel "(Describe.*?)"', README)
    [shown] = [block for name, kind, block in BLOCKS if (name, kind) == ("README.md", "text")]
    result = CliRunner().invoke(app, ["generate", "--parallel", prompt])
    assert result.exit_code == 0
    assert result.stdout == shown


def test_its_picture_moves_without_scripts_and_ends_with_the_answer_shown() -> None:
    [name] = re.findall(r"!\[[^]]+\]\((.+?\.svg)\)", README)
    svg = (ROOT / name).read_text(encoding="utf-8")
    picture = ElementTree.fromstring(svg)
    kinds = {element.tag.rpartition("}")[2] for element in picture.iter()}
    assert kinds == {"svg", "style", "rect", "g", "text", "path"}
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert "@keyframes" in svg
    [shown] = [block for name, kind, block in BLOCKS if (name, kind) == ("README.md", "text")]
    last = max(int(end) for end in re.findall(r'class="a s\d+-(\d+)"', svg))
    rows = [[" "] * WIDTH for _ in range(HEIGHT)]
    for group in picture.iter("{http://www.w3.org/2000/svg}g"):
        if group.get("class", "a").endswith(("a", f"-{last}")):
            for text in group.findall("{http://www.w3.org/2000/svg}text"):
                column, row = round(float(text.get("x", 0)) / CELL), int(text.get("y", 0)) // ROW
                rows[row][column : column + len(text.text or "")] = text.text or ""
    assert " ".join(shown.split()) in " ".join("".join(chain(*rows)).split())


def test_a_picture_shows_each_cell_while_it_stands_there() -> None:
    texts = ["ab  c", "ab xc", " b xd"]
    blank = [[(" ", "")] * WIDTH] * (HEIGHT - 1)
    shots = [[[(c, "") for c in text.ljust(WIDTH)], *blank] for text in texts]
    svg = animate(shots, [1.0, 2.0, 1.0], "a <picture>")
    ElementTree.fromstring(svg)
    seen = {
        (c, first, last)
        for first, last in ((0, 1), (1, 2), (2, 2))
        for c in "abcdx"
        if re.search(rf'class="a s{first}-{last}">[^\n]*>{c}</text>', svg)
    }
    assert seen == {("a", 0, 1), ("c", 0, 1), ("x", 1, 2), ("d", 2, 2)}
    assert ".s0-1{animation-name:s0-1;opacity:0}" in svg
    assert "@keyframes s1-2{0%{opacity:0}25.00%{opacity:1}}" in svg


def test_there_are_examples_of_both_kinds() -> None:
    assert {kind for _, kind in EXAMPLES} == {"parallel", "serial"}


@pytest.mark.parametrize(("prompt", "kind"), EXAMPLES)
def test_its_examples_are_decoded_as_it_says(prompt: str, kind: str) -> None:
    result = CliRunner().invoke(app, ["generate", "--parallel", "--json", prompt])
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert (answer["stats"]["blocks"] == 1) == (kind == "parallel")
    assert answer["finish_reason"] == "stop"
