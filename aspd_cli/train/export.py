"""The end of a run: weights on disk, read back and compared, timed, merged, uploaded."""

import gc
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import GenerationConfig

from aspd_cli.errors import ModelError, TrainingError, reason
from aspd_cli.files import write_text
from aspd_cli.pretrained import Kind, from_pretrained
from aspd_cli.recipe import Recipe
from aspd_cli.train import branch_mask, model_card, run_dir
from aspd_cli.train.callbacks import borrowed
from aspd_cli.train.model import base_path, number_format
from aspd_cli.train.trainer import BranchTrainer, is_peft

_CHECKED = 64
"""Tokens of the generation that is compared."""
_TIMED = 256
"""Most tokens of an answer that is timed."""
_WARM = 8
"""Tokens that are decoded before the clock runs."""


def save(trainer: BranchTrainer, recipe: Recipe, run: Path) -> None:
    """Writes weights and tokenizer: the adapter, or the model in `training.save_dtype`.

    All processes call it: sharded weights are gathered.

    Raises:
        TrainingError: it cannot be written, or what was trained is no numbers.
    """
    model, tokenizer = trainer.model, trainer.processing_class
    if not is_peft(model):
        model.generation_config = GenerationConfig(
            eos_token_id=[tokenizer.eos_token_id], pad_token_id=tokenizer.pad_token_id
        )
    held = model.dtype
    dtype = None if is_peft(model) else recipe.training.save_dtype
    if dtype and trainer.is_sharded:
        trainer.save_dtype = getattr(torch, dtype)  # cast where it is gathered
    elif dtype:
        model.to(getattr(torch, dtype))
    if not all(p.isfinite().all() for p in model.parameters() if p.requires_grad):
        raise TrainingError(
            f"the trained weights are not finite as {model.dtype}: lower training.learning_rate, "
            "or choose another training.save_dtype"
        )
    if trainer.is_fsdp_enabled:  # checkpoints may be in shards; the result is one whole
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    try:
        trainer.save_model(str(run))
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"cannot write the result to {run}: {reason(error)}; free disk space and run again "
            "with --resume to write it from the newest checkpoint"
        ) from error
    if dtype and not trainer.is_sharded:
        model.to(held)  # rounded by now, as in the file: comparing both is exact


def greedy(model: Any, tokenizer: Any, recipe: Recipe, prompt: Any, depth: int) -> list[int]:
    """Ids of a short greedy answer, by the engine."""
    mode = "plain" if recipe.data.style == "serial" else "parallel"
    arguments = recipe.data.chat_template_kwargs
    with borrowed(model, tokenizer, recipe.model.positions, depth, arguments) as decoder:
        [output] = decoder.generate([prompt], mode=mode, max_new_tokens=_CHECKED)
    return output.token_ids


def timed(
    model: Any, tokenizer: Any, recipe: Recipe, prompts: Sequence[Any], depth: int
) -> dict[str, Any]:
    """How soon the engine answers prompts in parallel, and branch after branch: for the card.

    One answer at a time, as `generation` says, and no longer than `_TIMED` tokens: answers that are
    cut differ, so what is compared is useful tokens a second.

    Returns:
        `prompts`, `forked` (answers with a block), `parallel_tps`, `serial_tps` and `device`.
    """
    options = recipe.generation.model_dump(exclude={"batch_size", "mode"})
    options["max_new_tokens"] = min(options["max_new_tokens"], _TIMED)
    rest = (recipe.model.positions, depth, recipe.data.chat_template_kwargs)
    seconds = dict.fromkeys(("parallel", "serial"), 0.0)
    useful = dict.fromkeys(seconds, 0)
    forked = 0
    with borrowed(model, tokenizer, *rest) as decoder:
        decoder.generate([prompts[0]], max_new_tokens=_WARM)
        for prompt in prompts:
            for mode in seconds:
                [output] = decoder.generate([prompt], mode=mode, **options)
                seconds[mode] += output.stats.time_s
                useful[mode] += output.stats.useful_tokens
                forked += mode == "parallel" and output.stats.blocks > 0
        device = str(decoder.device)
    rates = {f"{mode}_tps": round(useful[mode] / seconds[mode], 3) for mode in seconds}
    return {"prompts": len(prompts), "forked": forked, **rates, "device": device}


