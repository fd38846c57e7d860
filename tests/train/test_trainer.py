"""Real runs of TRL's trainer on a tiny random model: what is learnt and left."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from aspd_cli.core.codec import Codec
from aspd_cli.recipe import Recipe, load_recipe
from aspd_cli.train.batching import BranchCollator
from aspd_cli.train.branch_mask import masks
from aspd_cli.train.data import records
from aspd_cli.train.encoding import encode
from aspd_cli.train.features import IGNORE
from aspd_cli.train.run import train
from aspd_cli.train.trainer import BranchTrainer

SCRATCH = """
model: {{config: {config}}}
data: {{style: serial, examples: 40, exercises: 8}}
training: {{output_dir: {run}, optim: muon, learning_rate: 1.0e-3, max_steps: 2,
  per_device_train_batch_size: 4, loss_on_prompt: true, save_dtype: float16, logging_steps: 1,
  save_steps: 1}}
"""
ADAPTER = """
model: {{path: {base}}}
data: {{examples: 40}}
training: {{output_dir: {run}, learning_rate: 1.0e-2, max_steps: {steps},
  per_device_train_batch_size: 4, logging_steps: 1, save_steps: 1}}
lora: {{r: 2, alpha: 4}}
generation: {{max_new_tokens: 20}}
"""


def recipe(folder: Path, text: str, **values: Any) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(text.format(**values))
    return load_recipe(path)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base trained from nothing for two steps."""
    from tests.train.conftest import TINY

    run = tmp_path_factory.mktemp("base")
    config = json.dumps({**TINY, "vocab_size": 500})
    written = tmp_path_factory.mktemp("recipes")
    return train(recipe(written, SCRATCH, config=config, run=run)).run


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on that base, trained for two steps."""
    run = tmp_path_factory.mktemp("adapter")
    written = tmp_path_factory.mktemp("recipes")
    return train(recipe(written, ADAPTER, base=base, run=run, steps=2)).run


def test_a_base_from_nothing_loads_with_transformers_in_the_stored_format(base: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base)
    assert model.dtype == torch.float16
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert len(tokenizer) == model.config.vocab_size
    assert model.generation_config.eos_token_id == [tokenizer.eos_token_id]
    assert tokenizer.decode(tokenizer("What is 3+4?").input_ids) == "What is 3+4?"


def test_an_adapter_trains_low_rank_updates_and_six_rows(base: Path, adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    rows = {name: tensor for name, tensor in weights.items() if "token" in name}
    assert [tuple(tensor.shape) for tensor in rows.values()] == [(6, 32)]
    assert all("lora_" in name for name in weights if name not in rows)
    before = load_file(base / "model.safetensors")["model.embed_tokens.weight"][3:9].float()
    assert not torch.equal(next(iter(rows.values())), before)
    settings = json.loads((adapter / "aspd.json").read_text())
    assert settings == {
        "positions": "same-seq",
        "max_depth": 1,
        "separator": ": ",
        "format": 2,
        "style": "parallel",
        "base": str(base),
    }


def test_a_saved_adapter_loads_on_its_base_and_merges_without_a_change(
    base: Path, adapter: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(plain, adapter).eval()
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        want = model(ids).logits
        merged = model.merge_and_unload()(ids).logits
    assert (want - merged).abs().max() < 1e-5


def test_the_loss_is_the_cross_entropy_of_the_sampled_tokens(base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig

    made = recipe(tmp_path, ADAPTER, base=base, run=tmp_path, steps=1)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    found = records(made.data, "synth")
    made_of = encode(found, Codec(tokenizer), made.data, "same-seq", False, "synth")
    rows = made_of.data.select(range(4))
    collate = BranchCollator(tokenizer.pad_token_id)
    batch = collate(list(rows))
    with torch.no_grad():
        logits = model(
            input_ids=batch["input_ids"],
            position_ids=batch["position_ids"],
            attention_mask=masks(
                model.config, batch["lanes"], batch["sees"], batch["position_ids"], torch.float32
            ),
        ).logits
    want = cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORE
    )
    trainer = BranchTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(tmp_path),
            max_steps=1,
            per_device_train_batch_size=4,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            bf16=False,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            disable_tqdm=True,
        ),
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=collate,
    )
    trainer.train()
    logged = trainer.state.log_history[0]
    assert logged["loss"] == pytest.approx(want.item(), abs=2e-5)
    assert logged["num_tokens"] == batch["attention_mask"].sum()
