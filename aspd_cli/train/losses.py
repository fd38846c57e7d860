"""Losses by kind of token: how well a model forks, titles, writes branches and serial text.

Shapes: N records in B rows of T tokens, K kinds.
"""

from typing import Any

import torch
from torch import Tensor

from aspd_cli.core.codec import ControlIds
from aspd_cli.core.visibility import MAIN
from aspd_cli.train.features import IGNORE

KINDS = ("serial", "title", "branch")
"""serial: text of the main lane, its end of turn, and a prompt that is learnt too. title: title
lists with their control tokens, up to `<|para|>`. branch: contents of branches and `<|/branch|>`.
"""


def kinds_of(input_ids: Tensor, lanes: Tensor, control: ControlIds | None) -> Tensor:
    """(B, T) the index in `KINDS` of every token. `control`: None where there are no blocks."""
    branch = (lanes > MAIN).long() * KINDS.index("branch")
    if control is None:
        return branch
    opened = (input_ids == control.title).cumsum(1) - (input_ids == control.title_end).cumsum(1)
    title = (opened > 0) | (input_ids == control.title_end) | (input_ids == control.para)
    return branch.masked_fill(title, KINDS.index("title"))


def loss_sums(log_probs: Tensor, batch: dict[str, Any], control: ControlIds | None) -> Tensor:
    """(N, K, 2) negative log-likelihood and number of predicted tokens of each record and kind.

    Args:
        log_probs: (B, T - 1) of the tokens 1 to T - 1, zero where there is no label.
    """
    taken = batch["labels"][:, 1:] != IGNORE
    kind = kinds_of(batch["input_ids"], batch["lanes"], control)[:, 1:]
    cell = batch["records"][:, 1:] * len(KINDS) + kind  # (B, T - 1)
    values = torch.stack([-log_probs.float(), taken.float()], dim=-1) * taken[..., None]
    sums = values.new_zeros(len(batch["sees"]) * len(KINDS), 2)
    return sums.index_add_(0, cell.flatten(), values.flatten(0, 1)).view(-1, len(KINDS), 2)


def loss_means(total: Tensor) -> dict[str, float]:
    """`loss` over all tokens, and `loss_KIND` for each kind that occurs, from (K, 2) sums."""
    out = {"loss": float(total[:, 0].sum() / total[:, 1].sum().clamp(min=1))}
    for name, (loss, number) in zip(KINDS, total.tolist(), strict=True):
        if number:
            out[f"loss_{name}"] = loss / number
    return out
