"""Resuming takes the newest checkpoint that was written to the end."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from aspd_cli.train.checkpoints import newest_complete


def checkpoint(run: Path, step: int) -> Path:
    made = run / f"checkpoint-{step}"
    made.mkdir()
    (made / "trainer_state.json").write_text(f'{{"global_step": {step}}}')
    for part in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({}, made / part)
    save_file({"weight": torch.zeros(2)}, made / "model.safetensors")
    return made


def test_a_run_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert newest_complete(tmp_path) is None


def test_the_newest_is_the_one_of_the_highest_step(tmp_path: Path) -> None:
    newest = checkpoint(tmp_path, 1000)
    checkpoint(tmp_path, 200)
    assert newest_complete(tmp_path) == newest


def test_a_checkpoint_without_optimizer_or_with_torn_weights_is_passed_over(tmp_path: Path) -> None:
    whole = checkpoint(tmp_path, 100)
    (checkpoint(tmp_path, 200) / "optimizer.pt").unlink()
    torn = checkpoint(tmp_path, 300) / "model.safetensors"
    torn.write_bytes(torn.read_bytes()[:10])
    assert newest_complete(tmp_path) == whole


@pytest.mark.parametrize("part", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_checkpoint_with_a_torn_state_is_passed_over(tmp_path: Path, part: str) -> None:
    whole, torn = checkpoint(tmp_path, 100), checkpoint(tmp_path, 200) / part
    torn.write_bytes(torn.read_bytes()[:-10])
    assert newest_complete(tmp_path) == whole


def test_a_checkpoint_that_does_not_say_its_step_is_passed_over(tmp_path: Path) -> None:
    whole = checkpoint(tmp_path, 100)
    (checkpoint(tmp_path, 200) / "trainer_state.json").write_text('{"log_history": 5}')
    assert newest_complete(tmp_path) == whole
