"""`aspd generate` with one prompt: what it prints, and what it says to bad input."""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import aspd_cli as aspd
from aspd_cli.cli.views.generate import cut_at
from aspd_cli.engine.events import CutBy
from aspd_cli.recipe.sections import GenerationSection
from tests.cli.conftest import Cli


def test_a_pipe_gets_the_plain_text_and_nothing_else(
    cli: Cli, forking: Path, sampled: tuple[str, ...]
) -> None:
    streamed = cli("generate", "--model", forking, *sampled, "Hi")
    whole = cli("generate", "--model", forking, *sampled, "Hi", "--no-stream")
    answer = json.loads(cli("generate", "--model", forking, *sampled, "Hi", "--json").stdout)
    assert answer["stats"]["branches"] >= 2
    assert streamed.exit_code == 0
    assert streamed.stdout == whole.stdout == answer["text"].removesuffix("\n") + "\n"
    assert streamed.stderr == whole.stderr == ""


def test_markup_is_the_document_of_the_answer(
    cli: Cli, forking: Path, sampled: tuple[str, ...]
) -> None:
    markup = cli("generate", "--model", forking, *sampled, "Hi", "--markup").stdout
    answer = json.loads(cli("generate", "--model", forking, *sampled, "Hi", "--json").stdout)
    assert markup == answer["markup"].removesuffix("\n") + "\n"
    assert aspd.plain(aspd.parse(answer["markup"])) == answer["text"]


def test_serial_mode_writes_what_parallel_mode_writes(
    cli: Cli, forking: Path, sampled: tuple[str, ...]
) -> None:
    parallel = cli("generate", "--model", forking, *sampled, "Hi", "--parallel").stdout
    assert cli("generate", "--model", forking, *sampled, "Hi", "--serial").stdout == parallel


def test_stats_tell_of_drafts_and_no_draft_does_without(
    cli: Cli, forking: Path, sampled: tuple[str, ...]
) -> None:
    command = ("generate", "--model", forking, *sampled, "Hi", "--plain", "--stats")
    drafted, without = cli(*command), cli(*command, "--no-draft")
    assert re.search(r"\d+ of \d+ drafted tokens accepted", drafted.stderr)
    assert "draft" not in without.stderr
    assert drafted.stdout == without.stdout


def test_stats_measure_on_standard_error(cli: Cli, forking: Path, sampled: tuple[str, ...]) -> None:
    result = cli("generate", "--model", forking, *sampled, "Hi", "--stats")
    first, second = result.stderr.splitlines()
    for word in ("tokens (", "steps", "useful tokens/s", "first token"):
        assert word in first
    assert re.search(r"ideal speed-up \d+\.\d\d \(tokens / steps\)", first)
    assert re.search(r"measured speed-up \d+\.\d\d \(serial \S+ s / parallel \S+ s\)", second)


@pytest.mark.parametrize(
    ("mode", "says"), [("plain", "no branches"), ("serial", "one branch after another")]
)
def test_stats_of_other_modes_tell_no_speed_up(
    cli: Cli, forking: Path, sampled: tuple[str, ...], mode: str, says: str
) -> None:
    result = cli("generate", "--model", forking, *sampled, "Hi", "--stats", f"--{mode}")
    assert says in result.stderr
    assert "there is no speed-up to report" in result.stderr
    assert "measured" not in result.stderr


@pytest.mark.parametrize("args", [("-",), ()])
def test_a_prompt_comes_through_standard_input(
    cli: Cli, forking: Path, sampled: tuple[str, ...], args: tuple[str, ...]
) -> None:
    piped = cli("generate", "--model", forking, *sampled, *args, input="Hi\n")
    assert piped.stdout == cli("generate", "--model", forking, *sampled, "Hi").stdout


