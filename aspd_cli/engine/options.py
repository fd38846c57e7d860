"""How to decode: one frozen set of options a call, names as transformers' `generate` has them."""

from dataclasses import dataclass
from math import inf
from typing import Literal

from aspd_cli.core.markup import MAX_DEPTH
from aspd_cli.errors import UsageError

Mode = Literal["parallel", "serial", "plain"]


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """Raises `UsageError` when a value is out of range."""

    mode: Mode = "parallel"
    """parallel: branches together. serial: the same grammar, one by one. plain: no blocks."""
    system: str | None = None
    """System prompt, put before prompts that have none."""
    max_new_tokens: int = 1024
    """Budget of an answer in tokens, forced ones included."""
    max_branch_tokens: int | None = None
    """Budget of each branch's own text in tokens; None: only `max_new_tokens` binds."""
    temperature: float = 0.0
    """0 is greedy."""
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    """Over the tokens that the lane sees; control tokens are exempt."""
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these strings; a single one may stand for the tuple."""
    seed: int = 0
    """A sampled text depends on the seed and the prompt, not on batch or schedule."""
    draft: bool = True
    """Whether likely next tokens are checked in the same step; no text depends on it."""
    max_branches: int = 16
    """Most titles of a block."""
    max_title_tokens: int = 32
    max_depth: int | None = None
    """How deep blocks may nest; None: as the model was trained."""

    def __post_init__(self) -> None:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        object.__setattr__(self, "stop", stop)
        for name in ("temperature", "top_p", "min_p", "repetition_penalty"):
            if (value := getattr(self, name)) is not None:  # transformers refuses integers
                object.__setattr__(self, name, float(value))
        checks = {
            "mode must be parallel, serial or plain": self.mode in ("parallel", "serial", "plain"),
            "max_new_tokens must be at least 1": self.max_new_tokens >= 1,
            "max_branch_tokens must be at least 1": (self.max_branch_tokens or 1) >= 1
            and self.max_branch_tokens != 0,
            "temperature must be a number from 0 (greedy) up": 0 <= self.temperature < inf,
            "top_k must be at least 1": self.top_k is None or self.top_k >= 1,
            "top_p must lie in (0, 1]": self.top_p is None or 0 < self.top_p <= 1,
            "min_p must lie in [0, 1]": self.min_p is None or 0 <= self.min_p <= 1,
            "repetition_penalty must be a positive number": 0 < self.repetition_penalty < inf,
            "a stop string must not be empty": all(self.stop),
            "max_branches must be at least 2": self.max_branches >= 2,
            "max_title_tokens must be at least 1": self.max_title_tokens >= 1,
            f"max_depth must lie in 1 to {MAX_DEPTH}": self.max_depth is None
            or 1 <= self.max_depth <= MAX_DEPTH,
        }
        for sentence, holds in checks.items():
            if not holds:
                raise UsageError(f"{sentence}, not {getattr(self, sentence.split()[0], '')!r}")
