"""A recipe's training section as TRL's own arguments."""

import os

import torch
from trl import SFTConfig

from aspd_cli.errors import RecipeError
from aspd_cli.recipe import Recipe
from aspd_cli.train.start import device_of

_OWN = {
    *("output_dir", "optim", "warmup_ratio", "save_dtype", "loss_on_prompt", "samples"),
    *("attention", "bf16", "eval_steps"),
}
"""Fields of the training section that are not handed to transformers under their name."""


def arguments(recipe: Recipe, *, evaluate: bool) -> SFTConfig:
    """TRL's arguments. Raises `RecipeError` with its reason when it refuses them.

    What is not in the recipe is set where TRL's default would be wrong for branch masks, would hide
    a loss that is no number, or would tell the log twice.
    """
    training = recipe.training
    same = training.model_dump(exclude=_OWN)
    on_gpu, bf16 = device_of(recipe) == "cuda", training.bf16
    if bf16 is None:
        bf16 = on_gpu and torch.cuda.is_bf16_supported()
    try:
        return SFTConfig(
            **same,
            output_dir=training.output_dir,
            bf16=bf16,
            optim="adamw_torch" if training.optim == "muon" else training.optim,
            warmup_steps=training.warmup_ratio,
            per_device_eval_batch_size=training.per_device_train_batch_size,
            eval_strategy="steps" if evaluate else "no",
            eval_steps=training.eval_steps or training.save_steps,
            logging_nan_inf_filter=False,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            disable_tqdm=True,
            # Else several processes on a machine without a GPU would each train a model of its own.
            use_cpu=recipe.model.device == "cpu"
            or not (torch.accelerator.is_available() or "ACCELERATE_TORCH_DEVICE" in os.environ),
        )
    except (ValueError, ImportError) as error:
        raise RecipeError(f"training: {str(error).splitlines()[0]}") from error
