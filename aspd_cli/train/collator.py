"""Batches: records padded to one length, with what is needed to build their masks on the device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aspd_cli.core.visibility import pad_sees
from aspd_cli.train.features import IGNORE


@dataclass(frozen=True, slots=True)
class BranchCollator:
    """Pads B records on the right to T tokens and L lanes."""

    pad_token_id: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask`, `position_ids`, `labels`, `lanes` and `sees`.

        All are (B, T) but `sees`, (B, L, L). `attention_mask` only says which tokens are real, for
        whoever counts them; who sees whom follows from `lanes` (-1 is padding) and `sees`.
        """
        return {
            "input_ids": _padded(rows, "input_ids", self.pad_token_id),
            "attention_mask": _padded(rows, "lanes", -1).ge(0).long(),
            "position_ids": _padded(rows, "position_ids", 0),
            "labels": _padded(rows, "labels", IGNORE),
            "lanes": _padded(rows, "lanes", -1),
            "sees": torch.from_numpy(pad_sees([np.asarray(row["sees"], bool) for row in rows])),
        }


def _padded(rows: Sequence[dict[str, Any]], column: str, fill: int) -> Tensor:
    """(B, T) one column of all rows."""
    out = np.full((len(rows), max(len(row[column]) for row in rows)), fill, dtype=np.int64)
    for padded, row in zip(out, rows, strict=True):
        padded[: len(row[column])] = row[column]
    return torch.from_numpy(out)
