"""Runs of the program as processes that can be killed, and that begin without importing again.

Each is forked from a server that has the libraries: a start of Python for every kill would take
most of a test's time, and on a crowded machine all of it.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing import get_context
from pathlib import Path

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["aspd_cli.cli.main", "aspd_cli.train.run", "aspd_cli.evaluate.run", "aspd_cli.engine.loading"]
)
_DEADLINE = 280.0
"""Seconds after which a run counts as one that hangs."""


@contextmanager
def endpoint(log: Path) -> Iterator[str]:
    """The address of an endpoint in a process of its own, now and then out of order."""
    arguments = ["--latency", "0.05", "--script", "tests.transform.model:unreliable"]
    command = [sys.executable, "-m", "tests.endpoint_server", *arguments, "--log", str(log)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


class Run:
    """The program with these arguments, begun.

    Args:
        said: the file that gets standard output and standard error.
        files: how many files it may put in their places before it kills itself; all when None.
    """

    def __init__(self, said: Path, *command: str | Path, files: int | None = None) -> None:
        self.said = said
        self._process = _CONTEXT.Process(target=_program, args=(said, command, files))
        self._process.start()

    @property
    def lives(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> bool:
        """SIGKILL; whether it hit, and the run had not come to its end before."""
        self._process.kill()
        return self.code() == -signal.SIGKILL

    def code(self) -> int:
        """Waits for its end; the exit code, or less than 0 for a signal."""
        self._process.join(_DEADLINE)
        if self.lives:
            self._process.kill()
            raise AssertionError(f"it hangs:\n{self.text()}")
        assert self._process.exitcode is not None
        return self._process.exitcode

    def text(self) -> str:
        """What it has said so far."""
        return self.said.read_text(errors="replace") if self.said.exists() else ""

    def until(self, seen: str, times: int = 1) -> None:
        """Waits until it has said something so many times, or has ended."""
        while self.lives and self.text().count(seen) < times:
            time.sleep(0.002)


def _program(said: Path, command: tuple[str | Path, ...], files: int | None) -> None:
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(out, stream)
    if files is not None:
        _die_after(files)
    from aspd_cli.cli.main import main

    sys.argv = ["aspd", *map(str, command)]
    main()


def _die_after(files: int) -> None:
    real = os.replace

    def replace(*places: str | Path, **more: int) -> None:
        nonlocal files
        if files == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        files -= 1
        real(*places, **more)

    os.replace = replace


def killed_between_files(folder: Path, *command: str | Path) -> Iterator[set[str]]:
    """For each file that a command puts in place: killed before it, and run again to the end.

    Yields what then stands in `folder`, which every turn finds empty; last of a run not killed.
    """
    said = folder.with_name("said")
    for number in count():
        shutil.rmtree(folder, ignore_errors=True)
        killed = Run(said, *command, files=number)
        code = killed.code()
        assert code in (0, 3, -signal.SIGKILL), killed.text()
        if code == -signal.SIGKILL:
            again = Run(said, *command)
            assert again.code() in (0, 3), again.text()
        else:
            assert number > 1
        yield set(os.listdir(folder))
        if code != -signal.SIGKILL:
            print(f"{command[0]}: {number} kills, each before one of its files was in its place")
            return
