"""A model that accelerate has spread over devices decodes as a model on one."""

from pathlib import Path

import pytest

from aspd_cli.engine.loading import load
from tests import make
from tests.engine.families import tiny_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    tokenizer = make.tokenizer("qwen", "chatml")
    tiny_model("qwen2", len(tokenizer)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_spread_model_writes_the_same(saved: Path, batch_size: int) -> None:
    """Part of it is offloaded to disk: a second place for weights that every machine has."""
    prompts = ["Fruits?", "Hi", "Compare the two fruits by colour and by taste."]
    options = {"max_new_tokens": 40, "temperature": 1.0, "seed": 3, "batch_size": batch_size}
    expected = load(saved, device="cpu").generate(prompts, **options)
    places = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk"}
    places |= {"model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    spread = load(saved, device_map=places)
    assert spread.runner.is_spread
    found = spread.generate(prompts, **options)
    assert [output.token_ids for output in found] == [output.token_ids for output in expected]
