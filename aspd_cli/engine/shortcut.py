"""Steps past the model's modules: when that starts, and the proof that nothing changes by it.

Noting a step (`engine.graph`) costs as much as some hundred steps, so it is done once that many
were run, in whatever answer that is. From then on the first, second, fourth, eighth ... step is run
both ways and compared; where they differ, or the model cannot be noted, the modules run as before.

Shapes: N tokens of a step, n of them that sample, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from aspd_cli.engine.attention import attend
from aspd_cli.engine.cache import LaneCache
from aspd_cli.engine.fixed import FixedSteps
from aspd_cli.engine.graph import Step, note
from aspd_cli.engine.plan import Plan, StepPlan, step

_TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference of a logit, over the largest logit."""


class Shortcut:
    """A model's steps by the shorter way, where it is as good.

    Args:
        model: with the engine's attention.
        after: steps that are run by the modules first.
        fixed: whether steps are laid out in fixed shapes then, as a GPU wants them.
    """

    def __init__(self, model: Any, after: int = 200, fixed: bool = False) -> None:
        self.model, self.after = model, after
        self.fixed = FixedSteps(self._noted) if fixed else None
        self.steps = 0
        """Steps so far, either way."""
        self.refusal: str | None = None
        """Why the modules run all steps, when they do."""
        self._step: Step | None = None
        self._cache: LaneCache | None = None
        self._windows: frozenset[int | None] = frozenset()

    @property
    def is_taken(self) -> bool:
        """Whether steps go this way by now."""
        return self._step is not None and self.refusal is None

    def hasten(self) -> None:
        """Starts with the next step: who is about to take times must not time the start."""
        self.after = min(self.after, self.steps)

    def __str__(self) -> str:
        if self.refusal is not None:
            return f"steps: by the model's modules, because they cannot be noted ({self.refusal})"
        if not self.is_taken:
            return "steps: by the model's modules"
        return "steps: as noted, in fixed shapes" if self.fixed else "steps: as noted"

    def __call__(
        self,
        fed: Tensor,
        last: Sequence[int],
        cache: LaneCache,
        plan: StepPlan,
        modules: Callable[[], Tensor],
    ) -> Tensor:
        """(n, V) logits of a step.

        Args:
            fed: (2, N) ids and positions.
            last: (n) which tokens sample.
            modules: the step by the model's modules.
        """
        self.steps += 1
        run = self.steps - self.after
        if run <= 0 or self.refusal is not None or not last:
            return modules()
        try:
            if self._step is None:
                self._step = note(self.model, self._attend)
            if run & (run - 1):
                return self._run(fed, last, cache, plan)
            expected, found = modules(), self._run(fed, last, cache, plan)
        except Exception as error:  # whatever the tracer makes of modeling code
            self.refusal = f"{type(error).__name__}: {error}".splitlines()[0]
            return modules()
        off = float((found - expected).abs().max() / expected.abs().max())
        if not off <= _TOLERANCE.get(expected.dtype, 5e-2):
            self.refusal = f"logits are off by {off:.2g} of the largest"
            return modules()  # puts right what the cache has got
        return expected

    def _run(self, fed: Tensor, last: Sequence[int], cache: LaneCache, plan: StepPlan) -> Tensor:
        if self.fixed:
            self._windows |= plan.windows  # all of them, once the modules have run a step
            logits = self.fixed(fed, last, cache, plan, self._windows)
            if logits is not None:
                return logits
        return self._noted(fed, torch.tensor(last, device=fed.device), cache, plan)

    def _noted(self, fed: Tensor, keep: Tensor, cache: LaneCache, plan: Plan) -> Tensor:
        assert self._step is not None
        self._cache = cache
        try:
            with step(plan):
                return self._step(fed[:1], fed[1:], keep, fed.shape[1])[0]
        finally:
            self._cache = None

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        layer: int,
        scaling: float | None,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        assert self._cache is not None
        keys, values = self._cache.update(key, value, layer)
        return attend(query, keys, values, scaling, window, softcap)
