"""Before a run: what is wrong is told at once, and what is estimated comes true."""

from pathlib import Path
from typing import Any

import pytest
import torch

from aspd_cli.core.markup import BRANCH, PARA_END
from aspd_cli.errors import DataError, ModelError, RecipeError
from aspd_cli.train.model import base_path
from aspd_cli.train.preflight import sentences
from aspd_cli.train.run import dry_run, train
from tests import make
from tests.engine.families import tiny_model
from tests.train.conftest import recipe, write
from tests.train.test_encoding import SHORT


def test_all_problems_between_fields_come_at_once(base: Path, tmp_path: Path) -> None:
    wrong = {
        "data__eval": "synth",
        "data__eval_share": 0.1,
        "model__adapter": "somewhere",
        "training__report_to": "wandb",
        "training__save_dtype": "float16",
        "training__optim": "muon",
        "lora__quantization": "4bit",
        "lora__target_modules": ["q_proj", "lm_head"],
        "model__device": "cuda",
        "model__device_map": "auto",
        "model__quantize": "int8",
        "model__compile": True,
        "training__attention": "flex_attention",
    }
    with pytest.raises(RecipeError) as caught:
        dry_run(recipe(base, tmp_path, **wrong))
    head, *lines = str(caught.value).split("\n  ")
    assert head == "12 problems in the recipe:"
    for words in (
        "data.eval and data.eval_share cannot be combined",
        "model.adapter is only for decoding",
        "training.report_to: wandb is not installed: pip install wandb",
        "training.save_dtype applies to full models",
        "training.optim: muon",
        "lora.target_modules: the head is trained",
        "lora.quantization: 4bit needs a CUDA device",
        "model.device: cuda is not available on this machine",
        "model.device_map is only for decoding",
        "model.quantize is only for decoding",
        "model.compile is only for decoding",
        "training.attention: flex_attention cannot train on a CPU",
    ):
        assert sum(line.startswith(words) for line in lines) == 1, words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training__eval_steps": 2}, "training.eval_steps needs records to evaluate on"),
        ({"training__optim": "adamw_8bit"}, "training: .*bitsandbytes"),
        ({"training__output_dir": __file__}, r"test_preflight.py is a file; choose a directory"),
        ({"model__device": "gpu"}, "model.device: gpu is not a device; use cpu or cuda"),
    ],
)
def test_fields_that_would_mean_nothing_are_refused(
    base: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        dry_run(recipe(base, tmp_path, **changes))


def test_a_dry_run_writes_nothing(base: Path, tmp_path: Path) -> None:
    dry_run(recipe(base, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"lora__target_modules": ["q_proj", "down_proj"]},
        {"lora__target_modules": r".*layers\.1\..*(q|v)_proj"},
        {"lora__target_modules": "All-Linear"},
        {"training__num_train_epochs": 1.5, "training__gradient_accumulation_steps": 3},
    ],
)
def test_steps_and_trained_parameters_are_those_of_the_run(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    from safetensors.torch import load_file

    made = recipe(base, tmp_path, **{"training__max_steps": -1, "data__examples": 22, **changes})
    figures, _ = dry_run(made)
    done = train(made)
    assert figures.steps == done.steps
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert figures.trained == sum(tensor.numel() for tensor in saved.values())


def test_the_sample_is_a_record_with_its_forced_tokens_unlearnt(base: Path, tmp_path: Path) -> None:
    figures, vocabulary = dry_run(recipe(base, tmp_path))
    sample, names = figures.sample, vocabulary.tokenizer.convert_ids_to_tokens
    forced = [
        name
        for name, learnt in list(zip(names(sample.ids), sample.learnt, strict=True))[
            sample.answer :
        ]
        if not learnt
    ]
    assert forced[0] == BRANCH
    assert forced[-1] == PARA_END
    assert max(sample.lanes) >= 2
    assert len(sample.positions) == len(sample.ids)
    assert figures.total_memory > figures.parameters * 4
    assert figures.least_learnt > 0


def test_data_without_a_block_says_what_would_come_of_it(base: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", "one", "two")
    with pytest.raises(DataError, match=r"has a block.*never learn to branch.*data.style=serial"):
        dry_run(recipe(base, tmp_path, data__train=str(data)))
    figures, _ = dry_run(recipe(base, tmp_path, data__train=str(data), data__style="serial"))
    assert (figures.parallel, figures.kept) == (0, 2)


@pytest.mark.parametrize("too_long", ["drop", "serial"])
def test_blocks_that_are_lost_for_their_length_are_counted(
    base: Path, tmp_path: Path, too_long: str
) -> None:
    data = write(tmp_path / "d.jsonl", SHORT, SHORT * 2, "plain", "plain")
    changes = {"data__train": str(data), "data__too_long": too_long}
    figures, _ = dry_run(recipe(base, tmp_path, **changes))
    lengths = {"longest": figures.longest, "lost": figures.lost}
    assert lengths["lost"] == 0
    made = recipe(base, tmp_path, **changes, data__max_length=figures.longest - 1)
    figures, _ = dry_run(made)
    assert (figures.lost, figures.parallel) == (1, 1)
    assert any(
        line.startswith("warning: 1 of 2 records with blocks (50%) are too long")
        for line in sentences(figures)
    )
    short = figures.longest
    made = recipe(base, tmp_path, **changes, data__max_length=short - 1)
    words = (
        rf"^all 2 records with blocks in .*d\.jsonl are longer than data.max_length={short - 1}; "
        rf"the shortest has {short} tokens: raise data.max_length to keep them$"
    )
    with pytest.raises(DataError, match=words):
        dry_run(made)


def test_records_beyond_the_context_are_refused_with_the_limit(tmp_path: Path) -> None:
    tokenizer = make.tokenizer("qwen", "chatml")
    model = tiny_model("qwen2", len(tokenizer), max_position_embeddings=64)
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    data = write(tmp_path / "d.jsonl", SHORT, "a long answer " * 60)
    made = recipe(tmp_path / "base", tmp_path / "run", data__train=str(data))
    with pytest.raises(ModelError, match=r"context is 64: set data.max_length to 64 or less"):
        dry_run(made)


def test_layers_that_the_model_lacks_are_named_with_those_it_has(
    base: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"no module query; it has down_proj, .*v_proj"):
        dry_run(recipe(base, tmp_path, lora__target_modules=["query", "q_proj"]))


def test_a_tokenizer_of_another_model_is_refused(base: Path, tmp_path: Path) -> None:
    make.tokenizer("llama2").save_pretrained(tmp_path / "other")
    make.tokenizer("qwen").save_pretrained(tmp_path / "near")
    with pytest.raises(ModelError, match=r"they do not match|does not match the model"):
        dry_run(recipe(base, tmp_path, model__tokenizer=str(tmp_path / "other")))
    with pytest.raises(ModelError, match=r"does not match the model.*leave out model.tokenizer"):
        dry_run(recipe(base, tmp_path, model__tokenizer=str(tmp_path / "near")))
    figures, _ = dry_run(recipe(base, tmp_path, model__tokenizer=str(base)))
    assert figures.kept


@pytest.mark.parametrize("family", ["bert", "gpt2", "mamba"])
def test_a_family_that_cannot_fork_is_refused_by_name(family: str, tmp_path: Path) -> None:
    made = recipe(
        tmp_path, tmp_path / "run", model__path=None, model__config={"model_type": family}
    )
    made = made.model_copy(update={"lora": None})
    with pytest.raises(ModelError, match=family):
        dry_run(made)


def test_no_model_and_no_directory_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot load the model .* to train it"):
        dry_run(recipe(tmp_path / "nowhere", tmp_path / "run"))


def test_the_estimate_of_activations_is_what_autograd_keeps(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    fields = {
        "data__examples": 20,
        "data__max_length": 100,
        "training__per_device_train_batch_size": 2,
    }
    made = recipe(tmp_path, tmp_path / "run", **fields, model__path=None)
    figures, _ = dry_run(made.model_copy(update={"lora": None}))
    model = AutoModelForCausalLM.from_pretrained(base_path(made), dtype=torch.float32)
    add_fused_lm_head(model)  # no logits are kept, as in training
    parameters = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no address comes twice
        return tensor

    size = figures.longest
    ids = torch.zeros((2, size), dtype=torch.long)
    mask = torch.ones((2, 1, size, size), dtype=torch.bool).tril()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(ids, attention_mask=mask, labels=ids, fused_lm_head=True)
    found = sum(
        tensor.untyped_storage().nbytes() for at, tensor in kept.items() if at not in parameters
    )
    assert 0.8 < figures.memory["activations"] / found < 1.25