def verify(
    run: Path, recipe: Recipe, prompt: Any, expected: list[int], like: dict[str, Any]
) -> None:
    """Loads what was saved into a fresh model, which must answer as the one in memory did.

    Args:
        like: how the trained model was loaded: `dtype`, and `quantization_config` if it had one.

    Raises:
        TrainingError: it answers otherwise.
    """
    tokenizer = _load("AutoTokenizer", run, recipe)
    depth = json.loads((run / run_dir.SETTINGS).read_text())["max_depth"]
    model = load_saved(run, recipe, tokenizer, like)
    found = greedy(model, tokenizer, recipe, prompt, depth)
    if found != expected:
        pairs = zip([*found, -1], [*expected, -1], strict=False)
        at = next(i for i, (one, other) in enumerate(pairs) if one != other)
        raise TrainingError(
            f"the model saved in {run} answers differently from the trained model, from token "
            f"{at + 1}; the checkpoints in {run} are unchanged"
        )


def load_saved(run: Path, recipe: Recipe, tokenizer: Any, like: dict[str, Any]) -> Any:
    """The finished model of a run, its adapter on top of its base."""
    if not (run / "adapter_config.json").is_file():
        return _load("AutoModelForCausalLM", run, recipe, **like)
    from peft import PeftModel

    base = _load("AutoModelForCausalLM", base_path(recipe), recipe, **like)
    if len(tokenizer) > base.get_input_embeddings().num_embeddings:
        base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return PeftModel.from_pretrained(base, str(run))


def _load(kind: Kind, where: str | Path, recipe: Recipe, **options: Any) -> Any:
    trusted = recipe.model.trust_remote_code
    return from_pretrained(
        kind, where, trust_remote_code=trusted, place=f"what is in {where}", **options
    )


def merge(run: Path, recipe: Recipe) -> Path:
    """Writes RUN/merged: the base with the adapter in its weights, its tokenizer and `aspd.json`.

    The base is loaded as it was trained, but never in four bits: those cannot be merged into.

    Raises:
        TrainingError: there is nothing to merge or it cannot be written.
    """
    tokenizer = _load("AutoTokenizer", run, recipe)
    try:
        model = load_saved(run, recipe, tokenizer, {"dtype": number_format(recipe)})
        merged = model.merge_and_unload() if is_peft(model) else model
        target = run / run_dir.MERGED
        merged.save_pretrained(target)
        tokenizer.save_pretrained(target)
        found = json.loads((run / run_dir.SETTINGS).read_text())
        found.pop("base", None)
        (target / run_dir.SETTINGS).write_text(json.dumps(found, indent=2) + "\n")
        write_card(target, run, recipe, is_adapter=False)
    except (ModelError, OSError, ValueError) as error:
        raise TrainingError(f"cannot write the merged model: {reason(error)}") from error
    return target


def write_card(folder: Path, run: Path, recipe: Recipe, *, is_adapter: bool) -> None:
    """Writes the model card of a run's result into the directory that holds it.

    Raises:
        TrainingError: it cannot be written.
    """
    try:
        write_text(
            folder / model_card.NAME, model_card.model_card(run, recipe, is_adapter=is_adapter)
        )
    except OSError as error:
        raise TrainingError(f"cannot write the model card in {folder}: {reason(error)}") from error


def push(run: Path, repository: str) -> str:
    """Uploads the run's result, not its checkpoints, to a private repository; gives its address.

    Raises:
        TrainingError: the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    merged = run / run_dir.MERGED
    folder = merged if merged.is_dir() else run
    try:
        api = HfApi()
        address = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            ignore_patterns=["checkpoint-*", "training_args.bin", "runs/*", "merged/*"],
            commit_message="aspd train",
        )
    except Exception as error:  # no network, no token, no such user: a class for each
        raise TrainingError(
            f"cannot upload {folder} to {repository}: {reason(error)}; it is complete on "
            "disk: upload it later with `hf upload`"
        ) from error
    return str(address)


def release(trainer: BranchTrainer) -> None:
    """Frees the trained model's memory, so that two never have to fit."""
    for name in ("model", "model_wrapped", "optimizer", "lr_scheduler"):
        setattr(trainer, name, None)
    if torch.cuda.is_available():
        trainer.accelerator.free_memory()
        gc.collect()
        torch.cuda.empty_cache()


def forget(run: Path) -> None:
    """Removes a merged model that an earlier run has left."""
    shutil.rmtree(run / run_dir.MERGED, ignore_errors=True)


def loaded_like(model: Any) -> dict[str, Any]:
    """How to load weights exactly as `model` holds them."""
    config = model.config
    like: dict[str, Any] = {
        "dtype": next(p.dtype for p in model.parameters() if p.is_floating_point()),
        "attn_implementation": branch_mask.implementation(config, device=model.device.type),
    }
    if quantization := getattr(config, "quantization_config", None):
        like["quantization_config"] = quantization
    if model.device.type != "cpu":
        like["device_map"] = {"": model.device}
    return like
