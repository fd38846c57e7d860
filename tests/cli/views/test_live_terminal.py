"""`aspd generate` on a terminal: a real pseudo-terminal, read as a person's screen would be."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aspd_cli.safe_text import printable
from tests.cli.conftest import Cli

LONG = ("--plain", "--max-new-tokens", "16000")
"""Many seconds of an answer, so that there is time to interrupt."""

Screen = tuple[subprocess.Popen[bytes], Callable[[], bytes]]


@contextmanager
def terminal(*args: str | Path) -> Iterator[Screen]:
    """The program on a terminal of 80 x 24; the function reads what it has written since.

    Nothing is left to read when it gives nothing back: the program has ended. Our copy of its side
    stays open, because a terminal whose last writer has gone may drop what was written last.
    """
    ours, theirs = pty.openpty()
    size = {"COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "aspd_cli", "generate", *map(str, args)]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | size
    )

    def read() -> bytes:
        while True:
            ended = process.poll() is not None
            if select.select([ours], [], [], 0.1)[0]:
                return os.read(ours, 65536)
            if ended:
                return b""

    try:
        yield process, read
    finally:
        process.kill()
        process.wait()
        os.close(theirs)
        os.close(ours)


def whole(read: Callable[[], bytes]) -> str:
    text = b"".join(iter(read, b"")).decode(errors="replace")
    return text.replace("\r\n", "\n")


ERASED = "\x1b[2K"
"""What rich ends every frame with that it takes away again."""


def test_the_branches_collapse_into_the_answer_and_a_line_of_measures(
    cli: Cli, forking: Path, sampled: tuple[str, ...]
) -> None:
    plain = cli("generate", "--model", forking, *sampled, "Hi").stdout
    with terminal("--model", forking, *sampled, "Hi") as (process, read):
        shown = whole(read)
        assert process.wait(timeout=60) == 0
    assert "loading the model" in shown
    left = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.rpartition(ERASED)[2])
    answer, measures = left.rstrip("\n").rsplit("\n", 1)
    assert answer.strip("\n") == printable(plain).strip("\n")
    assert re.match(r"\d+ tokens \(\d+ useful\) in \d+ steps \| ideal speed-up", measures)


def test_quiet_shows_the_answer_only(cli: Cli, forking: Path, sampled: tuple[str, ...]) -> None:
    plain = cli("generate", "--model", forking, *sampled, "Hi").stdout
    with terminal("--model", forking, *sampled, "--quiet", "Hi") as (process, read):
        assert whole(read) == printable(plain)
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("extra", [(), ("--quiet",)])
def test_an_interrupt_gives_the_terminal_back(ordinary: Path, extra: tuple[str, ...]) -> None:
    with terminal("--model", ordinary, *LONG, *extra, "Hi") as (process, read):
        begun = ""
        while "苹果" not in begun:
            begun += read().decode(errors="replace")
        process.send_signal(signal.SIGINT)
        rest = whole(read)
        assert process.wait(timeout=60) == 130
    assert "Traceback" not in rest
    assert rest.endswith("\n")
    hidden = (begun + rest).rfind("\x1b[?25l")  # the cursor
    assert hidden < 0 or hidden < (begun + rest).rfind("\x1b[?25h")


def test_a_prompt_is_asked_for_where_nothing_is_piped() -> None:
    with terminal() as (process, read):
        assert "no prompt: give one" in whole(read)
        assert process.wait(timeout=60) == 2
