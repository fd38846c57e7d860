"""Fine-tuning with TRL's SFTTrainer, thinly adapted: branch masks, and Muon for small models.

run = train(load_recipe("recipes/tiny.yaml"))    # a directory that transformers or peft loads
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel
from transformers.trainer_utils import set_seed
from trl import SFTConfig, SFTTrainer

from aspd_cli.core.tokens import Codec, add_control_tokens
from aspd_cli.errors import ModelError
from aspd_cli.recipe import Recipe
from aspd_cli.recipe_sections import LoraSection, TrainingSection
from aspd_cli.train import mask
from aspd_cli.train.checkpoints import newest_complete
from aspd_cli.train.collator import BranchCollator
from aspd_cli.train.dataset import encoded, records
from aspd_cli.train.muon import MuonAdamW
from aspd_cli.train.sampler import LengthSampler
from aspd_cli.train.scratch import new_model, new_tokenizer

_OWN = {"output_dir", "optim", "warmup_ratio", "save_dtype", "loss_on_prompt"}
"""Fields of the training section that are not handed to transformers under their name."""

SETTINGS_FILE = "aspd.json"
"""Beside the weights: what decoding must know of how they were trained."""


class BranchTrainer(SFTTrainer):
    """SFTTrainer for batches of `BranchCollator`."""

    model: Any  # the typed attribute may be None or a bare module

    def __init__(self, *args: Any, muon: bool = False, **kwargs: Any) -> None:
        self._muon = muon
        super().__init__(*args, **kwargs)
        mask.install(self.model.get_base_model() if _is_peft(self.model) else self.model)
        head = self.model.get_output_embeddings()
        if not hasattr(head, "bias"):  # peft's wrapper of trained rows; TRL's fused head reads it
            head.bias = None

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthSampler:
        lengths = (train_dataset or self.train_dataset)["length"]
        return LengthSampler(list(lengths), self.args.train_batch_size, self.args.seed)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimizer by its transformers name, or Muon."""
        if not self._muon:
            return super().create_optimizer() if model is None else super().create_optimizer(model)
        self.optimizer = MuonAdamW.of(
            self.model,
            lr=self.args.learning_rate,
            betas=(self.args.adam_beta1, self.args.adam_beta2),
            weight_decay=self.args.weight_decay,
        )
        return self.optimizer


def train(recipe: Recipe, resume: bool = False) -> Path:
    """Trains what the recipe says and gives the run directory.

    It holds either a whole model or a PEFT adapter, its tokenizer, `aspd.json`, the resolved recipe
    and the checkpoints.

    Args:
        resume: go on from the newest complete checkpoint of the run directory, if there is one.

    Raises:
        DataError: the training data cannot be used.
        ModelError: the model cannot be loaded or its attention cannot take a branch mask.
    """
    run = Path(recipe.training.output_dir)
    run.mkdir(parents=True, exist_ok=True)
    (run / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    set_seed(recipe.training.seed)

    checkpoint = newest_complete(run) if resume else None
    found = records(recipe.data, recipe.data.train)
    tokenizer, model = _load(recipe, found, checkpoint)
    codec, loss_on_prompt = Codec(tokenizer), recipe.training.loss_on_prompt
    positions = recipe.model.positions
    held_out = recipe.data.eval and encoded(
        records(recipe.data, recipe.data.eval, "test"),
        codec,
        recipe.data,
        positions,
        loss_on_prompt,
    )
    trainer = BranchTrainer(
        model=model,
        args=_arguments(recipe.training, run, evaluate=bool(held_out)),
        train_dataset=encoded(found, codec, recipe.data, positions, loss_on_prompt),
        eval_dataset=held_out or None,
        processing_class=tokenizer,
        data_collator=BranchCollator(tokenizer.pad_token_id),
        peft_config=recipe.lora and _lora(recipe.lora, model, codec),
        muon=recipe.training.optim == "muon",
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    _save(trainer, recipe, run)
    return run


def base_path(recipe: Recipe) -> str:
    """The model that a recipe starts from: its own, or the embedded serial base."""
    return recipe.model.path or str(files("aspd_cli") / "assets" / "tiny" / "base")


def _load(recipe: Recipe, found: Any, checkpoint: Path | None) -> tuple[Any, PreTrainedModel]:
    """Tokenizer and model, from a directory or from nothing; `auto` is float32 on a CPU."""
    if recipe.model.config is not None:
        if known := recipe.model.tokenizer or checkpoint:
            tokenizer: Any = AutoTokenizer.from_pretrained(known)
        else:
            tokenizer = new_tokenizer(_texts(found), recipe.model.config["vocab_size"])
        return tokenizer, new_model(recipe.model.config, tokenizer)
    path = base_path(recipe)
    try:
        tokenizer = AutoTokenizer.from_pretrained(recipe.model.tokenizer or path)
        dtype = recipe.model.dtype
        if dtype == "auto" and not torch.cuda.is_available():
            dtype = "float32"
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    except (OSError, ValueError) as error:
        raise ModelError(f"the model {path} cannot be loaded: {error}") from error
    add_control_tokens(tokenizer)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer))
    return tokenizer, model


def _texts(found: Any) -> list[str]:
    """What a new tokenizer learns from; numbers count extra, so that each becomes one token."""
    turns = [turn for column in ("prompt", "completion") for row in found[column] for turn in row]
    numbers = [str(number) for number in range(100)]
    return [turn["content"] for turn in turns] + numbers * (len(turns) // 100 + 1)


def _lora(lora: LoraSection, model: PreTrainedModel, codec: Codec) -> Any:
    """LoRA, and full training of the six control tokens' rows: of the head too when it has its own.

    Rows of the embedding alone would never teach an untied head to emit them.
    """
    from peft import LoraConfig

    tables = [model.get_input_embeddings()]
    if not model.config.tie_word_embeddings:
        tables.append(model.get_output_embeddings())
    names = [
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if any(module is table for table in tables)
    ]
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        trainable_token_indices={name: list(codec.control) for name in names},
        task_type="CAUSAL_LM",
    )


def _arguments(training: TrainingSection, run: Path, *, evaluate: bool) -> SFTConfig:
    same = training.model_dump(exclude=_OWN)
    return SFTConfig(
        **same,
        output_dir=str(run),
        optim="adamw_torch" if training.optim == "muon" else training.optim,
        warmup_steps=training.warmup_ratio,
        eval_strategy="steps" if evaluate else "no",
        eval_steps=training.save_steps,
        save_total_limit=2,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
    )


def _save(trainer: BranchTrainer, recipe: Recipe, run: Path) -> None:
    model = trainer.model
    settings: dict[str, Any] = {"positions": recipe.model.positions, "max_depth": 1}
    if _is_peft(model):
        settings["base"] = recipe.model.path
    else:
        if recipe.training.save_dtype:
            model = model.to(getattr(torch, recipe.training.save_dtype))
        ends = [trainer.processing_class.eos_token_id]
        model.generation_config = GenerationConfig(
            eos_token_id=ends, pad_token_id=trainer.processing_class.pad_token_id
        )
    model.save_pretrained(run)
    trainer.processing_class.save_pretrained(run)
    (run / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _is_peft(model: Any) -> bool:
    return hasattr(model, "peft_config")
