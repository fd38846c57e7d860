"""The run directory: what stands in it beside the weights, and from where a run may go on.

`open_run` starts a directory or goes on in it, and refuses a recipe or data other than those it was
made with.
"""

import json
import platform
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from aspd_cli.core.markup import FORMAT, SEPARATOR
from aspd_cli.errors import DataError, UsageError
from aspd_cli.files import complete_lines, read_json_object, write_atomically, write_text
from aspd_cli.outputs import STDOUT, check_apart, holds_something, same
from aspd_cli.recipe import Recipe, load_recipe
from aspd_cli.resume import is_as_saved, refuse_changes, saved_facts, settings_of, settings_text
from aspd_cli.train.checkpoints import CHECKPOINTS, newest_complete
from aspd_cli.train.model import base_path

COMMAND = "train"
RECIPE, VERSIONS, SETTINGS = "recipe.yaml", "versions.json", "aspd.json"
SAMPLES, LOSSES, STATE = "samples.jsonl", "losses.png", "trainer_state.json"
SPEED = "speed.json"
"""How soon the finished model answers."""
MERGED = "merged"
"""The whole model, where one was asked for."""
_RESULT = (
    *("config.json", "generation_config.json", "model*.safetensors", "model*.index.json"),
    *("adapter_config.json", "adapter_model.safetensors", "training_args.bin", "README.md"),
    *("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "chat_template.jinja"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"),
    *(MERGED, SETTINGS, SAMPLES, LOSSES, STATE, SPEED),
)
"""What a run leaves beside its recipe, versions and checkpoints."""

_FREE = {
    *("data.workers", "model.device", "model.trust_remote_code"),
    *("training.output_dir", "training.report_to"),
    *("training.logging_steps", "training.save_steps", "training.save_total_limit"),
    *("training.eval_steps", "training.samples", "training.save_dtype"),
    # Of other commands.
    *("generation", "transform", "evaluation"),
    # Compared by what they come to: what is in the file, and the number of records a step.
    *("data.train", "data.eval", "training.gradient_accumulation_steps"),
}
"""Fields that a resumed run may change: they alter neither the data nor a single weight."""
_GROWING = {"training.max_steps", "training.num_train_epochs"}
"""Fields that a resumed run may raise."""
_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers")


def open_run(recipe: Recipe, *, resume: bool, fresh: bool) -> Path | None:
    """Checks the run directory and gives the checkpoint to go on from, if any; removes nothing.

    Raises:
        UsageError: it holds another run, or one with settings that do not go on as these, or files
            that are not of `aspd train`.
        DataError: it cannot be written.
    """
    run = Path(recipe.training.output_dir)
    try:
        run.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run) as probe:
            probe.write(b"x" * 4096)
    except OSError as error:
        raise DataError(
            f"cannot write to the run directory {run}: {error.strerror}; choose another "
            "training.output_dir"
        ) from error
    _refuse_foreign(run)
    if fresh:
        return None
    if not resume:
        if any(run.glob(CHECKPOINTS)):
            raise UsageError(
                f"{run} already contains a run: continue it with --resume, replace it with "
                "--fresh, or choose another training.output_dir"
            )
        return None
    if (run / RECIPE).is_file():
        before, now = (
            settings_of(each.without_secrets().model_dump(mode="json"), free=_FREE)
            for each in (load_recipe(run / RECIPE), recipe)
        )
        cure = "restore them, or start over with --fresh"
        refuse_changes(f"the run in {run}", before, now, cure, growing=_GROWING)
    return newest_complete(run)


def check_places(recipe: Recipe) -> None:
    """Refuses to write where the run reads.

    Raises:
        UsageError: names both fields.
    """
    model, data, run = recipe.model, recipe.data, Path(recipe.training.output_dir)
    if run == STDOUT:
        raise UsageError("training.output_dir cannot be standard output (-); name a directory")
    reads = {
        "model.path": model.path,
        "model.tokenizer": model.tokenizer,
        "data.train": data.train,
        "data.eval": data.eval,
    }
    check_apart(
        reads, {"training.output_dir": run, "the samples of training.output_dir": run / SAMPLES}
    )
    made = [path.resolve() for pattern in (*_RESULT, CHECKPOINTS) for path in run.glob(pattern)]
    for name, path in reads.items():
        if path is not None and any(Path(path).resolve().is_relative_to(part) for part in made):
            raise UsageError(
                f"{name} {path} is part of the run in {run}, which this run would replace; choose "
                "another training.output_dir"
            )


