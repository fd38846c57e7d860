"""The program as a whole: how fast it answers, and what reaches the user when something breaks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import aspd_cli as aspd
from tests.cli.conftest import Cli

HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_help_names_the_commands(cli: Cli) -> None:
    result = cli("--help")
    assert result.exit_code == 0
    assert "generate" in result.stdout
    assert "train" in result.stdout


def test_version(cli: Cli) -> None:
    assert cli("--version").stdout == f"aspd {aspd.__version__}\n"


@pytest.mark.parametrize("args", [["--help"], ["generate", "--help"], ["train", "--help"]])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['aspd', *{args!r}]\n"
        "from aspd_cli.cli.main import app\n"
        "try: app()\n"
        f"except SystemExit: print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    assert python(code).splitlines()[-1] == "[]"


def test_the_package_is_light_to_import() -> None:
    code = f"import sys, aspd_cli; print(sorted({{*{HEAVY!r}, 'pydantic'}} & set(sys.modules)))"
    assert python(code) == "[]\n"


def test_help_answers_within_half_a_second() -> None:
    """On a machine of its own: processor time, the best of five, because others share the cores."""
    command = [sys.executable, "-m", "aspd_cli", "--help"]
    seconds = []
    for _ in range(5):
        before = os.times()
        subprocess.run(command, capture_output=True, check=True)
        after = os.times()
        user = after.children_user - before.children_user
        seconds.append(user + after.children_system - before.children_system)
    assert 0 < min(seconds) < 0.5


def test_every_public_name_is_there() -> None:
    for name in aspd.__all__:
        assert getattr(aspd, name).__doc__
        assert name in dir(aspd)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        aspd.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nonsense"], 2, "No such command"),
        (["train"], 2, "Missing argument"),
        (["train", "/no/such.yaml"], 2, "there is no recipe /no/such.yaml"),
        (["train", "BAD"], 2, "3 problems in the recipe"),
    ],
)
def test_usage_errors(cli: Cli, tmp_path: Path, args: list[str], code: int, words: str) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("training: {max_steps: x, lr: 1}\nnonsense: {}\n")
    result = cli(*(str(bad) if arg == "BAD" else arg for arg in args))
    assert result.exit_code == code
    assert words in result.stderr


def test_an_unexpected_error_is_a_sentence_unless_debugging(
    cli: Cli, forking: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of a kind")

    monkeypatch.setattr("aspd_cli.cli.views.generate.answer_json", broken)
    args = ("generate", "--model", forking, "--max-new-tokens", "3", "--json", "hi")
    result = cli(*args)
    assert result.exit_code == 1
    assert result.stderr == (
        "aspd: error: unexpected ZeroDivisionError: of a kind (--debug shows where it comes from)\n"
    )
    assert "Traceback" in cli(*args, "--debug").stderr
