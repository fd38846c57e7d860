"""A run that is killed with SIGKILL and resumed ends as one that was left alone."""

import json
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from aspd_cli.cli.main import app
from aspd_cli.train.checkpoints import newest_complete
from tests import make
from tests.cli.conftest import Cli, cli, spawn
from tests.engine.families import tiny_model
from tests.killing import killed_between_files

__all__ = ["cli", "spawn"]

Spawn = Callable[..., subprocess.Popen[bytes]]

STEPS = 20
RECIPE = """
model: {{path: {base}}}
data: {{examples: 32}}
training: {{learning_rate: 1.0e-2, max_steps: {steps}, per_device_train_batch_size: 2,
  gradient_accumulation_steps: 2, logging_steps: 1, save_steps: 4}}
lora: {{r: 16, dropout: 0.1}}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than two passes over the data, with dropout: resuming needs every random state."""
    folder = tmp_path_factory.mktemp("kill")
    tokenizer = make.tokenizer("qwen", "chatml", control=False)
    tiny_model("qwen2", len(tokenizer) + 8, initializer_range=0.02).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(base=folder / "base", steps=STEPS))
    return path


def losses(run: Path) -> list[float]:
    state = json.loads((run / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing stops."""
    run = tmp_path_factory.mktemp("whole") / "run"
    done = CliRunner().invoke(app, ["train", str(recipe), "--set", f"training.output_dir={run}"])
    assert done.exit_code == 0, done.stderr
    return run


@pytest.mark.parametrize("after", [4, pytest.param(12, marks=pytest.mark.slow)])
def test_a_killed_and_resumed_run_ends_as_an_uninterrupted_one(
    after: int, recipe: Path, whole: Path, cli: Cli, spawn: Spawn, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    process = spawn("train", recipe, "--set", f"training.output_dir={killed}")
    deadline = time.monotonic() + 280
    while not (killed / f"checkpoint-{after}").exists():  # it may be half written: that is meant
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "adapter_model.safetensors").exists()
    assert not (killed / f"checkpoint-{STEPS}").exists()

    resumed = cli("train", recipe, "--resume", "--set", f"training.output_dir={killed}")
    assert resumed.exit_code == 0, resumed.stderr
    assert len(losses(whole)) == STEPS
    assert losses(killed) == pytest.approx(losses(whole), abs=1e-6)
    assert len(set(losses(whole))) > STEPS // 2  # it did train
    want, got = (load_file(run / "adapter_model.safetensors") for run in (whole, killed))
    assert want.keys() == got.keys()
    assert max((got[name] - want[name]).abs().max().item() for name in want) <= 1e-6
    assert newest_complete(killed) == killed / f"checkpoint-{STEPS}"


def test_a_run_that_lacks_only_its_result_is_not_trained_further(
    recipe: Path, whole: Path, cli: Cli, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "adapter_model.safetensors").unlink()
    done = cli("train", recipe, "--resume", "--set", f"training.output_dir={run}")
    assert done.exit_code == 0, done.stderr
    assert len(losses(run)) == STEPS
    want, got = (load_file(path / "adapter_model.safetensors") for path in (whole, run))
    assert all(got[name].equal(tensor) for name, tensor in want.items())


def test_a_result_that_cannot_be_written_is_one_sentence(
    recipe: Path, whole: Path, cli: Cli, tmp_path: Path
) -> None:
    """Files may not grow beyond 40 kB, which the system refuses as it does a full disk."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        done = cli("train", recipe, "--resume", "--set", f"training.output_dir={run}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "cannot write the result" in done.stderr
    assert "unexpected" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_kill_before_any_file_is_in_its_place_is_mended(
    recipe: Path, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "o"
    place = ("--resume", "--quiet", "--set", f"training.output_dir={folder}")
    for files in killed_between_files(folder, "train", recipe, *place):
        assert files == {path.name for path in whole.iterdir()}
        assert losses(folder) == pytest.approx(losses(whole), abs=1e-6)
        want, got = (load_file(run / "adapter_model.safetensors") for run in (whole, folder))
        assert all(got[name].equal(tensor) for name, tensor in want.items())
