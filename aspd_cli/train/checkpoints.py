"""Which checkpoint a run goes on from: the newest one that was written to the end."""

from pathlib import Path

_PARTS = ("trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth")
_WEIGHTS = ("model.safetensors", "adapter_model.safetensors")


def newest_complete(run: Path) -> Path | None:
    """The newest complete checkpoint of a run directory, or None.

    A run killed while it saves leaves a directory that transformers would resume from without its
    optimizer and without a word.
    """
    found = sorted(run.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    return next((path for path in reversed(found) if _complete(path)), None)


def _complete(checkpoint: Path) -> bool:
    if not all((checkpoint / part).is_file() for part in _PARTS):
        return False
    weights = [checkpoint / name for name in _WEIGHTS if (checkpoint / name).is_file()]
    return bool(weights) and all(_readable(path) for path in weights)


def _readable(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as tensors:
            return len(tensors.keys()) > 0
    except (OSError, SafetensorError):
        return False
