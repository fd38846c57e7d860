"""A recipe as the arguments of TRL's trainer, once it is known to make sense as a whole.

`check_recipe` tells all at once what no field shows by itself; `arguments` makes TRL's `SFTConfig`.
"""

import os
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import Trainer
from trl import SFTConfig

from aspd_cli.errors import DataError, ModelError, RecipeError
from aspd_cli.pretrained import gguf_file
from aspd_cli.recipe import Recipe
from aspd_cli.train.inputs import ask_hub, cannot_push, missing_data, missing_models
from aspd_cli.train.model import device_of

_OWN = {
    *("output_dir", "optim", "warmup_ratio", "save_dtype", "loss_on_prompt", "samples"),
    *("attention", "bf16", "eval_steps", "packing"),
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
        args = SFTConfig(
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
            # A GPU would wait for batches that this process makes; a CPU has no core to spare.
            dataloader_num_workers=int(on_gpu),
            disable_tqdm=True,
            # Else several processes on a machine without a GPU would each train a model of its own.
            use_cpu=recipe.model.device == "cpu"
            or not (torch.accelerator.is_available() or "ACCELERATE_TORCH_DEVICE" in os.environ),
        )
        # Else an optimizer would miss its library only after the model is loaded.
        Trainer.get_optimizer_cls_and_kwargs(args)
        return args
    except (ValueError, ImportError) as error:
        raise RecipeError(f"training: {str(error).splitlines()[0]}") from error


def check_recipe(recipe: Recipe, push: str | None = None) -> None:
    """What fields of a recipe mean together, and what they need of the machine and the Hub.

    Args:
        push: repository that the result is to be uploaded to.

    Raises:
        RecipeError: all problems, a line each, files and models that are missing among them.
        DataError, ModelError: there are no other problems than those.
        TrainingError: the Hub would not take the result.
    """
    lora, training, data = recipe.lora, recipe.training, recipe.data
    targets = [] if lora is None else lora.target_modules
    problems = {
        "data.eval and data.eval_share cannot be combined; leave one out": data.eval is not None
        and data.eval_share > 0,
        "model.adapter is only for decoding: train a merged model (`aspd train --merge`) instead": (
            recipe.model.adapter is not None
        ),
        "model.config creates a model and model.path loads one: leave one out": (
            recipe.model.config is not None and recipe.model.path is not None
        ),
        "model.config creates a model, and lora cannot train a new one: leave one out": (
            recipe.model.config is not None and lora is not None
        ),
        "training.max_steps: must be -1 or at least 1, not 0": training.max_steps == 0,
        f"training.report_to: {training.report_to} is not installed: pip install "
        f"{training.report_to}": (
            training.report_to != "none" and find_spec(training.report_to) is None
        ),
        "training.save_dtype applies to full models, not to adapters: leave it out": (
            lora is not None and training.save_dtype is not None
        ),
        "training.optim: muon cannot train lora matrices; choose another, such as adamw_torch": (
            lora is not None and training.optim == "muon"
        ),
        "lora.target_modules: the head is trained at the six control tokens only; leave out "
        "lm_head": "lm_head" in targets and not isinstance(targets, str),
        "training.eval_steps needs records to evaluate on: set data.eval or data.eval_share, or "
        "leave it out": (
            training.eval_steps is not None and data.eval is None and not data.eval_share
        ),
        "model.device_map is only for decoding: leave it out": recipe.model.device_map is not None,
        "model.compile is only for decoding: leave it out": recipe.model.compile,
        "model.quantize is only for decoding: leave it out; to train on weights of 4 bits, set "
        "lora.quantization": recipe.model.quantize is not None,
        "model.dtype: float16 cannot hold the updates of all weights: choose float32 or bfloat16": (
            lora is None and recipe.model.dtype == "float16"
        ),
        f"training.output_dir: {training.output_dir} is a file; choose a directory": (
            Path(training.output_dir).is_file()
        ),
        **_device_problems(recipe),
        **_quantization_problems(recipe),
    }
    found = [text for text, is_wrong in problems.items() if is_wrong] + cannot_push(push)
    data_problems, models = missing_data(recipe), missing_models(recipe)
    kind = RecipeError if found else DataError if data_problems else ModelError
    if found := [*found, *data_problems, *models]:
        head = f"{len(found)} problems in the recipe:\n  " if len(found) > 1 else ""
        raise kind(head + "\n  ".join(found))
    ask_hub(recipe, push)


def _device_problems(recipe: Recipe) -> dict[str, bool]:
    name = recipe.model.device or "auto"
    is_cuda = name.startswith("cuda")
    try:
        index = None if name == "auto" else torch.device(name).index
    except RuntimeError:
        return {f"model.device: {name} is not a device; use cpu or cuda": True}
    return {
        f"model.device: {name} is not available on this machine: leave it out": is_cuda
        and not torch.cuda.is_available(),
        f"model.device: training runs on the first visible GPU; in place of {name} set "
        "CUDA_VISIBLE_DEVICES": is_cuda and bool(index) and torch.cuda.is_available(),
        "training.attention: flex_attention cannot train on a CPU: leave it out": (
            recipe.training.attention == "flex_attention" and device_of(recipe) == "cpu"
        ),
    }


def _quantization_problems(recipe: Recipe) -> dict[str, bool]:
    wanted = recipe.lora is not None and recipe.lora.quantization is not None
    cuda = device_of(recipe) == "cuda"
    file = gguf_file(recipe.model.path) if recipe.model.path else None
    return {
        "lora.quantization: the weights of a GGUF file are unpacked and cannot be quantized again: "
        "leave it out": wanted and file is not None,
        "lora.quantization: 4bit needs a CUDA device, and none is available: leave it out": wanted
        and not cuda,
        "lora.quantization: 4bit needs bitsandbytes: pip install bitsandbytes": wanted
        and cuda
        and find_spec("bitsandbytes") is None,
    }
