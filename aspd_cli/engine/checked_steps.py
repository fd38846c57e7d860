"""A faster way to run a step, beside the model's own, which it is compared with.

Shapes: n tokens of a step, N of what runs, V vocabulary.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from aspd_cli.engine.attention.step_plan import Plan, StepPlan
from aspd_cli.engine.kv_cache import LaneCache

_TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference of a logit, over the largest logit."""

Forward = Callable[[Tensor, int, LaneCache, Plan], Tensor]
"""((2, N) ids and positions, tokens to keep at the end, cache, plan) -> (N, V) logits"""


class CheckedSteps(ABC):
    """Runs the steps that suit it, and checks what it computes.

    The first, second, fourth, eighth ... step is run by the model as well and compared. Where they
    differ, or a step fails, the model runs all further steps, with a warning.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self.steps = 0
        """Steps that it ran."""
        self.refusal: str | None = None
        """Why it was given up."""

    def __str__(self) -> str:
        if self.refusal is not None:
            return f"the forward pass of the model; {self.name} are off ({self.refusal})"
        return f"{self.name} of the forward pass of the model"

    def __call__(
        self,
        fed: Tensor,
        last: Sequence[int],
        cache: LaneCache,
        plan: StepPlan,
        model: Callable[[], Tensor],
    ) -> Tensor:
        """(len(last), V) logits of a step.

        Args:
            fed: (2, n) ids and positions.
            last: which tokens sample.
            model: the same step by the model.
        """
        if self.refusal is not None or not self._suits(last, cache, plan):
            return model()
        self.steps += 1
        is_compared = self.steps & (self.steps - 1) == 0
        expected = model() if is_compared else None
        try:
            found = self._run(fed, last, cache, plan)
        except Exception as error:  # of any kind: any modeling code may run here
            lines = f"{type(error).__name__}: {error}".splitlines()
            return self._refuse(lines[0], model)
        if expected is None:
            return found
        off = float((found - expected).abs().max() / expected.abs().max())
        if not off <= _TOLERANCE.get(expected.dtype, 5e-2):
            return self._refuse(f"logits are off by {off:.2g} of the largest", model)
        return expected

    @abstractmethod
    def _suits(self, last: Sequence[int], cache: LaneCache, plan: StepPlan) -> bool:
        """Whether a step is one to be run this way."""

    @abstractmethod
    def _run(self, fed: Tensor, last: Sequence[int], cache: LaneCache, plan: StepPlan) -> Tensor:
        """(len(last), V) logits of a step."""

    def _refuse(self, reason: str, model: Callable[[], Tensor]) -> Tensor:
        self.refusal = reason
        logging.getLogger("aspd").warning(
            "aspd: %s are off for this model, decoding is slower: %s", self.name, reason
        )
        return model()  # puts right what the cache has got
