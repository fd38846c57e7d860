"""Muon for hidden matrices and AdamW for the rest, in one optimizer that checkpoints as one.

Muon (Jordan et al. 2024) replaces the momentum of a matrix by the nearest orthogonal one, found
with five Newton-Schulz steps. `torch.optim.Muon` takes matrices only and iterates in bfloat16,
which is slow on most CPUs; here it is float32, and matrices of one shape go together.
The update has the root mean square of an AdamW update (Liu et al. 2025), so that both halves share
one learning rate and weight decay.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5
_RMS = 0.2
"""Root mean square of a typical AdamW update, in units of the learning rate."""


class MuonAdamW(Optimizer):
    """Muon on groups with `muon=True`, AdamW on the others."""

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "eps": eps,
            "muon": False,
        }
        super().__init__(groups, defaults)

    @classmethod
    def of(cls, model: nn.Module, **settings: Any) -> "MuonAdamW":
        """Muon on every trained linear weight but the output head, AdamW on all others."""
        head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
        matrices = {
            id(module.weight)
            for module in model.modules()
            if isinstance(module, nn.Linear) and module is not head
        }
        trained = [p for p in model.parameters() if p.requires_grad]
        hidden = [p for p in trained if id(p) in matrices]
        tables = [p for p in trained if id(p) not in matrices and p.ndim > 1]
        vectors = [p for p in trained if p.ndim < 2]
        groups: list[dict[str, Any]] = [
            {"params": hidden, "muon": True},
            {"params": tables},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return cls([group for group in groups if group["params"]], **settings)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; parameters without a gradient stay as they are."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            for p in params:
                p.mul_(1 - group["lr"] * group["weight_decay"])
            if group["muon"]:
                self._muon(params, group)
            else:
                self._adamw(params, group)
        return loss

    def _muon(self, params: list[Tensor], group: dict[str, Any]) -> None:
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for p in params:
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p)
            momentum = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
            by_shape[p.shape].append((p, p.grad.lerp(momentum, group["momentum"])))  # Nesterov
        for shape, pairs in by_shape.items():
            updates = orthogonal(torch.stack([update for _, update in pairs]))
            rate = group["lr"] * _RMS * max(shape) ** 0.5
            for (p, _), update in zip(pairs, updates, strict=True):
                p.add_(update, alpha=-rate)

    def _adamw(self, params: list[Tensor], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        for p in params:
            state = self.state[p]
            if not state:
                state["step"] = torch.zeros(())
                state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
            state["step"] += 1
            step = state["step"].item()
            mean = state["mean"].lerp_(p.grad, 1 - beta1)
            square = state["square"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
            spread = (square / (1 - beta2**step)).sqrt_().add_(group["eps"])
            p.addcdiv_(mean, spread, value=-group["lr"] / (1 - beta1**step))


def orthogonal(matrices: Tensor) -> Tensor:
    """(N, rows, columns) each with its singular values moved to about one (0.7 to 1.2)."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
