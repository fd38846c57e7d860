"""Several processes train what one process trains, replicated (DDP) or sharded (FSDP).

Two real processes on gloo. FSDP runs with the settings of the shipped configuration file, see
`tests/train/gloo.py`; DeepSpeed is launched with its own, where it is installed (on a CPU:
`DS_BUILD_OPS=0 pip install --no-build-isolation deepspeed`).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests import make
from tests.cli.conftest import Cli, cli
from tests.engine.families import tiny_model

__all__ = ["cli"]

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "recipes" / "accelerate"
STEPS = 5
RECIPE = """
model: {{path: {base}}}
data: {{examples: 48}}
training: {{learning_rate: 1.0e-3, max_steps: {steps}, per_device_train_batch_size: 2,
  gradient_accumulation_steps: 2, logging_steps: 1, save_steps: 2}}
generation: {{max_new_tokens: 20}}
"""
LORA = "lora: {r: 4}\n"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tokenizer = make.tokenizer("qwen", "chatml", control=False)
    tiny_model("qwen2", len(tokenizer) + 8, initializer_range=0.02).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(base=folder, steps=STEPS))
    return path


@pytest.fixture
def lora(recipe: Path) -> Path:
    path = recipe.with_name("lora.yaml")
    path.write_text(recipe.read_text() + LORA)
    return path


def torchrun(
    *args: str | Path, program: Sequence[str | Path] = ("-m", "aspd_cli"), **environment: str
) -> subprocess.CompletedProcess[str]:
    """`aspd ARGS` in two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return subprocess.run(
        [*launcher, *map(str, program), *map(str, args)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )


def alone(cli: Cli, recipe: Path, run: Path, *overrides: str) -> None:
    """The same in this process, with twice as many batches a step."""
    doubled = (f"training.output_dir={run}", "training.gradient_accumulation_steps=4", *overrides)
    done = cli("train", recipe, *(arg for override in doubled for arg in ("--set", override)))
    assert done.exit_code == 0, done.stderr


def log(run: Path, column: str = "loss") -> list[float]:
    state = json.loads((run / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
    return [entry[column] for entry in state["log_history"] if "loss" in entry]


def difference(one: Path, other: Path, name: str = "adapter_model.safetensors") -> float:
    """The largest difference of two files of weights, which have the same tensors."""
    a, b = load_file(one / name), load_file(other / name)
    assert a.keys() == b.keys()
    return max((a[key].float() - b[key].float()).abs().max().item() for key in a)


def test_two_processes_train_what_one_does_with_twice_the_accumulation(
    lora: Path, cli: Cli, tmp_path: Path
) -> None:
    two, one = tmp_path / "two", tmp_path / "one"
    done = torchrun("train", lora, "--set", f"training.output_dir={two}")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if not line.startswith("[Gloo]")]  # torch's
    assert said == [str(two)]  # one process speaks
    alone(cli, lora, one)
    assert log(two, "num_tokens") == log(one, "num_tokens")  # no record twice, none left out
    assert log(two) == pytest.approx(log(one), abs=1e-6)
    assert difference(one, two) <= 1e-6


@pytest.mark.slow
def test_two_processes_go_on_from_their_checkpoint(lora: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = torchrun("train", lora, "--set", f"training.output_dir={run}")
    assert first.returncode == 0, first.stderr
    want, before = load_file(run / "adapter_model.safetensors"), log(run)
    shutil.rmtree(run / f"checkpoint-{STEPS}")
    (run / "adapter_model.safetensors").unlink()
    again = torchrun("train", lora, "--resume", "--set", f"training.output_dir={run}")
    assert again.returncode == 0, again.stderr
    assert log(run) == before
    got = load_file(run / "adapter_model.safetensors")
    assert all(want[name].equal(got[name]) for name in want)


@pytest.fixture
def sharding() -> dict[str, str]:
    """The environment that `accelerate launch` makes of the shipped FSDP configuration."""
    from accelerate.utils.launch import prepare_multi_gpu_env

    made = prepare_multi_gpu_env(launch_arguments("fsdp.yaml"))
    wanted = {k: v for k, v in made.items() if k.startswith(("FSDP_", "ACCELERATE_"))}
    return {**wanted, "ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_TORCH_DEVICE": "cpu"}


def launch_arguments(config: str) -> Any:
    """What `accelerate launch` makes of its command line and a configuration file."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    words = ["--config_file", str(CONFIGS / config), "-m", "aspd_cli", "train", "qwen-full.yaml"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    return arguments


SHARDED = (Path(__file__).with_name("gloo.py"),)
"""The program that can shard on the CPU."""


@pytest.mark.slow
def test_sharded_over_two_processes_trains_what_one_process_does(
    recipe: Path, sharding: dict[str, str], cli: Cli, tmp_path: Path
) -> None:
    two, one = tmp_path / "two", tmp_path / "one"
    where = ("--set", f"training.output_dir={two}")
    done = torchrun("train", recipe, *where, program=SHARDED, **sharding)
    assert done.returncode == 0, done.stderr
    alone(cli, recipe, one)
    assert log(two, "num_tokens") == log(one, "num_tokens")
    assert log(two) == pytest.approx(log(one), abs=1e-5)
    assert difference(one, two, "model.safetensors") <= 1e-5
    answer = cli("generate", "--parallel", "--model", two, "--max-new-tokens", "5", "Hi")
    assert answer.exit_code == 0, answer.stderr


@pytest.mark.slow
def test_an_adapter_with_trained_rows_is_not_sharded(
    lora: Path, sharding: dict[str, str], tmp_path: Path
) -> None:
    where = ("--set", f"training.output_dir={tmp_path / 'run'}")
    done = torchrun("train", lora, *where, program=SHARDED, **sharding)
    assert done.returncode != 0
    assert "start it with torchrun" in done.stderr


def zero3(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """`aspd ARGS` in two processes that share the weights by DeepSpeed ZeRO-3."""
    pytest.importorskip("deepspeed")
    config = ("--config_file", CONFIGS / "zero3.yaml", "--num_processes", 2)
    words = (*config, "--mixed_precision", "no", "-m", "aspd_cli", *args)
    return subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *map(str, words)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), **os.environ, "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.mark.slow
def test_zero3_trains_what_one_process_does_and_goes_on(
    recipe: Path, cli: Cli, tmp_path: Path
) -> None:
    two, one = tmp_path / "two", tmp_path / "one"
    where = ("--set", f"training.output_dir={two}")
    done = zero3("train", recipe, *where)
    assert done.returncode == 0, done.stderr
    alone(cli, recipe, one)
    assert log(two) == pytest.approx(log(one), abs=1e-5)
    assert difference(one, two, "model.safetensors") <= 1e-5
    shutil.rmtree(two / f"checkpoint-{STEPS}")
    (two / "model.safetensors").unlink()
    again = zero3("train", recipe, "--resume", *where)
    assert again.returncode == 0, again.stderr
    assert f"resuming from {two / 'checkpoint-4'}" in again.stderr
    assert difference(one, two, "model.safetensors") <= 1e-5


@pytest.mark.slow
def test_zero3_refuses_an_adapter_with_trained_rows(lora: Path, tmp_path: Path) -> None:
    done = zero3("train", lora, "--set", f"training.output_dir={tmp_path / 'run'}")
    assert done.returncode != 0
    assert "DeepSpeed ZeRO-3 cannot shard" in done.stderr


def test_the_configurations_are_what_accelerate_reads() -> None:
    fsdp, zero3 = launch_arguments("fsdp.yaml"), launch_arguments("zero3.yaml")
    assert fsdp.use_fsdp
    assert fsdp.fsdp_version == 2
    assert zero3.use_deepspeed
    assert zero3.zero_stage == 3
    for arguments in (fsdp, zero3):
        assert arguments.num_processes == 8
        assert arguments.mixed_precision == "bf16"
        assert (arguments.module, arguments.training_script) == (True, "aspd_cli")


def test_each_configuration_says_how_to_launch_it_on_one_machine_and_on_several() -> None:
    for name in ("fsdp.yaml", "zero3.yaml"):
        text = (CONFIGS / name).read_text()
        assert f"--config_file recipes/accelerate/{name} -m aspd_cli train recipes/" in text
    assert "--num_machines 2" in (CONFIGS / "fsdp.yaml").read_text()
