"""Model directories for the real command line, and two ways to call it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import aspd_cli as aspd
from aspd_cli.cli.main import app
from aspd_cli.core.chat import end_of_turn
from aspd_cli.core.codec import Codec, ControlIds
from tests import make
from tests.engine.families import tiny_model

Cli = Callable[..., Result]


@pytest.fixture
def cli() -> Cli:
    """Calls the program in this process: `cli("generate", "hi").exit_code`."""

    def call(*args: str | Path, input: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(arg) for arg in args], input=input)

    return call


@pytest.fixture
def spawn() -> Callable[..., subprocess.Popen[bytes]]:
    """Starts the program as a process of its own, with pipes."""

    def start(*args: str | Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "aspd_cli", *map(str, args)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, **pipes, env=os.environ | {"PYTHONUNBUFFERED": "1"})

    return start


@pytest.fixture(scope="session")
def forking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that likes control tokens: many of its samples fork.

    Nothing writes to the first dimension of its hidden state, so it serves the head as a bias.
    """
    path = tmp_path_factory.mktemp("forking")
    tokenizer = make.tokenizer("qwen", "chatml")
    model = tiny_model("qwen2", len(tokenizer) + 8, max_position_embeddings=1024)
    control = ControlIds.of(tokenizer)
    bias = {control.title: 2.0, control.title_end: 3.0, control.para: 3.0, control.branch_end: 1.2}
    bias[tokenizer.convert_tokens_to_ids("<|im_end|>")] = 1.2
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = 40.0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.mlp.down_proj.weight[0] = 0.0
        head = model.get_output_embeddings().weight
        head[:, 0] = 0.0
        for token, value in bias.items():
            head[token, 0] = value
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def sampled(forking: Path) -> tuple[str, ...]:
    """Flags with which the forking model answers "Hi" with a block, and ends by itself."""
    decoder = aspd.load(forking)
    for seed in range(100):
        [output] = decoder.generate("Hi", temperature=1.0, seed=seed, max_new_tokens=150)
        if output.stats.branches >= 2 and output.finish_reason == "stop":
            return ("--temperature", "1", "--seed", str(seed), "--max-new-tokens", "150")
    raise AssertionError("no sample forked")


@pytest.fixture(scope="session")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model without the control tokens; its greedy answers to "Hi" never end."""
    path = tmp_path_factory.mktemp("ordinary")
    tokenizer = make.tokenizer("qwen", "chatml", control=False)
    model = tiny_model("qwen2", len(tokenizer), max_position_embeddings=16384)
    with torch.no_grad():  # a logit of zero is never the largest
        model.get_output_embeddings().weight[end_of_turn(Codec(tokenizer))] = 0
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
