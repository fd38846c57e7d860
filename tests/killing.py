"""Runs that are killed with SIGKILL just before one of their files is put in its place."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

PROGRAM = """
import os, signal, sys
number, real = int(sys.argv.pop(1)), os.replace
def replace(*places, **more):
    global number
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    number -= 1
    real(*places, **more)
os.replace = replace
from aspd_cli.cli.main import main
main()
"""


def killed_between_files(folder: Path, *command: str | Path) -> Iterator[set[str]]:
    """For each file that a command puts in place: killed before it, and run again to the end.

    Yields what then stands in `folder`, which every turn finds empty; last of a run not killed.
    """
    for number in count():
        shutil.rmtree(folder, ignore_errors=True)
        killed = run([sys.executable, "-c", PROGRAM, str(number), *map(str, command)])
        if killed == -signal.SIGKILL:
            assert run([sys.executable, "-m", "aspd_cli", *map(str, command)]) in (0, 3)
        else:
            assert number > 1
        yield set(os.listdir(folder))
        if killed != -signal.SIGKILL:
            return


def run(command: list[str]) -> int:
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode in (0, 3, -signal.SIGKILL), done.stderr
    return done.returncode
