"""The README and the program agree. That its set-up commands work is for `.ci/run` to show."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aspd_cli.cli.main import app
from aspd_cli.recipe import load_recipe

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line
    for kind, block in BLOCKS
    if kind == "sh"
    for line in block.splitlines()
    if re.search(r"\baspd ", line)
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_and_flag_exists(line: str) -> None:
    command = re.search(r"\baspd (\w+)", line)
    assert command
    shown = CliRunner().invoke(app, [command[1], "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    for flag in re.findall(r"(?<= )--[a-z-]+", line):
        assert flag in shown.stdout


def test_its_recipe_is_valid(tmp_path: Path) -> None:
    [recipe] = [block for kind, block in BLOCKS if kind == "yaml"]
    path = tmp_path / "my.yaml"
    path.write_text(recipe)
    assert load_recipe(path).lora


def test_every_file_it_names_is_there() -> None:
    root = Path(__file__).parent.parent
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (root / target).exists(), target


def test_the_first_command_answers_as_shown() -> None:
    [prompt] = re.findall(r'aspd generate --parallel "(Describe.*?)"', README)
    [shown] = [block for kind, block in BLOCKS if kind == "text"]
    result = CliRunner().invoke(app, ["generate", "--parallel", prompt])
    assert result.exit_code == 0
    assert result.stdout == shown


@pytest.mark.parametrize(
    ("prompt", "kind"),
    re.findall(r"^\| .+? \| `(.+?)` \| (parallel|serial) \|$", README, re.MULTILINE),
)
def test_its_examples_are_decoded_as_it_says(prompt: str, kind: str) -> None:
    result = CliRunner().invoke(app, ["generate", "--parallel", "--json", prompt])
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert (answer["stats"]["blocks"] == 1) == (kind == "parallel")
    assert answer["finish_reason"] == "stop"
