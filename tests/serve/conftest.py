"""A real server in a process of its own, on the embedded model and a free port."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

import aspd_cli
from aspd_cli.engine.decoder import Decoder

KEY = "ASPD_API_KEY"


class Served:
    """A server process: its address, and what it has said so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process, self.said = process, []
        self._found = threading.Event()
        self.url = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._found.wait(120), "the server does not start"
        assert self.url, "".join(self.said)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"at (http://\S+)", line):
                self.url = found[1]
                self._found.set()
        self._found.set()

    def end(self, sent: int = signal.SIGTERM) -> int:
        """Sends a signal; the exit code."""
        self.process.send_signal(sent)
        code = self.process.wait(180)
        self._reader.join(10)
        return code


@contextlib.contextmanager
def served(*arguments: str, key: str | None = None) -> Iterator[Served]:
    """A server with these arguments; killed at the end."""
    environment = {k: v for k, v in os.environ.items() if k != KEY} | ({KEY: key} if key else {})
    command = [sys.executable, "-m", "aspd_cli", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        yield Served(process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="package")
def server() -> Iterator[Served]:
    with served() as running:
        yield running


@pytest.fixture(scope="package")
def local() -> Decoder:
    """The same model in this process."""
    return aspd_cli.load()
