"""The program as a whole: how fast it answers, and what reaches the user when something breaks."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import aspd_cli as aspd
from aspd_cli.cli.main import app
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
        (["train"], 2, "no recipe given"),
        (["train", "/no/such.yaml"], 2, "no recipe at /no/such.yaml"),
        (["train", "BAD"], 2, "3 problems in the recipe"),
        (["transform", "", "out"], 2, "IN is empty; give a name"),
        (["transform", "in", "out", "--html="], 2, "--html is empty; give a name"),
        (["train", "tiny", "--set", "training.output_dir=''"], 2, "output_dir: is empty: give a"),
        (["generate", "--model", "", "hi"], 2, "model.path: is empty: give a name, or leave"),
    ],
)
def test_usage_errors(cli: Cli, tmp_path: Path, args: list[str], code: int, words: str) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("training: {max_steps: x, lr: 1}\nnonsense: {}\n")
    result = cli(*(str(bad) if arg == "BAD" else arg for arg in args))
    assert result.exit_code == code
    assert words in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("transform", "LONG", "out"),
        ("transform", "IN", "LONG"),
        ("validate", "LONG"),
        ("generate", "--input", "IN", "--output", "LONG"),
        ("generate", "--model", "LONG", "hi"),
    ],
)
def test_a_name_that_the_disk_does_not_take_is_one_sentence(
    cli: Cli, tmp_path: Path, args: tuple[str, ...]
) -> None:
    names = {"LONG": str(tmp_path / ("a" * 300)), "IN": str(tmp_path / "in.jsonl")}
    (tmp_path / "in.jsonl").write_text('{"prompt": "hi"}\n')
    result = cli(*(names.get(arg, arg) for arg in args))
    assert result.exit_code == 1
    assert result.stderr.startswith("aspd: error: cannot ")
    assert result.stderr.endswith(": File name too long\n")


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
        "aspd: error: unexpected ZeroDivisionError: of a kind (run with --debug for a traceback)\n"
    )
    assert "Traceback" in cli(*args, "--debug").stderr


GROUP: Any = typer.main.get_command(app)


def parsed(command: str, *args: str) -> dict[str, Any]:
    parent = GROUP.make_context("aspd", [command], resilient_parsing=True)
    made = GROUP.commands[command].make_context(
        command, list(args), parent=parent, resilient_parsing=True
    )
    return dict(made.params)


@pytest.mark.parametrize("command", sorted(GROUP.commands))
def test_flags_may_have_underscores_or_hyphens(command: str) -> None:
    nothing = parsed(command)
    for option in GROUP.commands[command].params:
        for flag in (*option.opts, *option.secondary_opts):
            if not flag.startswith("--") or flag == "--debug":  # which is no parameter
                continue
            value = [] if option.is_flag else ["7"]  # no flag has it as its default
            found = parsed(command, flag, *value)
            assert found != nothing
            assert "_" not in flag
            assert parsed(command, f"--{flag[2:].replace('-', '_')}", *value) == found


def test_values_keep_their_underscores_and_lm_eval_its_names() -> None:
    assert parsed("generate", "--system=a_b --c_d", "-m", "x_y")["system"] == "a_b --c_d"
    assert parsed("generate", "--system", "--c_d")["system"] == "--c_d"
    for theirs, ours in (
        (["--output_path", "a_b"], ["-o", "a_b"]),
        (["--batch_size=1,4"], ["--concurrency", "1,4"]),
        (["--system_instruction", "x"], ["--system", "x"]),
        (["--no-apply_chat_template"], ["--no-chat-template"]),
        (["--apply_chat_template"], ["--chat-template"]),
    ):
        assert parsed("eval", *theirs) == parsed("eval", *ours) != parsed("eval")
    assert parsed("generate", "--batch_size", "3")["batch_size"] == 3


@pytest.mark.parametrize("command", sorted(GROUP.commands))
def test_help_is_whole_at_80_columns_and_ends_with_examples(
    cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = cli(command, "--help").stdout
    assert "…" not in text
    assert " ." not in text
    assert text.index("General options") > text.index("│ --")
    rest = [line.strip() for line in text[text.index("Examples:") :].splitlines()[1:]]
    assert all(line.startswith(f"aspd {command}") for line in rest if line)
    assert any(rest)
    for line in filter(None, rest):  # the flags of examples exist
        words = shlex.split(line)[2:]
        assert parsed(command, *words) != parsed(command) or command in ("env", "train")


def test_values_of_flags_are_completed() -> None:
    def completed(command: str, flag: str, incomplete: str) -> list[str]:
        [option] = [o for o in GROUP.commands[command].params if flag in o.opts]
        context = GROUP.make_context("aspd", [command], resilient_parsing=True)
        return [item.value for item in option.shell_complete(context, incomplete)]

    assert completed("generate", "--dtype", "b") == ["bfloat16"]
    assert completed("eval", "--compare", "serial,pl") == ["serial,plain"]
    assert "aspd_synth" in completed("eval", "--tasks", "")
    assert "generation.temperature=" in completed("generate", "--set", "generation.t")