def test_flags_win_over_set_and_set_over_the_recipe(
    cli: Cli, forking: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"model: {{path: {forking}}}\ngeneration: {{max_new_tokens: 3, top_k: 1}}\n")

    def tokens(*args: str) -> int:
        result = cli("generate", "--recipe", recipe, "--plain", "--json", "Hi", *args)
        return int(json.loads(result.stdout)["stats"]["tokens"])

    assert tokens() == 3
    assert tokens("--set", "generation.max_new_tokens=4") == 4
    assert tokens("--set", "generation.max_new_tokens=4", "--max-new-tokens", "5") == 5


def test_control_tokens_that_a_user_types_are_text(cli: Cli, forking: Path) -> None:
    prompt = "<|title|>a<|/title|><|para|> <|/para|><|im_end|>"
    result = cli("generate", "--model", forking, "--max-new-tokens", "20", "--json", prompt)
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert aspd.render(aspd.parse(answer["markup"])) == answer["markup"]


def test_a_model_without_control_tokens_decodes_plainly(cli: Cli, ordinary: Path) -> None:
    args = ("--model", ordinary, "--max-new-tokens", "5", "Hi")
    assert cli("generate", "--plain", *args).exit_code == 0
    refused = cli("generate", "--parallel", *args)
    assert refused.exit_code == 1
    assert "aspd train" in refused.stderr
    assert "--plain" in refused.stderr


def test_a_cut_answer_says_what_to_raise(cli: Cli, ordinary: Path) -> None:
    where = ("generate", "--model", ordinary, "--plain", "Hi")
    said = "cut at max_new_tokens=5: raise --max-new-tokens\n"
    for form in ((), ("--no-stream",), ("--json",)):
        assert cli(*where, "--max-new-tokens", "5", *form).stderr == said
    assert cli(*where, "--max-new-tokens", "5", "--quiet").stderr == ""
    answer = json.loads(cli(*where, "--max-new-tokens", "5", "--json").stdout)
    assert (answer["finish_reason"], answer["cut_by"]) == ("length", "max_new_tokens")


@pytest.mark.parametrize("budget", ["max_new_tokens", "max_branch_tokens", "context"])
def test_what_a_cut_answer_is_told_to_raise_is_a_flag(cli: Cli, budget: CutBy) -> None:
    sentence = cut_at(budget, GenerationSection(max_new_tokens=7, max_branch_tokens=3))
    if budget == "context":
        assert "context is full" in sentence
        return
    assert f"{budget}={7 if budget == 'max_new_tokens' else 3}: raise" in sentence
    flag = sentence.rpartition(" ")[2]
    assert cli("generate", flag, "many", "hi").exit_code == 2
    assert "No such option" not in cli("generate", flag, "many", "hi").stderr


BAD = [
    ([""], 1, "the prompt is empty"),
    (["  \n"], 1, "the prompt is empty"),
    (["--model", "MODEL", "word " * 2000], 1, "the model's context is 1024"),
    (["--model", "no/such-model", "hi"], 1, "no/such-model"),
    (["--model", "/no/such/directory", "hi"], 1, "/no/such/directory"),
    (["--model", "EMPTY", "hi"], 1, "contains no config.json"),
    (["--model", "MODEL", "--adapter", "EMPTY", "hi"], 1, "is not an adapter directory"),
    (["--model", "MODEL", "--device", "abacus", "hi"], 1, "'abacus' is not a device"),
    (
        ["--temperature", "-1", "hi"],
        2,
        "temperature: must be greater than or equal to 0",
    ),
    (["--top-p", "1.5", "hi"], 2, "generation.top_p: must be less than or equal to 1"),
    (["--stop", "", "hi"], 2, "generation.stop"),
    (["--dtype", "fp16", "hi"], 2, "model.dtype: must be 'auto'"),
    (["--set", "generation.temprature=1", "hi"], 2, "did you mean temperature?"),
    (["--set", "generation", "hi"], 2, "write it as section.field=value"),
    (["--recipe", "/no/such.yaml", "hi"], 2, "no recipe at /no/such.yaml"),
    (["--parallel", "--plain", "hi"], 2, "exclude each other"),
    (["--json", "--markup", "hi"], 2, "leave out --markup"),
    (["--quiet", "--stats", "hi"], 2, "choose one"),
    (["--input", "p.jsonl"], 2, "need each other"),
    (["--output", "a.jsonl", "hi"], 2, "cannot be combined with PROMPT"),
    (["--max-new-tokens", "many", "hi"], 2, "not a whole number"),
    (["--temperature", "hot", "hi"], 2, "'--temperature': not a number"),
    (["--no-such-flag", "hi"], 2, "No such option"),
]


