"""Whole runs on a tiny random model: what they leave, and that looking on changes nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import aspd_cli as aspd
from aspd_cli.errors import TrainingError
from aspd_cli.recipe import load_recipe
from aspd_cli.train import export, run_dir
from aspd_cli.train.callbacks import Silent
from aspd_cli.train.run import TrainResult, train
from tests import make
from tests.engine.families import tiny_model
from tests.train.conftest import recipe, write
from tests.train.test_encoding import SHORT

STEPS = {"training__max_steps": 3, "training__eval_steps": 2, "data__eval_share": 0.1}


@pytest.fixture(scope="module")
def done(base: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Three steps with two evaluations, samples and a merged model."""
    return train(recipe(base, tmp_path_factory.mktemp("run"), **STEPS), merge=True)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter_model.safetensors")


def equal(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(second[n].equal(t) for n, t in first.items())


def test_the_run_directory_says_how_it_was_made(base: Path, done: TrainResult) -> None:
    run = done.run
    assert load_recipe(run / "recipe.yaml") == recipe(base, run, **STEPS)
    versions = json.loads((run / "versions.json").read_text())
    assert {"aspd", "torch", "trl", "peft", "data", "eval_data", "batch"} <= versions.keys()
    assert json.loads((run / "aspd.json").read_text())["max_depth"] == 1
    assert (run / "losses.png").read_bytes().startswith(b"\x89PNG")
    history = json.loads((run / "trainer_state.json").read_text())["log_history"]
    assert [entry["loss"] for entry in history if "loss" in entry] == [v for _, v in done.losses]
    assert done.steps == len(done.losses) == 3
    assert {"eval_loss", "eval_loss_serial", "eval_loss_title", "eval_loss_branch"} == set(
        done.evaluation
    )


def test_samples_are_written_at_each_evaluation_and_parse(done: TrainResult) -> None:
    lines = [json.loads(line) for line in (done.run / "samples.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 2, 2, 3, 3, 3] or len(lines) == 3
    for line in lines:
        aspd.parse(line["markup"])
        assert 0 < line["tokens"] <= 20


def test_sampling_and_evaluating_change_no_weight(
    base: Path, done: TrainResult, tmp_path: Any
) -> None:
    options = STEPS | {"training__samples": 0, "training__eval_steps": 100}
    assert equal(train(recipe(base, tmp_path, **options)).run, done.run)


def test_rows_of_several_records_and_padded_ones_train_alike(
    base: Path, done: TrainResult, tmp_path: Any
) -> None:
    """Losses and not weights: Adam's first step is a sign, also of a gradient that rounds to 0."""
    padded = train(recipe(base, tmp_path, **STEPS, training__packing=False))
    assert [v for _, v in padded.losses] == pytest.approx([v for _, v in done.losses], rel=1e-4)
    assert padded.evaluation == pytest.approx(done.evaluation, rel=1e-4)
    counted = [
        max(entry.get("num_tokens", 0) for entry in json.loads(state)["log_history"])
        for state in ((run / run_dir.STATE).read_text() for run in (padded.run, done.run))
    ]
    assert counted[0] == counted[1] > 0


def test_gradient_checkpointing_changes_no_weight(
    base: Path, done: TrainResult, tmp_path: Any
) -> None:
    run = train(recipe(base, tmp_path, **STEPS, training__gradient_checkpointing=True)).run
    other = weights(run)
    assert all((tensor - other[n]).abs().max() < 1e-6 for n, tensor in weights(done.run).items())


def test_the_merged_model_computes_what_base_and_adapter_compute(
    done: TrainResult, base: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids = torch.arange(10, 60).view(2, 25)
    with torch.no_grad():
        merged = AutoModelForCausalLM.from_pretrained(done.merged)(ids).logits
        plain = AutoModelForCausalLM.from_pretrained(base)
        apart = PeftModel.from_pretrained(plain, done.run)(ids).logits
    assert (merged - apart).abs().max() <= 1e-6
    options: dict[str, Any] = {"max_new_tokens": 12, "seed": 0}
    one = aspd.load(done.merged).generate("What is 3+4?", **options)
    other = aspd.load(base, adapter=done.run).generate("What is 3+4?", **options)
    assert one[0].token_ids == other[0].token_ids


def test_a_saved_model_that_answers_otherwise_is_an_error(base: Path, tmp_path: Any) -> None:
    made = recipe(base, tmp_path / "run")
    run = train(made).run
    from transformers import AutoTokenizer

    tokenizer, like = AutoTokenizer.from_pretrained(run), {"dtype": torch.float32}
    model = export.load_saved(run, made, tokenizer, like)
    answer = export.greedy(model, tokenizer, made, "Hi", 1)
    export.verify(run, made, "Hi", answer, like)
    save_file({n: t * 100 for n, t in weights(run).items()}, run / "adapter_model.safetensors")
    with pytest.raises(TrainingError, match="answers differently from the trained model"):
        export.verify(run, made, "Hi", answer, like)


@pytest.mark.parametrize("tied", [True, False])
def test_a_vocabulary_without_room_grows_and_the_adapter_keeps_six_rows(
    tied: bool, tmp_path: Path
) -> None:
    tokenizer = make.tokenizer("llama3", "llama3", control=False)
    tiny_model("llama", len(tokenizer), tie_word_embeddings=tied).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    data = write(tmp_path / "d.jsonl", *[SHORT] * 8)
    made = recipe(tmp_path / "base", tmp_path / "run", data__train=str(data))
    run = train(made).run
    tables = [tensor for name, tensor in weights(run).items() if "lora_" not in name]
    assert [tuple(table.shape) for table in tables] == [(6, 32)] * (1 if tied else 2)
    [output] = aspd.load(tmp_path / "base", adapter=run).generate("Hi", max_new_tokens=8)
    [merged] = aspd.load(export.merge(run, made)).generate("Hi", max_new_tokens=8)
    assert output.token_ids == merged.token_ids


def test_the_seq_model_is_one_override_of_the_same_file(base: Path, tmp_path: Path) -> None:
    done = train(recipe(base, tmp_path, data__style="serial", data__eval_share=0.1))
    assert set(done.evaluation) == {"eval_loss", "eval_loss_serial"}
    assert json.loads((tmp_path / run_dir.SETTINGS).read_text())["style"] == "serial"
    assert not (tmp_path / run_dir.SPEED).exists(), "it has nothing to fork"


def test_a_short_run_has_a_loss_a_picture_and_a_card_and_is_found_finished(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far below `logging_steps`, with a relative base, and as long as the data are."""
    monkeypatch.chdir(base.parent)
    changes = {"training__max_steps": -1, "data__examples": 6, "training__logging_steps": 10}
    made = recipe(Path(base.name), tmp_path / "run", **changes)
    done = train(made, merge=True)
    assert done.loss is not None
    assert [step for step, _ in done.losses] == [done.steps] == [2]
    assert (done.run / run_dir.LOSSES).is_file()
    for folder in (done.run, done.run / run_dir.MERGED):
        card = (folder / "README.md").read_text()
        assert "None" not in card
        assert f"| training loss | {done.loss:.4g} |" in card
        assert "| speed-up by forking | " in card
    timed = json.loads((done.run / run_dir.SPEED).read_text())
    assert timed["prompts"] == 3
    assert min(timed["serial_tps"], timed["parallel_tps"]) > 0
    for file, name in (("adapter_config", "base_model_name_or_path"), ("aspd", "base")):
        assert json.loads((done.run / f"{file}.json").read_text())[name] == str(base)
    monkeypatch.chdir(tmp_path)
    assert aspd.load(done.run).generate("Hi", max_new_tokens=2)
    said: list[str] = []

    class Heard(Silent):
        def say(self, sentence: str) -> None:
            said.append(sentence)

    before = weights(done.run)
    monkeypatch.chdir(base.parent)
    again = train(made, resume=True, listener=Heard())
    assert "the run is finished: all of its 2 steps are done" in said
    assert (again.steps, again.losses) == (done.steps, done.losses)
    assert all(before[name].equal(tensor) for name, tensor in weights(again.run).items())


def test_uploading_without_a_network_is_one_sentence(done: TrainResult) -> None:
    with pytest.raises(TrainingError, match=r"cannot upload .* to someone/model") as caught:
        export.push(done.run, "someone/model")
    assert "\n" not in str(caught.value)