def check_recipe_file(path: Path, recipe: Recipe) -> None:
    """Refuses to rewrite the recipe that the user wrote with what became of it.

    Raises:
        UsageError: it has the place of the saved recipe, and is not that.
    """
    run = Path(recipe.training.output_dir)
    if same(path, run / RECIPE) and not is_as_saved(path):
        raise UsageError(
            f"{path} is where the run saves its resolved recipe, which has no comments; move it, "
            "or choose another training.output_dir"
        )


def _refuse_foreign(run: Path) -> None:
    """Refuses a directory that holds what another program made and this one would replace."""
    if saved_facts(run / RECIPE, COMMAND) is not None:
        return
    if "aspd" in (read_json_object(run / VERSIONS) or {}):  # version 0.1
        return
    for pattern in (RECIPE, VERSIONS, CHECKPOINTS, *_RESULT):
        for path in filter(holds_something, run.glob(pattern)):
            raise UsageError(
                f"{path} was not made by `aspd train`, which would replace it; choose another "
                "training.output_dir"
            )


def clear(run: Path) -> None:
    """Removes an earlier run, so that nothing of it is taken for the new one's.

    Its recipe stays until the new one replaces it: what a kill leaves here is still the old run.

    Raises:
        DataError: something cannot be removed.
    """
    try:
        for pattern in (*_RESULT, CHECKPOINTS):
            for path in sorted(run.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError as error:
        raise DataError(f"cannot remove the earlier run in {run}: {error.strerror}") from error


def check_facts(run: Path, facts: dict[str, Any]) -> None:
    """Refuses to resume on other data or with another number of records a step.

    Raises:
        UsageError: names what differs.
    """
    before = read_json_object(run / VERSIONS)
    if before is None:
        return
    names = {"data": "training data", "batch": "number of records a step"}
    old, new = (
        {text: each[name] for name, text in names.items() if name in before}
        for each in (before, facts)
    )
    refuse_changes(f"the run in {run}", old, new, "start over with --fresh")


def write_start(
    run: Path, recipe: Recipe, facts: dict[str, Any], settings: dict[str, Any], tokenizer: Any
) -> None:
    """Writes recipe, versions, ASPD settings and tokenizer before the first step.

    Raises:
        DataError: a file cannot be written.
    """
    versions = {name: metadata.version(name) for name in _PACKAGES}
    versions = {"aspd": _own_version(), "python": platform.python_version(), **versions}
    try:
        write_text(run / RECIPE, settings_text(COMMAND, recipe.to_yaml()))
        write_text(run / VERSIONS, json.dumps({**versions, **facts}, indent=2) + "\n")
        write_text(run / SETTINGS, json.dumps(settings, indent=2) + "\n")
        tokenizer.save_pretrained(run)
    except Exception as error:
        if not is_failed_write(error):
            raise
        raise DataError(f"cannot write to the run directory {run}: {_cause(error)}") from error


def is_failed_write(error: Exception) -> bool:
    """Whether a file could not be written; torch and tokenizers have no class for it."""
    named = ("inline_container", "iostream error", "os error")
    return isinstance(error, OSError | SafetensorError) or any(n in str(error) for n in named)


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).splitlines()[0]


def cut_samples(run: Path, checkpoint: Path | None) -> None:
    """Takes out the samples of steps that will be done again."""
    path = run / SAMPLES
    if checkpoint is None or not path.is_file():
        path.unlink(missing_ok=True)
        return
    last = int(checkpoint.name.rpartition("-")[2])
    lines, _ = complete_lines(path)
    with write_atomically(path) as file:
        file.writelines(line + b"\n" for line in lines if not _is_after(line, last))


def _is_after(line: bytes, step: int) -> bool:
    """Whether a line is a sample of a later step; what is no sample is not."""
    try:
        return bool(json.loads(line)["step"] > step)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def settings(recipe: Recipe, depth: int) -> dict[str, Any]:
    """What decoding must know of how the weights were trained."""
    found: dict[str, Any] = {
        "positions": recipe.model.positions,
        "max_depth": max(depth, 1),
        "format": FORMAT,
        "separator": SEPARATOR,
        "style": recipe.data.style,
    }
    if arguments := recipe.data.chat_template_kwargs:
        found["chat_template_kwargs"] = arguments
    return {**found, "base": base_path(recipe)} if recipe.lora is not None else found


def _own_version() -> str:
    from aspd_cli import __version__

    return __version__