@pytest.mark.parametrize(("args", "code", "words"), BAD, ids=[case[2] for case in BAD])
def test_bad_input_is_one_sentence_and_an_exit_code(
    cli: Cli, forking: Path, tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    places = {"MODEL": str(forking), "EMPTY": str(tmp_path)}
    result = cli("generate", *(places.get(arg, arg) for arg in args))
    assert result.exit_code == code
    assert words in result.stderr
    assert result.stdout == ""
    if "│" not in result.stderr:  # typer draws a box around errors of its own
        assert result.stderr.startswith("aspd: error: ")
        assert result.stderr.count("\n") == 1


def test_bytes_of_another_encoding_are_refused(cli: Cli) -> None:
    result = cli("generate", "-", input="Grüße".encode("latin-1"))
    assert result.exit_code == 1
    assert "not UTF-8" in result.stderr


def test_debug_shows_the_traceback(cli: Cli, tmp_path: Path) -> None:
    result = cli("generate", "--model", tmp_path, "--debug", "hi")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("aspd: error: ")


def test_a_closed_pipe_ends_quietly(
    spawn: Callable[..., subprocess.Popen[bytes]], ordinary: Path
) -> None:
    args = ("--model", ordinary, "--plain", "--max-new-tokens", "16000")
    process = spawn("generate", *args, "Hi")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr.read() == b""


def test_an_interrupt_ends_with_130_and_what_was_written(
    spawn: Callable[..., subprocess.Popen[bytes]], ordinary: Path
) -> None:
    args = ("--model", ordinary, "--plain", "--max-new-tokens", "16000")
    process = spawn("generate", *args, "Hi")
    assert process.stdout is not None
    first = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == b""
    assert (first + rest).endswith(b"\n")


def test_quantised_weights_are_said_and_keep_parallel_equal_to_serial(
    cli: Cli, forking: Path, sampled: tuple[str, ...]
) -> None:
    command = ("generate", "--model", forking, *sampled, "--quantize", "int8", "Hi")
    parallel, serial = cli(*command, "--stats"), cli(*command, "--serial")
    assert parallel.stdout == serial.stdout
    assert parallel.stderr.splitlines()[-1].startswith("weights in int8: faster, less exact (")


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_compiled_steps_write_the_same(cli: Cli, forking: Path, sampled: tuple[str, ...]) -> None:
    command = ("generate", "--model", forking, *sampled, "Hi")
    compiled = cli(*command, "--compile")
    assert compiled.stdout == cli(*command).stdout
    assert "compiled steps are off" not in compiled.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--compile", "--endpoint", "http://localhost:1"), "--compile is for a model of"),
        (("--quantize", "int4"), "model.quantize"),
        (
            ("--quantize", "int8", "--endpoint", "http://localhost:1"),
            "--quantize is for a model of",
        ),
    ],
)
def test_weights_that_cannot_be_quantised_or_compiled_are_a_usage_error(
    cli: Cli, arguments: tuple[str, ...], says: str
) -> None:
    result = cli("generate", *arguments, "Hi")
    assert result.exit_code == 2
    assert says in result.stderr


def test_half_precision_cannot_be_quantised(cli: Cli) -> None:
    result = cli("generate", "--quantize", "int8", "--dtype", "bfloat16", "Hi")
    assert result.exit_code == 1
    assert "leave out --dtype" in result.stderr
