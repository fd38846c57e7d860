"""`aspd eval` on the command line: what it measures, writes, refuses."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from aspd_cli.evaluate.results import read_evaluation
from tests.cli.conftest import Cli
from tests.evaluate.data import GSM8K, write_jsonl
from tests.evaluate.test_replay import SHAPE, record
from tests.killing import killed_between_files

BLOCK = (
    "<|title|>One<|/title|><|title|>Two<|/title|><|para|><|branch|>One: {0}<|/branch|>"
    "<|branch|>Two: {0}<|/branch|><|/para|>"
).format("a b c d e f g h " * 4)


def test_the_shipped_task_scores_every_system_and_writes_all_files(
    cli: Cli, tmp_path: Path, forking: Path
) -> None:
    out = tmp_path / "run"
    result = cli(
        *("eval", "--tasks", "aspd_synth", "--limit", "1", "--gen_kwargs", "max_gen_toks=12"),
        *("--compare", f"parallel,hf,seq={forking}", "--model", forking, "--output_path", out),
    )
    assert result.exit_code == 0, result.stderr
    found = read_evaluation(out)
    assert [system.name for system in found.systems] == ["parallel", "hf", "seq"]
    assert found.baseline == "seq"
    assert {score.category for score in found.scores} == {"all", "math", "rag", "general", "chain"}
    assert len(found.answers) == 4 * 3
    assert all(answer.scores == {"exact_match,none": 0.0} for answer in found.answers)
    assert all("general" not in a.task or a.category == "general" for a in found.answers)
    saved = json.loads((out / "results.json").read_text())
    assert saved["results"]["aspd_synth"]["exact_match,none"] == 0.0
    assert saved["n-samples"]["aspd_synth_math"]["effective"] == 1
    assert (out / "report.html").read_text().lower().startswith("<!doctype html>")
    assert "max_gen_toks: 12" in (out / "recipe.yaml").read_text()
    for word in ("aspd_synth", "chain", "speed-up over seq", "exact_match", "peak memory"):
        assert word in result.stdout


def test_nothing_of_lm_eval_is_heard_outside_of_a_repository(
    spawn: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
    forking: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(os.path.abspath, filter(None, sys.path))))
    monkeypatch.chdir(tmp_path)
    process = spawn(
        *("eval", "--tasks", "aspd_synth", "--limit", "1", "--gen_kwargs", "max_gen_toks=4"),
        *("--model", forking, "--quiet"),
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert err == b""
    assert out.startswith(b"Score")


def test_speed_alone_takes_prompts_from_a_file(cli: Cli, tmp_path: Path, forking: Path) -> None:
    prompts = [{"prompt": "Hi", "category": "x"}, {"question": "Apples?"}, {"prompt": "Hi"}]
    path = write_jsonl(tmp_path / "p.jsonl", prompts)
    result = cli(
        *("eval", "--latency", "--prompts", path, "--model", forking, "--json", "--quiet"),
        *("--set", "generation.max_new_tokens=9", "--concurrency", "1,2", "--repeats", "2"),
    )
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    found = json.loads(result.stdout)["aspd"]
    assert [system["name"] for system in found["systems"]] == ["parallel", "serial", "hf"]
    whole = [r for r in found["latency"] if r["category"] == "all" and r["branches"] is None]
    assert [(row["concurrency"], row["answers"]) for row in whole] == [(1, 3)] * 3 + [(2, 3)] * 3
    assert whole[0]["speedup"].keys() == {"serial", "hf"}
    assert {row["category"] for row in found["latency"]} == {"all", "x", "prompts"}


def test_a_prompt_that_is_none_is_left_out_and_told(
    cli: Cli, tmp_path: Path, forking: Path
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "Hi", "category": "[/x]"}\n{"prompt": \n{"prompt": "\\ud800"}\n')
    flags = ("eval", "--latency", "--prompts", path, "--model", forking, "--quiet")
    result = cli(*flags, "--set", "generation.max_new_tokens=4")
    assert result.exit_code == 3, result.stderr
    told = "".join(result.stdout.split())
    for line, reason in ((2, "not JSON"), (3, "the prompt contains half of a surrogate pair")):
        assert f"left out: {path}:{line}: {reason}".replace(" ", "") in told
    path.write_text('{"prompt": \n')
    result = cli(*flags)
    assert result.exit_code == 1
    assert f"{path}:1: not JSON" in result.stderr


def test_a_replay_needs_a_configuration_only(cli: Cli, tmp_path: Path) -> None:
    shape = tmp_path / "shape.json"
    shape.write_text(json.dumps(SHAPE))
    lines = [record("Which?", f"So {BLOCK} end"), record("None?", "only text")]
    source = write_jsonl(tmp_path / "out.jsonl", lines)
    result = cli(
        *("eval", "--replay", source, "--random-weights", "--model", shape),
        *("--output_path", tmp_path / "run", "--no-log_samples", "--set", "generation.draft=false"),
    )
    assert result.exit_code == 0, result.stderr
    assert "random weights" in result.stdout
    assert "1 without a block" in result.stdout
    found = read_evaluation(tmp_path / "run")
    assert found.answers == ()
    steps = {row.system: row.measures["steps"].mean[0] for row in found.latency}
    assert steps["parallel"] < steps["hf"] < steps["serial"]


@pytest.mark.parametrize("flag", ["--replay", "--documents"])
def test_bad_lines_of_given_answers_are_left_out_and_told(
    cli: Cli, tmp_path: Path, forking: Path, flag: str
) -> None:
    source = tmp_path / "out.jsonl"
    good = json.dumps(record("Which?", f"So {BLOCK} end"))
    source.write_text(f'{{"prompt": \n{good}\n{{"prompt": "x"}}\n')
    result = cli("eval", flag, source, "--model", forking, "--quiet", "--compare", "parallel,plain")
    assert result.exit_code == 3, result.stderr
    told = "".join(result.stdout.split())
    for line in (1, 3):
        assert f"leftout:{source}:{line}hasno`prompt`and`completion`" in told
    assert "notJSON" in told


def test_the_loss_of_documents_is_told_by_part_and_against_the_seq_model(
    cli: Cli, tmp_path: Path, forking: Path
) -> None:
    lines = [record("Which?", f"So {BLOCK} end"), record("None?", "only text")]
    source = write_jsonl(tmp_path / "held.jsonl", lines)
    result = cli(
        *("eval", "--documents", source, "--model", forking, "--output", tmp_path / "run"),
        *("--compare", f"parallel,plain,seq={forking}"),
    )
    assert result.exit_code == 0, result.stderr
    for words in (
        "documents, over seq",
        "branches",
        "serial text",
        "content_loss",
        "1 without a block",
    ):
        assert words in result.stdout
    found = read_evaluation(tmp_path / "run")
    assert (found.answers, found.latency) == ((), ())
    losses = {(s.system, s.category): s.value[0] for s in found.scores if s.task == "documents"}
    assert losses["plain", "all"] == losses["seq", "all"] > 0, "the same weights"
    assert losses["parallel", "branches"] != losses["plain", "branches"]
    assert [row["line"] for row in found.documents["losses"]] == [1]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "documents, over seq: branches" in page
    assert "speed-up" not in page


def test_a_task_runs_on_a_local_file(cli: Cli, tmp_path: Path, forking: Path) -> None:
    path = write_jsonl(tmp_path / "gsm8k.jsonl", GSM8K)
    result = cli(
        *("eval", "--tasks", "gsm8k", "--data", f"gsm8k={path}", "--limit", "2", "--json"),
        *("--num_fewshot", "1", "--gen_kwargs", '{"max_gen_toks": 5}', "--model", forking),
    )
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["n-shot"] == {"gsm8k": 1}
    assert found["results"]["gsm8k"]["exact_match,strict-match"] == 0.0
    assert "same file" in found["aspd"]["notes"][0]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        ((), 2, "nothing to measure"),
        (("--tasks", "aspd_synth", "--latency"), 2, "cannot be combined"),
        pytest.param(
            *(("--tasks", "aspd_synt"), 2, "did you mean aspd_synth"), marks=pytest.mark.slow
        ),  # lm-eval reads its whole catalogue
        (("--tasks", "aspd_synth", "--compare", "fast"), 2, "unknown system; choose from parallel"),
        (("--tasks", "aspd_synth", "--data", "x"), 2, "TASK=FILE"),
        (("--tasks", "aspd_synth", "--concurrency", "0"), 2, "--concurrency"),
        (("--tasks", "aspd_synth", "--gen_kwargs", "x"), 2, "name=value"),
        (("--tasks", "aspd_synth", "--random-weights"), 2, "needs --replay"),
        (("--latency", "--compare", ""), 2, "--compare names no system"),
        (
            ("--tasks", "mt_bench", "--judge-url", "http://127.0.0.1:9"),
            *(2, "command line: evaluation.judge.model: is required"),
        ),
        (
            ("--tasks", "mt_bench", "--judge", "m", "--judge-url", "localhost:9"),
            *(2, "evaluation.judge.base_url: must begin with http:// or https://"),
        ),
        (("--latency", "--limit", "0.5"), 2, "is a fraction"),
        (("--latency", "--prompts", "none.jsonl"), 1, "cannot read the prompts"),
        (("--latency", "--model", "nowhere/at-all"), 1, "cannot load a model"),
        (("--replay", "none.jsonl"), 1, "cannot read the documents"),
        (("--documents", "none.jsonl"), 1, "cannot read the documents"),
        (("--documents", "none.jsonl", "--limit", "0.5"), 2, "a whole number of documents"),
        (("--documents", "none.jsonl", "--compare", "plain"), 2, "add parallel to --compare"),
        (("--documents", "x", "--replay", "y"), 2, "--replay and --documents cannot be combined"),
        (("--tasks", "aspd_synth", "--output_path", "/proc/x"), 1, "cannot create the directory"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(
    cli: Cli, args: tuple[str, ...], code: int, says: str
) -> None:
    result = cli("eval", *args)
    assert result.exit_code == code
    [line] = [line for line in result.stderr.splitlines() if line.startswith("aspd: error:")]
    assert says in line


@pytest.mark.parametrize("name", ["results.json", "samples.jsonl", "recipe.yaml", "report.html"])
def test_what_another_program_left_in_the_directory_is_refused(
    cli: Cli, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("precious")
    refused = cli("eval", "--latency", "--output", tmp_path)
    assert refused.exit_code == 2
    assert f"{tmp_path / name} was not made by `aspd eval`" in refused.stderr
    prompts = ("--prompts", tmp_path / name, "--output", tmp_path)
    refused = cli("eval", "--latency", *prompts)
    assert refused.exit_code == 2
    assert "are the same file" in refused.stderr
    assert (tmp_path / name).read_text() == "precious"


def test_an_output_that_is_a_link_leads_to_the_directory(
    cli: Cli, tmp_path: Path, forking: Path
) -> None:
    """One that is not there yet, too."""
    (tmp_path / "link").symlink_to("target")
    flags = ("--model", forking, "--limit", "1", "--set", "generation.max_new_tokens=4")
    done = cli("eval", "--latency", *flags, "--compare", "serial", "--output", tmp_path / "link")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target" / "results.json").is_file()


def test_arguments_of_the_harness_that_cannot_be_read_are_one_sentence(cli: Cli) -> None:
    refused = cli("eval", "--tasks", "gsm8k", "--gen-kwargs", "until=[a")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "--gen-kwargs until=[a: not YAML" in refused.stderr


@pytest.mark.parametrize("name", ["timeline.png", "quality-speed-2.png"])
def test_a_picture_of_somebody_else_is_refused(cli: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    (tmp_path / "photo.png").write_text("precious")
    refused = cli("eval", "--latency", "--output", tmp_path)
    assert refused.exit_code == 2
    assert f"{tmp_path / name} was not made by `aspd eval`" in refused.stderr
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.slow
def test_of_two_runs_at_once_the_second_is_refused_and_kills_are_mended(
    cli: Cli, spawn: Callable[..., Popen[bytes]], tmp_path: Path, forking: Path
) -> None:
    out = tmp_path / "o"
    flags: tuple[Any, ...] = ("--model", forking, "--compare", "serial", "--output", out)
    flags += ("--set", "generation.max_new_tokens=4", "--limit")
    process = spawn("eval", "--latency", *flags, "100000")
    while not (out / ".aspd.lock").exists():
        assert process.poll() is None
        time.sleep(0.05)
    refused = cli("eval", "--latency", *flags, "1")
    assert process.poll() is None
    assert refused.exit_code == 2
    assert f"another run is writing {out}" in refused.stderr
    process.kill()
    process.communicate()
    found = set()
    for files in killed_between_files(out, "eval", "--latency", *flags, "2"):
        found.add(frozenset(files))
        assert [answer.system for answer in read_evaluation(out).answers] == ["serial"] * 2
    assert len(found) == 1
    assert {"results.json", "samples.jsonl", "recipe.yaml", "report.html"} <= found.pop()


def test_a_model_without_control_tokens_is_refused_in_parallel_only(
    cli: Cli, ordinary: Path
) -> None:
    flags: tuple[Any, ...] = ("--limit", "1", "--set", "generation.max_new_tokens=4")
    result = cli("eval", "--latency", "--model", ordinary, *flags)
    assert result.exit_code == 1
    assert "aspd train" in result.stderr
    assert (
        cli("eval", "--latency", "--model", ordinary, "--compare", "plain,hf", *flags).exit_code
        == 0
    )
