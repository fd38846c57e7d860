"""Checkpoints of a run: which of them were written to their end."""

from pathlib import Path
from zipfile import is_zipfile

from safetensors import SafetensorError, safe_open

from aspd_cli.files import read_json_object

CHECKPOINTS = "checkpoint-*"
"""Their folders in a run directory; a number of steps stands for the star."""
_WEIGHTS = ("model.safetensors", "adapter_model.safetensors")
_INDEX = "model.safetensors.index.json"
_SHARDED = ("pytorch_model_fsdp*", "pytorch_model*.bin")
"""Weights as FSDP leaves them on every process."""
_OPTIMIZER = ("optimizer.pt", "optimizer.bin", "optimizer_*", "latest")
"""Written by one process, by FSDP whole and in shards, by DeepSpeed (the name of its folder)."""
_TORCH = ("optimizer.pt", "optimizer.bin", "scheduler.pt", "rng_state*.pth")
"""Zip archives, whose directory is at their end: a torn one is none."""


def newest_complete(run: Path) -> Path | None:
    """The newest complete checkpoint of a run directory, or None.

    A run killed while it saves leaves a directory that transformers would resume from without its
    optimizer and without a word.
    """
    found = sorted(run.glob(CHECKPOINTS), key=lambda path: int(path.name.rpartition("-")[2]))
    return next((path for path in reversed(found) if _complete(path)), None)


def _complete(checkpoint: Path) -> bool:
    """The state of the trainer is written last, so its end says that the rest had its turn."""
    deepspeed = (checkpoint / "latest").is_file()
    return (
        "global_step" in (read_json_object(checkpoint / "trainer_state.json") or {})
        and all(is_zipfile(path) for each in _TORCH for path in checkpoint.glob(each))
        and any(checkpoint.glob("rng_state*.pth"))
        and any(True for pattern in _OPTIMIZER for _ in checkpoint.glob(pattern))
        and (deepspeed or (checkpoint / "scheduler.pt").is_file())
        and (deepspeed or _weights_complete(checkpoint))
    )


def _weights_complete(checkpoint: Path) -> bool:
    if (index := read_json_object(checkpoint / _INDEX)) is not None:
        names = set(index.get("weight_map", {}).values())
    else:
        names = {name for name in _WEIGHTS if (checkpoint / name).is_file()}
    if names:
        return all(_readable(checkpoint / name) for name in names)
    return any(True for pattern in _SHARDED for _ in checkpoint.glob(pattern))


def _readable(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as tensors:
            return len(tensors.keys()) > 0
    except (OSError, SafetensorError):
        return False
