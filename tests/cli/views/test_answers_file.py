"""`aspd generate --input --output`: every record once, in order, whatever happens in between."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.cli.views.answers_file import Answers
from aspd_cli.cli.views.prompts_file import PromptRecord
from aspd_cli.errors import DataError
from aspd_cli.outputs import RECIPE, beside
from tests import make
from tests.cli.conftest import Cli
from tests.killing import killed_between_files
from tests.small_disk import small_disk

SAMPLED = ("--temperature", "1", "--seed", "4", "--max-new-tokens", "40", "--batch-size", "3")

GOOD = [
    {"prompt": "Hi", "id": "first"},
    {"question": "How many?"},
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]},
    {"prompt": [{"role": "system", "content": "Be short"}, {"role": "user", "content": "Café 你"}]},
    {"prompt": "control <|para|> tokens"},
]

BAD = {
    '{"prompt": ': "not JSON",
    '["prompt"]': "a record must be a JSON object",
    '{"text": "hi"}': "no `prompt`, `messages` or `question`, only text",
    '{"prompt": " "}': "the prompt is empty: give",
    '{"question": 5}': "`question` is neither a string nor a list of messages",
    '{"prompt": ["hi"]}': "a message needs a `role` and a `content`",
    '{"prompt": [{"role": "user"}]}': "the content of a user message is not a string",
    '{"messages": [{"role": "assistant", "content": "Yes"}]}': "the prompt is empty",
    '{"prompt": "\\ud800"}': "half of a surrogate pair",
    b'{"prompt": "Gr\xfc\xdfe"}'.decode("utf-8", "surrogateescape"): "not UTF-8",
    json.dumps({"prompt": "word " * 2000}): "the model's context is 1024",
    '{"prompt": [{"role": "assistant", "content": "Yes"}]}': "nothing to answer",
    '{"prompt": [{"role": "us\\ud800er", "content": "hi"}]}': "half of a surrogate pair",
    '{"prompt": "hi", "id": "\\ud800"}': "the `id` contains half of a surrogate pair",
    '{"prompt": "hi", "id": NaN}': "the `id` is nan",
    '{"prompt": "hi", "prompt": "ho"}': "the key 'prompt' occurs twice",
    '{"prompt": "hi", "id": ' + "[" * 9999: "nested too deeply",
}


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in GOOD))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def texts(path: Path) -> list[str]:
    return [answer["text"] for answer in lines(path)]


def test_every_record_is_answered_in_order(cli: Cli, forking: Path, prompts: Path) -> None:
    out = prompts.with_name("answers.jsonl")
    result = cli("generate", "--model", forking, *SAMPLED, "--input", prompts, "--output", out)
    assert result.exit_code == 0
    assert result.stdout == ""
    answers = lines(out)
    assert [answer["index"] for answer in answers] == list(range(len(GOOD)))
    assert answers[0]["id"] == "first"
    assert answers[2]["prompt"] == [{"role": "user", "content": "Hi"}]
    single = cli("generate", "--model", forking, *SAMPLED, "--json", "How many?")
    alone = json.loads(single.stdout)
    assert answers[1]["text"] == alone["text"]
    assert not out.with_name("answers.jsonl.rejected.jsonl").exists()


@pytest.mark.parametrize(("line", "reason"), BAD.items(), ids=list(BAD.values()))
def test_a_bad_record_is_rejected_and_the_rest_is_answered(
    cli: Cli, forking: Path, tmp_path: Path, line: str, reason: str
) -> None:
    source, out = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    text = f'{{"prompt": "one"}}\n\n{line}\n{{"prompt": "two"}}'
    source.write_bytes(text.encode("utf-8", "surrogateescape"))
    result = cli("generate", "--model", forking, *SAMPLED, "--input", source, "--output", out)
    assert result.exit_code == 3
    assert [answer["prompt"] for answer in lines(out)] == ["one", "two"]
    [rejected] = lines(tmp_path / "a.jsonl.rejected.jsonl")
    assert rejected["line"] == 3
    assert reason in rejected["reason"]
    assert str(tmp_path / "a.jsonl.rejected.jsonl") in result.stderr


@pytest.mark.parametrize("kept", [0, 1, 3, 5])
@pytest.mark.parametrize("torn", ["", '{"index": 4, "dig'])
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    cli: Cli, forking: Path, prompts: Path, kept: int, torn: str
) -> None:
    whole, resumed = prompts.with_name("whole.jsonl"), prompts.with_name("resumed.jsonl")
    command = ("generate", "--model", forking, *SAMPLED, "--input", prompts, "--output")
    assert cli(*command, whole).exit_code == 0
    done = whole.read_text().splitlines(keepends=True)
    resumed.write_text("".join(reversed(done[:kept])) + torn)
    shutil.copy(beside(whole, RECIPE), beside(resumed, RECIPE))
    result = cli(*command, resumed)
    assert result.exit_code == 0
    assert texts(resumed) == texts(whole)
    assert [answer["index"] for answer in lines(resumed)] == list(range(len(GOOD)))
    if kept > 1:  # times included, so it was not redone
        assert lines(resumed)[1] == lines(whole)[1]


def test_a_changed_prompt_is_answered_anew(cli: Cli, forking: Path, prompts: Path) -> None:
    out = prompts.with_name("answers.jsonl")
    command = ("generate", "--model", forking, *SAMPLED, "--input", prompts, "--output", out)
    cli(*command)
    before = lines(out)
    prompts.write_text(prompts.read_text().replace("How many", "How few"))
    cli(*command)
    after = lines(out)
    assert after[1]["prompt"] == "How few?"
    assert after[3:] == before[3:]


def test_answers_of_other_settings_are_never_mixed(cli: Cli, forking: Path, prompts: Path) -> None:
    out = prompts.with_name("answers.jsonl")
    command = ("generate", "--model", forking, *SAMPLED, "--input", prompts, "--output", out)
    cli(*command)
    before = out.read_bytes()
    refused = cli(*command, "--seed", "5", "--top-k", "3")
    assert refused.exit_code == 2
    assert "generation.seed (was " in refused.stderr
    assert "generation.top_k (was " in refused.stderr
    assert out.read_bytes() == before
    assert cli(*command, "--batch-size", "2", "--no-draft").exit_code == 0


def test_a_file_of_something_else_is_left_alone(cli: Cli, forking: Path, prompts: Path) -> None:
    out = prompts.with_name("notes.jsonl")
    out.write_text('{"note": 1}\n')
    command = ("generate", "--model", forking, "--input", prompts, "--output")
    foreign, same = cli(*command, out), cli(*command, prompts)
    assert (foreign.exit_code, same.exit_code) == (1, 2)
    assert f"{out}:1 is not an answer" in foreign.stderr
    assert "the same file" in same.stderr
    assert out.read_text() == '{"note": 1}\n'


@pytest.mark.parametrize("text", ["precious", '{"index": 0, "mine": 1', '{"index": 0}\nprecious'])
def test_a_file_without_a_line_end_of_something_else_is_not_taken_for_a_torn_answer(
    cli: Cli, forking: Path, prompts: Path, text: str
) -> None:
    out = prompts.with_name("precious.json")
    out.write_text(text)
    refused = cli("generate", "--model", forking, "--input", prompts, "--output", out)
    assert refused.exit_code == 1
    assert "is not an answer of `aspd generate`" in refused.stderr
    assert sorted(os.listdir(out.parent)) == ["precious.json", "prompts.jsonl"]
    assert out.read_text() == text


def test_answers_to_other_prompts_are_not_replaced(cli: Cli, forking: Path, prompts: Path) -> None:
    out = prompts.with_name("answers.jsonl")
    command = ("generate", "--model", forking, *SAMPLED, "--output", out, "--input")
    assert cli(*command, prompts).exit_code == 0
    before = out.read_bytes()
    other = prompts.with_name("others.jsonl")
    other.write_text('{"prompt": "Something else"}\n')
    refused = cli(*command, other)
    assert refused.exit_code == 2
    assert "was made from another source" in refused.stderr
    assert out.read_bytes() == before


@pytest.mark.parametrize("name", ["a.jsonl.rejected.jsonl", "a.jsonl.recipe.yaml", "a.jsonl.part1"])
def test_a_file_of_somebody_else_beside_the_output_is_left_alone(
    cli: Cli, forking: Path, prompts: Path, name: str
) -> None:
    theirs, out = prompts.with_name(name), prompts.with_name("a.jsonl")
    for text in (prompts.read_text(), "precious\n"):
        theirs.write_text(text)
        source = prompts if text == "precious\n" else theirs
        flags = ("--model", forking, "--input", source, "--output", out)
        assert cli("generate", *flags).exit_code in (1, 2)
        assert theirs.read_text() == text
        assert not out.exists()


def add(answers: Answers, lines: list[dict[str, Any]]) -> None:
    for line in lines:
        answers.append(line)


def test_a_full_disk_costs_the_answer_that_it_came_with_and_no_other(tmp_path: Path) -> None:
    records = [PromptRecord(at, at + 1, None, f"prompt {at}") for at in range(9)]
    text = "long" * 700
    whole = [{"index": each.index, "digest": each.digest, "text": text} for each in records]
    with small_disk(tmp_path / "disk") as disk:
        path = disk.path / "answers.jsonl"
        answers = Answers(path)
        add(answers, whole[:2])
        disk.fill(4096)
        with pytest.raises(DataError, match=r"cannot write .*: No space left .* to resume"):
            add(answers, whole[2:])
        done = list(answers.done)
        assert 2 <= len(done) < 5
        with pytest.raises(DataError, match=r"cannot write .*: No space left .* to resume"):
            answers.sort()
        disk.free()
        again = Answers(path)
        again.load(records, known=True)
        again.cut()
        assert list(again.done) == done
        add(again, whole[len(done) :])
        again.sort()
        assert lines(path) == whole


def test_the_output_needs_the_name_of_a_file(cli: Cli, prompts: Path) -> None:
    for place, words in (("/", "is a directory"), ("-", "cannot be standard output")):
        refused = cli("generate", "--input", prompts, "--output", place)
        assert refused.exit_code == 2
        assert words in refused.stderr


def test_what_version_0_1_began_goes_on(cli: Cli, forking: Path, prompts: Path) -> None:
    """It kept the settings of `answers.jsonl` in `answers.recipe.yaml`, without a first line."""
    out, settings = prompts.with_name("answers.jsonl"), prompts.with_name("answers.recipe.yaml")
    command = ("generate", "--model", forking, *SAMPLED, "--input", prompts, "--output", out)
    assert cli(*command).exit_code == 0
    text = make.recipe_of_0_1(beside(out, RECIPE).read_text())
    beside(out, RECIPE).unlink()
    settings.write_text(text)
    whole = texts(out)
    out.write_bytes(out.read_bytes()[:-5])
    refused = cli(*command, "--seed", "5")
    assert "generation.seed (was " in refused.stderr
    assert cli(*command).exit_code == 0
    assert texts(out) == whole
    assert settings.read_text() == text


def test_a_second_run_at_once_is_refused(
    cli: Cli, spawn: Callable[..., subprocess.Popen[bytes]], forking: Path, tmp_path: Path
) -> None:
    source, out = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    source.write_text("".join(f'{{"prompt": "question {i}"}}\n' for i in range(60)))
    command = ("generate", "--model", forking, "--temperature", "1", "--max-new-tokens", "60")
    command += ("--input", source, "--output", out)
    process = spawn(*command)
    while process.poll() is None and not (out.exists() and out.stat().st_size):
        time.sleep(0.05)
    refused = cli(*command)
    assert process.poll() is None
    assert refused.exit_code == 2
    assert f"another run is writing {out}" in refused.stderr
    process.kill()
    process.communicate()
    kept = out.read_bytes().split(b"\n")[:-1]
    assert cli(*command).exit_code == 0, "the kernel has let go of the lock"
    assert set(kept) <= set(out.read_bytes().split(b"\n"))
    assert [answer["index"] for answer in lines(out)] == list(range(60))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_kill_between_two_files_costs_nothing(
    cli: Cli, forking: Path, prompts: Path, tmp_path: Path
) -> None:
    prompts.write_text(prompts.read_text() + "{broken\n")
    folder, out = tmp_path / "o", tmp_path / "o" / "a.jsonl"
    command = ("generate", "--model", forking, *SAMPLED, "--input", prompts, "--output", out)
    for files in killed_between_files(folder, *command):
        assert files == {"a.jsonl", "a.jsonl.recipe.yaml", "a.jsonl.rejected.jsonl"}
        assert [answer["index"] for answer in lines(out)] == list(range(len(GOOD)))
        assert lines(beside(out, ".rejected.jsonl"))[0]["line"] == len(GOOD) + 1


def test_a_file_without_a_prompt_is_refused_and_nothing_is_written(
    cli: Cli, forking: Path, tmp_path: Path
) -> None:
    source, out = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    source.write_text("\n\n")
    refused = cli("generate", "--model", forking, "--input", source, "--output", out)
    assert refused.exit_code == 1
    assert f"{source} contains no prompts" in refused.stderr
    assert list(tmp_path.iterdir()) == [source]


def test_a_foreign_file_whose_lines_look_like_ours_is_refused(
    cli: Cli, forking: Path, prompts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.jsonl"
    for line in ('{"index": [], "digest": "x"}\n', '{"index": {}, "digest": {}}\n'):
        out.write_text(line)
        refused = cli("generate", "--model", forking, "--input", prompts, "--output", out)
        assert refused.exit_code == 1
        assert f"{out}:1 is not an answer of `aspd generate`" in refused.stderr
        assert out.read_text() == line


def test_a_run_that_is_interrupted_goes_on(
    cli: Cli, spawn: Callable[..., subprocess.Popen[bytes]], forking: Path, tmp_path: Path
) -> None:
    source, out = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    source.write_text("".join(f'{{"prompt": "question {i}"}}\n' for i in range(60)))
    command = ("generate", "--model", forking, "--temperature", "1", "--max-new-tokens", "60")
    command += ("--input", source, "--output", out)
    process = spawn(*command)
    while process.poll() is None and not (out.exists() and out.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Run the same command to resume." in errors
    assert b"Traceback" not in errors
    kept = lines(out)
    assert 0 < len(kept) < 60
    assert cli(*command).exit_code == 0
    answers = lines(out)
    assert [answer["index"] for answer in answers] == list(range(60))
    assert all(answers[answer["index"]] == answer for answer in kept)


def test_a_model_that_cannot_decode_in_parallel_fails_the_run(
    cli: Cli, ordinary: Path, prompts: Path
) -> None:
    out = prompts.with_name("answers.jsonl")
    result = cli("generate", "--model", ordinary, "--input", prompts, "--output", out)
    assert result.exit_code == 1
    assert "--plain" in result.stderr
    assert not out.exists()
    assert not out.with_name("answers.jsonl.rejected.jsonl").exists()


def test_the_closing_line_counts_cut_answers_and_says_what_to_raise(
    cli: Cli, ordinary: Path, prompts: Path, tmp_path: Path
) -> None:
    flags = ("--model", ordinary, "--plain", "--max-new-tokens", "2", "--input", prompts)
    out = tmp_path / "a.jsonl"
    said = f"5 answers in {out}, 5 cut at max_new_tokens=2: raise --max-new-tokens"
    assert said in cli("generate", *flags, "--output", out).stderr
    again = cli("generate", *flags, "--output", out)
    assert "5 of them from an earlier run, 5 cut at" in again.stderr
    quiet = cli("generate", *flags, "--output", tmp_path / "b.jsonl", "--quiet")
    assert quiet.stderr == ""
