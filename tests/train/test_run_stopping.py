"""Runs that stop: what is saved stays sound, and going on ends where one run would have ended."""

import json
import multiprocessing
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from aspd_cli.errors import DataError, TrainingError, UsageError
from aspd_cli.train.checkpoints import newest_complete
from aspd_cli.train.config import arguments
from aspd_cli.train.run import TrainResult, train
from tests.train.conftest import recipe, write
from tests.train.test_encoding import SHORT

STEPS = {"training__max_steps": 3}


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """An uninterrupted run of three steps."""
    return train(recipe(base, tmp_path_factory.mktemp("whole"), **STEPS))


class At:
    """A listener that does something when a step is done, and remembers what it is told."""

    def __init__(self, step: int, act: Any) -> None:
        self.at, self.act, self.said = step, act, ""

    def say(self, sentence: str) -> None:
        self.said += sentence + "\n"

    def step(self, step: int, total: int, logs: dict[str, float]) -> None:
        if step == self.at and not logs:
            self.act()


def test_ctrl_c_saves_and_the_rest_is_what_one_run_makes(
    base: Path, whole: TrainResult, tmp_path: Path
) -> None:
    made = recipe(base, tmp_path, **STEPS, training__save_steps=100)
    listener = At(1, lambda: signal.raise_signal(signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(made, listener=listener)
    assert signal.getsignal(signal.SIGINT) is before
    assert "stopped after step 1; continue with --resume" in listener.said
    assert newest_complete(tmp_path) == tmp_path / "checkpoint-1"
    assert not (tmp_path / "adapter_model.safetensors").exists()
    train(made, resume=True)
    name = "adapter_model.safetensors"
    want, found = load_file(whole.run / name), load_file(tmp_path / name)
    assert all(found[n].equal(tensor) for n, tensor in want.items())


def test_batches_made_beside_the_steps_are_the_same_and_ctrl_c_is_the_runs_own(
    base: Path, whole: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, with a process for the data loader."""
    beside: list[int] = []

    def with_loader(*args: Any, **kwargs: Any) -> Any:
        made = arguments(*args, **kwargs)
        made.dataloader_num_workers = 1
        return made

    def interrupt_loader() -> None:
        beside.extend(child.pid for child in multiprocessing.active_children())
        for pid in beside:
            os.kill(pid, signal.SIGINT)

    class Written(At):
        def say(self, sentence: str) -> None:  # of another process, too
            with (tmp_path / "said").open("a") as file:
                file.write(sentence)

    monkeypatch.setattr("aspd_cli.train.run.arguments", with_loader)
    found = train(recipe(base, tmp_path / "run", **STEPS), listener=Written(1, interrupt_loader))
    assert beside
    assert "stopping" not in (tmp_path / "said").read_text()
    assert found.losses == whole.losses


def test_a_run_goes_on_for_more_steps_and_with_other_logging(base: Path, tmp_path: Path) -> None:
    train(recipe(base, tmp_path))
    more = recipe(base, tmp_path, training__max_steps=3, training__logging_steps=3)
    assert train(more, resume=True).steps == 3


def test_another_recipe_or_other_data_cannot_go_on_and_is_named(base: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", *[SHORT] * 8)
    run = tmp_path / "run"
    train(recipe(base, run, data__train=str(data)))
    changed = recipe(base, run, data__train=str(data), training__seed=7, lora__r=3)
    with pytest.raises(UsageError, match=r"lora.r \(was 2, is 3\), training.seed \(was 0, is 7"):
        train(changed, resume=True)
    fewer = recipe(base, run, data__train=str(data), training__max_steps=1)
    with pytest.raises(UsageError, match=r"training\.max_steps"):
        train(fewer, resume=True)
    write(tmp_path / "d.jsonl", *[SHORT] * 9)
    with pytest.raises(UsageError, match=r"training data \(was "):
        train(recipe(base, run, data__train=str(data)), resume=True)
    versions = json.loads((run / "versions.json").read_text())
    (run / "versions.json").write_text(json.dumps(versions | {"batch": 99}))
    write(tmp_path / "d.jsonl", *[SHORT] * 8)
    with pytest.raises(UsageError, match=r"number of records a step \(was 99, is 4\)"):
        train(recipe(base, run, data__train=str(data)), resume=True)


def test_a_run_is_not_replaced_by_accident(base: Path, whole: TrainResult, tmp_path: Path) -> None:
    made = recipe(base, tmp_path, training__max_steps=1)
    train(made)
    with pytest.raises(UsageError, match=r"already contains a run.*--resume.*--fresh"):
        train(made)
    other = recipe(base, tmp_path, **STEPS)
    assert train(other, fresh=True).losses == whole.losses


def test_a_loss_that_is_no_number_stops_before_it_spoils_a_weight(
    base: Path, tmp_path: Path
) -> None:
    made = recipe(base, tmp_path, training__max_steps=9, training__learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"are not finite .* lower training.learning_rate"):
        train(made)
    newest = newest_complete(tmp_path)
    assert newest is not None
    saved = load_file(newest / "adapter_model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in saved.values())


def test_weights_that_are_not_finite_are_no_result(base: Path, tmp_path: Path) -> None:
    """The last step made them larger than float16 holds; its gradients were numbers."""
    fields = {"training__max_steps": 1, "training__learning_rate": 1e6}
    fields |= {"training__lr_scheduler_type": "constant", "training__save_dtype": "float16"}
    made = recipe(base, tmp_path, **fields).model_copy(update={"lora": None})
    with pytest.raises(TrainingError, match=r"weights are not finite as torch.float16: lower"):
        train(made)
    assert not (tmp_path / "model.safetensors").exists()


def test_a_full_disk_leaves_no_half_checkpoint(base: Path, tmp_path: Path) -> None:
    """No file may grow beyond 16 kB: the system refuses that as it does a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    listener = At(2, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, limits[1])))
    try:
        with pytest.raises(
            TrainingError, match=r"cannot write the checkpoint of step 2 to .*--resume"
        ):
            train(recipe(base, tmp_path, **STEPS), listener=listener)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-1"]
    assert newest_complete(tmp_path) == tmp_path / "checkpoint-1"


def test_a_disk_that_is_full_at_the_start_is_one_sentence(base: Path, tmp_path: Path) -> None:
    """The tokenizer, whose library writes it, is the first file that does not fit."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with pytest.raises(DataError, match=r"cannot write to the run directory .*: "):
            train(recipe(base, tmp_path, **STEPS))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_directory_that_cannot_be_written_is_told_before_anything_is_loaded(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "config.json").write_text("{}")  # no model that could be loaded
    made = recipe(tmp_path, tmp_path / "file" / "run")
    with pytest.raises(
        DataError, match=r"cannot write to the run directory .*: Not a directory; choose another"
    ):
        train(made)
