"""Masks and positions of a batch against the definition, written as a loop over tokens.

    python -m tests.bench.masks

From token trees to what the backbone takes; both must come to the same.
"""

import statistics
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import TokenBlock, TokenTree, lay_out
from aspd_cli.files import EMBEDDED_MODEL
from aspd_cli.train.batching import BranchCollator
from aspd_cli.train.branch_mask import masks
from tests.bench.branched import document, row, timed

BATCH, TOKENS = 4, 4096
console = Console(width=130)


def mask_table(codec: Codec, repeats: int = 11) -> None:
    """Prints what each part takes."""
    trees = [document(codec, TOKENS, seed) for seed in range(BATCH)]
    collate = BranchCollator(0)
    config = AutoConfig.from_pretrained(EMBEDDED_MODEL / "base")
    config._attn_implementation = "sdpa"
    taken: dict[str, list[float]] = {"positions and lanes": [], "batch": [], "masks": []}
    for _ in range(repeats):
        laid_out, seconds = timed(lambda: [lay_out(tree, codec) for tree in trees])
        taken["positions and lanes"].append(seconds)
        rows = [row(found) for found in laid_out]
        batch, seconds = timed(lambda rows=rows: collate(rows))
        taken["batch"].append(seconds)
        mask, seconds = timed(lambda batch=batch: backbone_mask(config, batch))
        taken["masks"].append(seconds)
    (want, seen), plain = timed(lambda: by_definition(trees, codec))
    assert want == [found.position_ids.tolist() for found in laid_out]
    assert all(np.array_equal(a, b) for a, b in zip(seen, mask[:, 0].numpy(), strict=True))

    shape = " x ".join(map(str, batch["input_ids"].shape))
    table = Table(title=f"A batch of {shape} tokens, {int(batch['lanes'].max()) + 1} lanes at most")
    table.add_column("what")
    table.add_column("median ms", justify="right")
    for name, values in taken.items():
        table.add_row(name, f"{1000 * statistics.median(values):.1f}")
    total = statistics.median(map(sum, zip(*taken.values(), strict=True)))
    table.add_row("all", f"{1000 * total:.1f}", end_section=True)
    table.add_row("a Python loop over tokens, once", f"{1000 * plain:.0f}")
    console.print(table)
    console.print(f"{plain / total:.0f} times sooner; target: under 50 ms")


def backbone_mask(config: Any, batch: dict[str, Tensor]) -> Tensor:
    """(B, 1, T, T)"""
    made = masks(config, batch["lanes"], batch["sees"], batch["position_ids"], torch.float32)
    return made["full_attention"] if isinstance(made, dict) else made


def by_definition(trees: list[TokenTree], codec: Codec) -> tuple[list[list[int]], list[Any]]:
    """Positions and visibility of documents with blocks of depth one, token by token."""
    positions, visible = [], []
    for tree in trees:
        at, where, places = 0, [], []  # place: (block, branch) of a token, None in serial text
        for number, part in enumerate(tree):
            if not isinstance(part, TokenBlock):
                for _ in part:
                    where.append(at)
                    places.append(None)
                    at += 1
                continue
            for _ in range(sum(len(title) + 2 for title in part.titles) + 1):
                where.append(at)
                places.append(None)
                at += 1
            start = at
            for branch, content in enumerate(part.branches):
                length = len(content.lead) + 2 + len(content.content[0])
                for offset in range(length):
                    where.append(start + offset)
                    places.append((number, branch))
                at += length
            where.append(at)
            places.append(None)
            at += 1
        seen = [
            [
                j <= i
                and not (
                    places[i] is not None
                    and places[j] is not None
                    and places[i][0] == places[j][0]
                    and places[i][1] != places[j][1]
                )
                for j in range(len(places))
            ]
            for i in range(len(places))
        ]
        positions.append(where)
        visible.append(np.array(seen))
    return positions, visible


if __name__ == "__main__":
    mask_table(Codec(AutoTokenizer.from_pretrained(EMBEDDED_MODEL / "base")))
