"""No run writes where it reads, twice in one place, or where another run writes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aspd_cli.errors import DataError, UsageError
from aspd_cli.outputs import STDOUT, beside, beside_in_0_1, check_apart, check_file, claim

HOLDER = """
import sys; from pathlib import Path; from aspd_cli.outputs import claim
with claim(Path(sys.argv[1]), "OUT", folder=sys.argv[2] or None):
    print("held", flush=True); sys.stdin.read()
"""


@contextmanager
def held(out: Path, folder: str = "") -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds an output."""
    command = [sys.executable, "-c", HOLDER, str(out), folder]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_what_stands_beside_two_outputs_has_two_names() -> None:
    outs = [Path("o") / name for name in ("qwen2.5-7b", "qwen2.5-72b", "a", "a.jsonl", "a.json")]
    assert len({beside(out, ".recipe.yaml") for out in outs}) == len(outs)
    assert beside_in_0_1(outs[0], ".recipe.yaml") is None
    assert beside_in_0_1(outs[3], ".recipe.yaml") == Path("o/a.recipe.yaml")


@pytest.mark.parametrize("kind", ["itself", "dots", "symbolic link", "hard link", "linked folder"])
def test_no_way_to_write_a_name_lets_what_is_read_be_written(tmp_path: Path, kind: str) -> None:
    (tmp_path / "d").mkdir()
    source = tmp_path / "d" / "in.jsonl"
    source.write_text("{}")
    out = tmp_path / "out"
    match kind:
        case "itself":
            out = source
        case "dots":
            out = tmp_path / "d" / ".." / "d" / "in.jsonl"
        case "symbolic link":
            out.symlink_to(source)
        case "hard link":
            out.hardlink_to(source)
        case "linked folder":
            out.symlink_to(tmp_path / "d")
            out /= "in.jsonl"
    with pytest.raises(UsageError, match=r"IN and the report of OUT are .*; choose another OUT"):
        check_apart({"IN": source, "--model": "org/name"}, {"the report of OUT": out})


def test_two_outputs_are_never_one_even_before_they_exist(tmp_path: Path) -> None:
    writes = {"OUT": tmp_path / "Straße", "--html": tmp_path / "x" / ".." / "STRASSE"}
    with pytest.raises(UsageError, match=r"OUT and --html are the same file, .*another --html"):
        check_apart({}, writes)
    check_apart({}, {"OUT": tmp_path / "a", "--html": tmp_path / "b", "--png": None})
    with pytest.raises(UsageError, match="--html cannot be standard output"):
        check_apart({}, {"--html": STDOUT})


@pytest.mark.parametrize("place", ["/", ".", "..", "a/..", "/dev/null"])
def test_what_is_no_file_is_refused(place: str) -> None:
    with pytest.raises(UsageError, match=r"OUT .* is (a directory|not a regular file); give"):
        check_file("OUT", Path(place))


@pytest.mark.skipif(os.name != "posix", reason="needs locks")
@pytest.mark.parametrize("folder", ["", "run directory"])
def test_an_output_is_of_one_run_until_it_ends_or_is_killed(tmp_path: Path, folder: str) -> None:
    out = tmp_path / "new" / "out"
    link = tmp_path / "link"
    link.symlink_to(out.parent)
    with held(out, folder) as process:
        for name in (out, link / "out"):
            with (
                pytest.raises(UsageError, match=r"another run is writing .*; wait for its end"),
                claim(name, "OUT", folder=folder or None),
            ):
                pass
        with claim(out.parent / "other", "OUT"):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with claim(out, "OUT", folder=folder or None):
        pass
    assert [path for path in out.parent.rglob("*") if path != out] == [], "no lock is left"


def test_a_lock_that_holds_something_is_not_ours_to_remove(tmp_path: Path) -> None:
    lock = tmp_path / ".out.aspd.lock"
    lock.write_text("precious")
    with claim(tmp_path / "out", "OUT"):
        pass
    assert lock.read_text() == "precious"


def test_a_name_may_be_as_long_as_any(tmp_path: Path) -> None:
    with claim(tmp_path / ("ü" * 127), "OUT"):
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for where in (tmp_path / "file" / "out", Path("/proc/none/out")):
        with (
            pytest.raises(DataError, match=r"cannot write to the dir.*; choose another OUT"),
            claim(where, "OUT"),
        ):
            pass
