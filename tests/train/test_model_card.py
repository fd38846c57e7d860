"""A model card says what the run was, and nothing that is not known."""

import json
from pathlib import Path

from huggingface_hub import ModelCard

from aspd_cli.recipe import load_recipe
from aspd_cli.train.model_card import model_card
from tests.train.conftest import recipe


def test_what_is_known_stands_in_it_and_nothing_else(base: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    made = recipe(base, run, data__eval_share=0.1)
    card = model_card(run, made, is_adapter=True)
    assert "None" not in card
    assert "null" not in card
    assert str(base) not in card, "where it lies is nobody's business"
    assert f"--model {base.name} --adapter run" in card
    assert "loss" not in card
    assert ModelCard(card).data.to_dict() == {
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["aspd", "trl", "sft", "lora"],
    }
    history = [{"loss": 2.5, "step": 1}, {"eval_loss": 1.25, "eval_loss_title": 0.5, "step": 1}]
    state = {"log_history": history, "global_step": 1, "epoch": 0.5}
    (run / "trainer_state.json").write_text(json.dumps(state))
    (run / "versions.json").write_text(json.dumps({"aspd": "1", "batch": 4}))
    (run / "losses.png").write_bytes(b"")
    speed = {"prompts": 3, "forked": 2, "serial_tps": 20.0, "parallel_tps": 30.0, "device": "cpu"}
    (run / "speed.json").write_text(json.dumps(speed))
    card = model_card(run, made, is_adapter=True)
    for words in (
        "| training loss | 2.5 |",
        "| evaluation loss | 1.25 |",
        "| evaluation loss, titles | 0.5 |",
        "| steps | 1 |",
        "| versions | aspd 1 |",
        "| speed-up by forking | 1.50 on 3 prompts, 2 answered with a block",
        "![losses over steps](losses.png)",
    ):
        assert words in card
    assert "losses.png" not in model_card(run, made, is_adapter=False)


def test_a_base_and_data_of_the_hub_are_linked_and_a_licence_is_passed_on(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Base\n")
    card = model_card(tmp_path, recipe(base, tmp_path / "run"), is_adapter=True)
    assert ModelCard(card).data.to_dict()["license"] == "apache-2.0"
    made = load_recipe(None, (), {"model.path": "org/model", "data.train": "org/data:test"})
    found = ModelCard(model_card(tmp_path, made, is_adapter=False)).data.to_dict()
    assert (found["base_model"], found["datasets"]) == ("org/model", ["org/data"])
    assert found["library_name"] == "transformers"
