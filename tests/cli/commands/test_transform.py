"""`aspd transform`: what it writes, what it says, and what it refuses to replace."""

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.killing import killed_between_files
from tests.small_disk import small_disk
from tests.transform import answers
from tests.transform.program import Cli, cli

__all__ = ["cli"]

LOW = ("--set", "transform.min_tokens=10")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    texts = [answers.TIPS, answers.SERIAL["recipe"], answers.SECTIONS]
    lines = (json.dumps({"instruction": "q", "output": text}) + "\n" for text in texts)
    path.write_text("".join(lines))
    return path


def statuses(out: Path) -> list[str]:
    return [json.loads(line)["aspd"]["status"] for line in out.read_text().splitlines()]


def test_it_says_which_back_end_and_tokenizer_and_ends_with_the_tables(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    result = cli("transform", source, out, *LOW)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert statuses(out) == ["parallel", "serial", "parallel"]
    for words in (
        "no endpoint configured: using the rules",
        "estimate",
        "independence",
        "PPD",
        "APE",
    ):
        assert words in result.stderr
    assert result.stderr.endswith(f"3 answers in {out}, 2 parallel\n")


def test_json_prints_the_report_and_quiet_nothing_else(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    result = cli("transform", source, out, *LOW, "--json", "--quiet")
    assert json.loads(result.stdout) == json.loads((tmp_path / "out.jsonl.report.json").read_text())
    assert result.stderr == ""


def test_standard_input_is_read(cli: Cli, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    for data in (source.read_bytes(), gzip.compress(source.read_bytes())):
        assert cli("transform", "-", out, *LOW, input=data).exit_code == 0
        assert len(statuses(out)) == 3


def test_values_that_are_no_records_end_in_code_3(cli: Cli, source: Path, tmp_path: Path) -> None:
    with source.open("a") as file:
        file.write("{broken\n")
    result = cli("transform", source, tmp_path / "out.jsonl", *LOW)
    assert result.exit_code == 3
    assert "1 rejected, see" in result.stderr
    [reject] = (tmp_path / "out.jsonl.rejected.jsonl").read_text().splitlines()
    assert json.loads(reject)["line"] == 4


def test_outputs_of_all_shards_are_that_of_the_whole(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    lines = source.read_text().splitlines(keepends=True)
    source.write_text("".join([*lines, "{broken\n", "\n", *lines, "{broken too\n"]))
    whole = tmp_path / "whole.jsonl"
    assert cli("transform", source, whole, *LOW).exit_code == 3
    for ending in ("", ".rejected.jsonl"):
        found = b""
        for number in range(1, 4):
            out = tmp_path / f"{number}.jsonl"
            assert cli("transform", source, out, *LOW, "--shard", f"{number}/3").exit_code in (0, 3)
            side = tmp_path / f"{number}.jsonl{ending}"
            found += side.read_bytes() if side.exists() else b""
        assert found == Path(f"{whole}{ending}").read_bytes()
    refused = cli("transform", source, out, *LOW, "--shard", "2/3")
    assert refused.exit_code == 2
    assert '--shard (was "3/3", is "2/3")' in refused.stderr
    assert cli("transform", source, tmp_path / "empty", *LOW, "--shard", "1/99").exit_code == 0
    assert (tmp_path / "empty").read_bytes() == b""


def test_the_same_command_again_ends_with_the_same_file(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    assert cli("transform", source, out, *LOW).exit_code == 0
    first = out.read_bytes()
    assert cli("transform", source, out, *LOW).exit_code == 0
    assert out.read_bytes() == first


def test_another_recipe_is_refused_by_the_names_that_differ_until_fresh(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    cli("transform", source, out, *LOW)
    other = ("--set", "transform.min_tokens=8000", "--set", "transform.max_branches=3")
    refused = cli("transform", source, out, *other)
    assert refused.exit_code == 2
    assert "transform.max_branches (was " in refused.stderr
    assert "transform.min_tokens (was " in refused.stderr
    assert statuses(out) == ["parallel", "serial", "parallel"]
    assert cli("transform", source, out, *other, "--fresh").exit_code == 0
    assert statuses(out) == ["serial"] * 3


def test_a_file_of_somebody_else_is_not_replaced(cli: Cli, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "precious.jsonl"
    out.write_text("precious")
    result = cli("transform", source, out)
    assert result.exit_code == 2
    assert "was not made by `aspd transform`" in result.stderr
    assert out.read_text() == "precious"


SIDE_FILES = ["rejected.jsonl", "report.json", "recipe.yaml", "journal.sqlite"]


@pytest.mark.parametrize("name", SIDE_FILES)
def test_nothing_that_is_read_or_of_somebody_else_is_written(
    cli: Cli, source: Path, tmp_path: Path, name: str
) -> None:
    out, theirs = tmp_path / "out.jsonl", tmp_path / f"out.jsonl.{name}"
    source.rename(theirs)
    before = theirs.read_bytes()
    refused = cli("transform", theirs, out, *LOW, "--fresh")
    assert refused.exit_code == 2
    assert "are the same file" in refused.stderr
    theirs.rename(source)
    theirs.write_text("precious")
    for fresh in ((), ("--fresh",)) if name != "journal.sqlite" else ():
        refused = cli("transform", source, out, *LOW, *fresh)
        assert refused.exit_code == 2
        assert f"{theirs} was not made by `aspd transform`" in refused.stderr
    assert (source.read_bytes(), theirs.read_text()) == (before, "precious")
    assert sorted(os.listdir(tmp_path)) == sorted(["in.jsonl", theirs.name])


def test_a_page_never_replaces_the_input(cli: Cli, source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    linked = tmp_path / "page.html"
    linked.symlink_to(source)
    for page in (source, linked):
        refused = cli("transform", source, tmp_path / "out.jsonl", "--html", page)
        assert refused.exit_code == 2
        assert "IN and --html are the same file" in refused.stderr
    assert source.read_bytes() == before


def test_a_page_replaces_only_an_earlier_page(cli: Cli, source: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "out.jsonl", tmp_path / "page.html"
    page.write_text("<title>My thesis</title>")
    refused = cli("transform", source, out, *LOW, "--html", page)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert f"{page} was not made by aspd, and --html would replace it" in refused.stderr
    assert page.read_text() == "<title>My thesis</title>"
    page.unlink()
    for _ in range(2):
        assert cli("transform", source, out, *LOW, "--html", page).exit_code == 0


def test_a_full_disk_costs_nothing_that_was_there(cli: Cli, source: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        command = ("transform", source, disk.path / "out.jsonl", *LOW)
        assert cli(*command).exit_code == 0
        before = {path: path.read_bytes() for path in disk.path.iterdir()}
        disk.fill()
        full = cli(*command, "--quiet")
        assert (full.exit_code, full.stderr.count("\n")) == (1, 1)
        assert "No space left on device" in full.stderr
        disk.free()
        assert {path: path.read_bytes() for path in disk.path.iterdir()} == before
        assert cli(*command).exit_code == 0


def test_a_recipe_named_by_a_word_is_not_written_over(
    cli: Cli, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("qwen.yaml").write_text("transform: {min_tokens: 10}\n")
    refused = cli("transform", source, "out.jsonl", "--recipe", "qwen", "--html", "qwen.yaml")
    assert refused.exit_code == 2
    assert "--recipe and --html are the same file" in refused.stderr
    assert Path("qwen.yaml").read_text() == "transform: {min_tokens: 10}\n"


def test_a_recipe_of_the_user_is_never_rewritten(cli: Cli, source: Path, tmp_path: Path) -> None:
    out, saved = tmp_path / "o" / "mine.jsonl", tmp_path / "o" / "mine.jsonl.recipe.yaml"
    saved.parent.mkdir()
    text = "# mine\ntransform: {min_tokens: 10}\n"
    for name in ("mine.recipe.yaml", "mine.jsonl.recipe.yaml"):
        mine = tmp_path / "o" / name
        mine.write_text(text)
        code = cli("transform", source, out, "--recipe", mine).exit_code
        assert code == (2 if mine == saved else 0)
        assert mine.read_text() == text
        for path in set(saved.parent.iterdir()):
            path.unlink()
    assert cli("transform", source, out, *LOW).exit_code == 0
    text = saved.read_text()
    assert cli("transform", source, out, "--recipe", saved).exit_code == 0
    assert saved.read_text() == text


def test_another_source_is_refused_until_fresh(cli: Cli, source: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out.jsonl", tmp_path / "other.jsonl"
    assert cli("transform", source, out, *LOW).exit_code == 0
    before = out.read_bytes()
    other.write_bytes(source.read_bytes())
    assert cli("transform", other, out, *LOW).exit_code == 0, "the same bytes under another name"
    other.write_bytes(source.read_bytes() * 2)
    refused = cli("transform", other, out, *LOW)
    assert refused.exit_code == 2
    assert "was made from another source (was " in refused.stderr
    assert out.read_bytes() == before
    assert cli("transform", other, out, *LOW, "--fresh").exit_code == 0
    assert len(statuses(out)) == 6


def test_outputs_that_differ_after_a_dot_share_nothing(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    small, large = tmp_path / "o" / "qwen2.5-7b", tmp_path / "o" / "qwen2.5-72b"
    for out, minimum in ((small, 10), (large, 20), (small, 10), (large, 20)):
        result = cli("transform", source, out, "--set", f"transform.min_tokens={minimum}")
        assert result.exit_code == 0, result.stderr


def test_records_go_to_standard_output_and_rejects_to_standard_error(
    cli: Cli, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out.jsonl"
    with source.open("a") as file:
        file.write("{broken\n")
    assert cli("transform", source, out, *LOW).exit_code == 3
    before = sorted(os.listdir(tmp_path))
    result = cli("transform", source, "-", *LOW)
    assert result.exit_code == 3
    assert result.stdout_bytes == out.read_bytes()
    assert "line 4 is rejected: not JSON" in result.stderr
    assert "3 answers on standard output, 2 parallel, 1 rejected\n" in result.stderr
    for flags in (("--html", "x.html"), ("--json",), ("--fresh",)):
        assert cli("transform", source, "-", *LOW, *flags).exit_code == 2
    assert sorted(os.listdir(tmp_path)) == before


def test_the_home_directory_is_meant_by_its_sign(
    cli: Cli, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    assert cli("transform", source, "~/o/out.jsonl", *LOW, "--html=~/page.html").exit_code == 0
    assert (home / "o" / "out.jsonl").is_file()
    assert (home / "page.html").is_file()
    assert not (tmp_path / "~").exists()


def test_of_two_runs_at_once_the_second_is_refused(cli: Cli, source: Path, tmp_path: Path) -> None:
    """The first one waits for the end of its input."""
    out, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    command = [sys.executable, "-m", "aspd_cli", "transform", "-", str(out), *LOW]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        assert first.stdin is not None
        while not (tmp_path / ".out.jsonl.aspd.lock").exists():
            assert first.poll() is None
            time.sleep(0.02)
        time.sleep(0.2)
        refused = cli("transform", source, out, *LOW, "--fresh")
        assert refused.exit_code == 2
        assert f"another run is writing {out}" in refused.stderr
        assert first.poll() is None
        first.communicate(source.read_bytes())
    assert first.returncode == 0
    with source.open("rb") as file:
        subprocess.run([*command[:4], "-", str(whole), *LOW], stdin=file, check=True)
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_kill_between_two_files_is_mended_by_the_same_command(
    source: Path, tmp_path: Path
) -> None:
    folder, found = tmp_path / "o", set()
    with source.open("a") as file:
        file.write("{broken\n")
    for files in killed_between_files(folder, "transform", source, folder / "out.jsonl", *LOW):
        ends = ("", ".recipe.yaml", ".rejected.jsonl", ".report.json")
        assert files == {f"out.jsonl{end}" for end in ends}
        found.add((folder / "out.jsonl").read_bytes())
    assert len(found) == 1


@pytest.mark.parametrize(
    ("shell", "code", "words"),
    [
        ("{} transform IN OUT >&-", 0, "3 answers"),
        ("{} transform IN OUT --json >&-", 1, "cannot write to standard output"),
        ("{} transform IN - >&-", 1, "cannot write standard output"),
        ("{} transform IN - >/dev/full", 1, "cannot write standard output: No space left"),
        ("{} transform IN OUT --json --quiet >/dev/full", 1, "cannot write to standard output: No"),
        ("{} transform IN OUT 2>&-", 0, ""),
        ("{} transform - OUT <&-", 1, "is empty"),
    ],
)
def test_closed_and_full_streams_are_one_sentence(
    source: Path, tmp_path: Path, shell: str, code: int, words: str
) -> None:
    program = f"{sys.executable} -m aspd_cli"
    line = shell.format(program).replace(" IN", f" {source}").replace(" OUT", f" {tmp_path}/out")
    line = line.replace(" transform ", f" transform {LOW[0]} {LOW[1]} ")
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert done.stdout == ""
    assert not [word for word in ("Traceback", "Exception", "unexpected") if word in done.stderr]


BAD = [
    (["IN", "/"], 2, "OUT / is a directory"),
    (["IN", "TMP"], 2, "is a directory; give the name of a file"),
    (["IN", "/dev/null", "--fresh"], 2, "is not a regular file"),
    (["missing", "OUT"], 1, "No such file"),
    (["EMPTY", "OUT"], 1, "is empty"),
    (["ODD", "OUT"], 1, "unrecognised record format"),
    (["IN", "IN"], 2, "the same file"),
    (["IN", "OUT", "--set", "transform.min_token=3"], 2, "did you mean min_tokens?"),
    (["IN", "OUT", "--set", "transform.dialect=latin"], 2, "transform.dialect: must be"),
    (["IN", "OUT", "--recipe", "/no/such.yaml"], 2, "no recipe at /no/such.yaml"),
    (["IN", "/proc/none/out.jsonl"], 1, "cannot write"),
    (
        ["IN", "OUT", "--set", "model.tokenizer=/no/such"],
        1,
        "cannot load a tokenizer from /no/such",
    ),
    (["IN", "OUT", "--set", "transform.dialect=messages"], 3, ""),
    (["IN", "OUT", "--shard", "0/3"], 2, "--shard 0/3 is no part: write I/N"),
    (["IN", "OUT", "--shard", "half"], 2, "--shard half is no part: write I/N"),
    (["-", "OUT", "--shard", "1/3"], 2, "--shard counts the records of IN first"),
    (
        ["IN", "OUT", "--workers", "2", "--set", "transform.endpoint={model: m}"],
        2,
        "--workers are processes that apply the rules",
    ),
]


@pytest.mark.parametrize(("args", "code", "words"), BAD, ids=[case[2] for case in BAD])
def test_bad_input_is_one_sentence_and_an_exit_code(
    cli: Cli, source: Path, tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "odd").write_text('{"text": "x"}\n')
    places = {
        "IN": str(source),
        "OUT": str(tmp_path / "out.jsonl"),
        "EMPTY": str(tmp_path / "empty"),
        "ODD": str(tmp_path / "odd"),
        "TMP": str(tmp_path),
    }
    result = cli("transform", *(places.get(arg, arg) for arg in args), "--quiet")
    assert result.exit_code == code
    assert words in result.stderr
    assert result.stderr.count("\n") == (code != 3)
