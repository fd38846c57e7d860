"""The trainer of a run: model, data, arguments and callbacks put together."""

from pathlib import Path

from transformers import PrinterCallback
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from trl import SFTConfig

from aspd_cli.errors import ModelError
from aspd_cli.recipe import Recipe
from aspd_cli.train import rundir
from aspd_cli.train.collator import BranchCollator
from aspd_cli.train.preparation import Preparation
from aspd_cli.train.progress import Listener, Telling
from aspd_cli.train.samples import Sampler, borrowed
from aspd_cli.train.start import load_model, lora_config
from aspd_cli.train.trainer import BranchTrainer

_WHOLE = (
    "{} cannot shard a model whose adapter trains rows of its vocabulary: start it with torchrun, "
    "which holds the whole model on every GPU, or train all weights (lora: null)"
)
"""PEFT computes these rows from the whole table, outside of the modules that would gather it."""


def assemble(
    recipe: Recipe, made: Preparation, args: SFTConfig, run: Path, tell: Listener
) -> BranchTrainer:
    """The trainer of a run, with a model that is known to decode.

    Raises:
        ModelError: the model cannot be loaded, trained with these settings or decoded.
    """
    if recipe.lora is not None and is_deepspeed_zero3_enabled():
        raise ModelError(_WHOLE.format("DeepSpeed ZeRO-3"))
    tokenizer, codec = made.vocabulary.tokenizer, made.vocabulary.codec
    model = load_model(recipe, made.config, made.vocabulary)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    try:
        trainer = BranchTrainer(
            model=model,
            args=args,
            train_dataset=made.train.data,
            eval_dataset=made.eval.data if made.eval else None,
            processing_class=tokenizer,
            data_collator=BranchCollator(pad),
            peft_config=recipe.lora and lora_config(recipe.lora, model, codec),
            muon=recipe.training.optim == "muon",
            control=codec.control,
        )
    except ValueError as error:  # TRL, PEFT and accelerate on what they cannot combine
        raise ModelError(f"this cannot be trained so: {str(error).splitlines()[0]}") from error
    if recipe.lora is not None and trainer.is_fsdp_enabled:
        raise ModelError(_WHOLE.format("FSDP"))
    if not next(model.parameters()).is_meta and not is_deepspeed_zero3_enabled():
        with borrowed(model, tokenizer, recipe.model.positions, 1):
            pass  # its self-test says now what would be said after hours of training
    _add_callbacks(trainer, recipe, made, run, tell)
    return trainer


def _add_callbacks(
    trainer: BranchTrainer, recipe: Recipe, made: Preparation, run: Path, tell: Listener
) -> None:
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Telling(tell))
    if made.eval is None or not recipe.training.samples:
        return
    if trainer.is_sharded:
        tell.say("no sample answers: the model's weights are spread over processes")
        return
    options = recipe.generation
    if recipe.data.style == "serial":  # a Seq model never learns to fork
        options = options.model_copy(update={"mode": "plain"})
    trainer.add_callback(
        Sampler(
            run / rundir.SAMPLES,
            made.prompts,
            options,
            trainer.processing_class,
            recipe.model.positions,
            max(made.train.depth, 1),
        )
    )
