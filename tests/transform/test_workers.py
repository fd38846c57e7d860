"""Several processes: the bytes of one, nothing left behind by an interrupt, no orphans."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aspd_cli.errors import DataError
from aspd_cli.transform import workers
from aspd_cli.transform.io.records import read_records
from aspd_cli.transform.pipeline import transform_file
from aspd_cli.transform.token_counts import EstimatingCodec
from tests.transform.test_pipeline import SHORT, write

SIDES = ("", ".report.json", ".rejected.jsonl")


def test_the_bytes_are_those_of_one_process(tmp_path: Path) -> None:
    source = write(tmp_path / "in", 150, bad=7)
    told: list[int] = []
    for count in (1, 2):
        out = tmp_path / f"{count}.jsonl"
        codec = EstimatingCodec()
        transform_file(
            source, out, SHORT, codec, workers=count, progress=lambda report: told.append(1)
        )
    assert len(told) == 2 * 157
    for side in SIDES:
        one, two = (tmp_path / f"{count}.jsonl{side}" for count in (1, 2))
        assert one.read_bytes() == two.read_bytes()


def die(records: object) -> None:
    os._exit(9)


def test_a_process_that_is_killed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = read_records(write(tmp_path / "in", 40))
    monkeypatch.setattr(workers, "_work", die)
    monkeypatch.setattr(workers, "_AT_ONCE", 7)
    with pytest.raises(DataError, match="ended before its work"):
        list(workers.by_rules(records, SHORT, EstimatingCodec(), 2))


def running(mark: str) -> set[int]:
    """The processes that have `mark` in their environment."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            data, state = path.read_bytes(), (path.parent / "stat").read_text()
        except OSError:
            continue
        if mark.encode() in data and state.rpartition(")")[2].split()[0] != "Z":
            found.add(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")
@pytest.mark.parametrize(
    "how", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_an_end_of_the_run_ends_all_of_its_processes(tmp_path: Path, how: signal.Signals) -> None:
    source, out, mark = write(tmp_path / "in", 20_000), tmp_path / "out.jsonl", f"M{tmp_path}"
    command = [sys.executable, "-m", "aspd_cli", "transform", str(source), str(out)]
    command += ["--workers", "2", "--set", "transform.min_tokens=10"]
    process = subprocess.Popen(
        command,
        env=os.environ | {"MARK": mark},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(running(mark)) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    assert process.poll() is None
    if how is signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does
    else:
        process.send_signal(how)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    assert process.wait(30) == (130 if how is signal.SIGINT else -how)
    while running(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running(mark)
    assert "Traceback" not in said
    assert not out.exists()
    if how is signal.SIGINT:
        assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob(".*"))
