"""The model card of a run: README.md, which the Hub shows. What is not known is left out."""

import json
from pathlib import Path
from typing import Any

from aspd_cli.files import EMBEDDED_MODEL, read_json_object
from aspd_cli.pretrained import is_local
from aspd_cli.recipe import Recipe
from aspd_cli.sources import dataset_name
from aspd_cli.train.model import base_path
from aspd_cli.train.run_dir import LOSSES, SPEED, STATE, VERSIONS

NAME = "README.md"

_LOSSES = {
    "loss": "training loss",
    "eval_loss": "evaluation loss",
    "eval_loss_serial": "evaluation loss, serial text",
    "eval_loss_title": "evaluation loss, titles",
    "eval_loss_branch": "evaluation loss, branches",
}


def model_card(run: Path, recipe: Recipe, *, is_adapter: bool) -> str:
    """The card of a finished run, or of its merged model, in Markdown.

    Args:
        run: holds the state of the trainer and the versions of the libraries.
        is_adapter: whether the weights need their base.
    """
    head = json.dumps(_metadata(recipe, is_adapter=is_adapter), indent=2, ensure_ascii=False)
    name = Path(recipe.training.output_dir).resolve().name
    rows = [f"| {what} | {value} |" for what, value in _rows(run, recipe).items()]
    parts = [
        f"---\n{head}\n---",  # YAML takes JSON
        f"# {name}",
        _description(recipe, is_adapter=is_adapter),
        "## How to use",
        _use(recipe, name, is_adapter=is_adapter),
        "## Training",
        "\n".join(["| | |", "|---|---|", *rows]),
    ]
    if is_adapter and (run / LOSSES).is_file():
        parts.append(f"![losses over steps]({LOSSES})")
    return "\n\n".join(parts) + "\n"


def _metadata(recipe: Recipe, *, is_adapter: bool) -> dict[str, Any]:
    base = _hub_base(recipe)
    data = [name for name in map(_hub_data, (recipe.data.train, recipe.data.eval)) if name]
    found: dict[str, Any] = {
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["aspd", "trl", "sft", *(["lora"] if recipe.lora else [])],
        "base_model": base,
        "license": _licence(recipe),
        "datasets": list(dict.fromkeys(data)),
    }
    return {name: value for name, value in found.items() if value}


def _description(recipe: Recipe, *, is_adapter: bool) -> str:
    if recipe.model.config is not None:
        what = "A model"
    else:
        base = _hub_base(recipe)
        link = f"[{base}](https://huggingface.co/{base})" if base else _base_name(recipe)
        what = f"{'A LoRA adapter' if is_adapter else 'A fine-tuned model'} on {link}"
    if recipe.data.style == "serial":
        return f"{what}, trained on the plain text of its answers: a Seq model."
    return (
        f"{what} for Adaptive Serial-Parallel Decoding ([arXiv 2508.08895]"
        "(https://arxiv.org/abs/2508.08895)): it marks the parts of an answer that do not depend "
        "on each other, and they are decoded side by side."
    )


def _use(recipe: Recipe, name: str, *, is_adapter: bool) -> str:
    mode = "--plain" if recipe.data.style == "serial" else "--parallel"
    where = f"--model {name}"
    if is_adapter and recipe.model.path is None:
        where = f"--adapter {name}"
    elif is_adapter:
        where = f"--model {_hub_base(recipe) or _base_name(recipe)} --adapter {name}"
    return (
        f'```sh\naspd generate {mode} {where} "Your question"\n```\n\n'
        f"`{name}` stands for this directory or repository."
    )


def _rows(run: Path, recipe: Recipe) -> dict[str, Any]:
    """The table of the training."""
    state, versions = (read_json_object(run / name) or {} for name in (STATE, VERSIONS))
    data, training = recipe.data, recipe.training
    epochs = state.get("epoch")
    found = {
        "base": None if recipe.model.config else _hub_base(recipe) or _base_name(recipe),
        "data": _data_name(data.train),
        "evaluation data": _data_name(data.eval),
        "share held out": data.eval_share or None,
        "steps": state.get("global_step"),
        "epochs": None if epochs is None else f"{epochs:.4g}",
        "records a step": versions.get("batch"),
        "learning rate": training.learning_rate,
        "optimizer": training.optim,
        "LoRA rank": recipe.lora and recipe.lora.r,
        "positions": recipe.model.positions,
    }
    history = state.get("log_history", [])
    for key, what in _LOSSES.items():
        values = [entry[key] for entry in history if key in entry]
        found[what] = f"{values[-1]:.4g}" if values else None
    found["speed-up by forking"] = _speedup(read_json_object(run / SPEED) or {})
    libraries = ("aspd", "torch", "transformers", "trl", "peft")
    found["versions"] = ", ".join(f"{n} {versions[n]}" for n in libraries if n in versions)
    return {what: value for what, value in found.items() if value not in (None, "")}


def _speedup(timed: dict[str, Any]) -> str | None:
    """What was measured at the end of the run, on the prompts of its samples."""
    if not timed.get("serial_tps"):
        return None
    number = timed["prompts"]
    return (
        f"{timed['parallel_tps'] / timed['serial_tps']:.2f} on {number} "
        f"prompt{'s' * (number != 1)}, {timed['forked']} answered with a block: useful tokens a "
        f"second in parallel over those branch after branch, {timed['device']}"
    )


def _hub_base(recipe: Recipe) -> str | None:
    path = recipe.model.path
    return path if path is not None and not is_local(path) else None


def _base_name(recipe: Recipe) -> str:
    """Of a base on the disk only the last part of its path: the rest is nobody's business."""
    path = Path(base_path(recipe))
    return "the embedded model of aspd" if path.is_relative_to(EMBEDDED_MODEL) else path.name


def _hub_data(source: str | None) -> str | None:
    name = dataset_name(Path(source)) if source and not Path(source).is_file() else None
    return name.path if name and not name.is_local else None


def _data_name(source: str | None) -> str | None:
    return source and (_hub_data(source) or Path(source).name)


def _licence(recipe: Recipe) -> str | None:
    """The licence that the card of the base names, where there is one at hand."""
    from huggingface_hub import ModelCard, try_to_load_from_cache

    base, found = _hub_base(recipe), Path(base_path(recipe)) / NAME
    if base is not None:
        cached = try_to_load_from_cache(base, NAME)
        found = Path(cached) if isinstance(cached, str) else found
    try:
        card = ModelCard(found.read_text(encoding="utf-8"), ignore_metadata_errors=True)
        licence = card.data.to_dict().get("license")
    except Exception:  # none, or one with metadata that cannot be read
        return None
    return licence if isinstance(licence, str) else None
