"""What branches cost in training: building masks and positions, and a whole step.

    python -m tests.bench.training              # both tables, a few minutes on two cores
    python -m tests.bench.training --table masks

Masks: a batch of 4 x 4,096 tokens, from token trees to what the backbone takes, against the
definition written as a loop over tokens in plain Python; both must come to the same. Steps:
forward, backward and optimizer of `BranchTrainer` on branches, against TRL's `SFTTrainer` on the
same tokens without them (its own collator, a causal mask), one after the other, medians with 95%
intervals of the ratio.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from aspd_cli.core.layout import Layout, TokenBlock, TokenBranch, TokenTree, lay_out
from aspd_cli.core.metrics import Array, bootstrap
from aspd_cli.core.tokens import Codec
from aspd_cli.engine.loading import EMBEDDED
from aspd_cli.train.collator import BranchCollator
from aspd_cli.train.features import IGNORE
from aspd_cli.train.mask import masks
from aspd_cli.train.trainer import BranchTrainer

BATCH, TOKENS = 4, 4096
SHAPES: dict[str, tuple[dict[str, int], int, int]] = {
    "embedded model, 8 x 256": ({}, 8, 256),
    "embedded model, 4 x 1,024": ({}, 4, 1024),
    "embedded model, 1 x 4,096": ({}, 1, 4096),
    "2 layers as wide as Qwen2.5-0.5B, 1 x 1,024": (
        {
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 2,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
        },
        1,
        1024,
    ),
}
"""Name -> changes of the embedded model's configuration, records in a batch, tokens of each."""
console = Console(width=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", choices=("masks", "steps"), help="only this one")
    parser.add_argument("--repeats", type=int, default=11)
    args = parser.parse_args()
    codec = Codec(AutoTokenizer.from_pretrained(EMBEDDED / "base"))
    if args.table != "steps":
        mask_table(codec, args.repeats)
    if args.table != "masks":
        step_table(codec, args.repeats)


def mask_table(codec: Codec, repeats: int) -> None:
    """Prints the first table."""
    trees = [document(codec, TOKENS, seed) for seed in range(BATCH)]
    collate = BranchCollator(0)
    config = AutoConfig.from_pretrained(EMBEDDED / "base")
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
                length = len(content.title) + len(codec.separator) + 2 + len(content.content[0])
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


def step_table(codec: Codec, repeats: int) -> None:
    """Prints the second table."""
    table = Table(title="A training step, forward, backward and optimizer")
    for name in ("shape", "plain ms", "ASPD ms", "ASPD / plain [95% interval]"):
        table.add_column(name, justify="left" if name == "shape" else "right")
    for name, (changes, records, tokens) in SHAPES.items():
        rows = [row(lay_out(document(codec, tokens, seed), codec)) for seed in range(records)]
        with tempfile.TemporaryDirectory() as folder:
            branch = branch_step(codec, changes, rows, folder)
            plain = plain_step(codec, changes, rows, folder)
            pairs = interleaved(branch, plain, repeats)
        ours, theirs = zip(*pairs, strict=True)
        value, low, high = bootstrap([a / b for a, b in pairs], median)
        table.add_row(
            name,
            f"{1000 * statistics.median(theirs):.0f}",
            f"{1000 * statistics.median(ours):.0f}",
            f"{value:.2f} [{low:.2f}, {high:.2f}]",
        )
    console.print(table)
    console.print("target: at most 1.10")


def interleaved(
    branch: Callable[[], None], plain: Callable[[], None], repeats: int
) -> list[tuple[float, float]]:
    """(branch, plain) seconds of each round, after one round to warm up; the order alternates."""
    pairs = []
    for round_ in range(repeats + 1):
        order = (branch, plain) if round_ % 2 else (plain, branch)
        seconds = {step: timed(step)[1] for step in order}
        pairs.append((seconds[branch], seconds[plain]))
    return pairs[1:]


def branch_step(
    codec: Codec, changes: dict[str, int], rows: list[dict[str, Any]], folder: str
) -> Callable[[], None]:
    """One step of our trainer on `rows`, collating included."""
    trainer = BranchTrainer(
        model=new_model(changes),
        args=arguments(folder, len(rows), remove_unused_columns=False),
        train_dataset=dataset(rows),
        processing_class=codec.tokenizer,
        data_collator=BranchCollator(0),
    )
    return one_step(trainer, rows)


def plain_step(
    codec: Codec, changes: dict[str, int], rows: list[dict[str, Any]], folder: str
) -> Callable[[], None]:
    """One step of TRL's own trainer on the same tokens and labels."""
    taken = ("input_ids", "labels")
    plain = [{name: found[name] for name in taken} for found in rows]
    trainer = SFTTrainer(
        model=new_model(changes),
        args=arguments(folder, len(rows)),
        train_dataset=dataset(plain),
        processing_class=codec.tokenizer,
    )
    return one_step(trainer, plain)


def one_step(trainer: Any, rows: list[dict[str, Any]]) -> Callable[[], None]:
    trainer.create_optimizer()
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1  # what `train` sets before the first step

    def step() -> None:
        batch = trainer.data_collator(rows)
        trainer.training_step(trainer.model, batch)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()

    return step


def arguments(folder: str, batch: int, **more: Any) -> SFTConfig:
    return SFTConfig(
        output_dir=folder,
        per_device_train_batch_size=batch,
        bf16=False,
        activation_checkpointing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        report_to="none",
        use_cpu=True,
        **more,
    )


def dataset(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list([{**found, "length": len(found["input_ids"])} for found in rows])


def new_model(changes: dict[str, int]) -> Any:
    """The embedded model's architecture with other sizes, and random weights."""
    config = AutoConfig.from_pretrained(EMBEDDED / "base")
    config.update({**changes, "max_position_embeddings": TOKENS})
    if changes:
        config.layer_types = (
            config.layer_types and config.layer_types[:1] * config.num_hidden_layers
        )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.float32)


def document(codec: Codec, tokens: int, seed: int) -> TokenTree:
    """A tree that is laid out as `tokens` tokens: serial texts and blocks of 2 to 8 branches."""
    rng = np.random.default_rng(seed)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(rng.integers(200, len(codec.tokenizer), length).tolist())

    parts: list[Any] = []
    left = tokens
    while left > 0:
        text, branches, inside = int(rng.integers(8, 40)), int(rng.integers(2, 9)), tokens // 64
        titles = [ids(2) for _ in range(branches)]
        block = TokenBlock(
            tuple(titles),
            tuple(
                TokenBranch(t, (ids(int(rng.integers(inside, 2 * inside)) + 4),)) for t in titles
            ),
        )
        size = text + len(lay_out((block,), codec))
        if size > left:
            parts.append(ids(left))
            break
        parts += [ids(text), block]
        left -= size
    return tuple(parts)


def row(found: Layout) -> dict[str, Any]:
    """What the dataset holds of a record."""
    return {
        "input_ids": found.input_ids,
        "position_ids": found.position_ids,
        "labels": found.labels(IGNORE),
        "lanes": found.lanes,
        "sees": found.sees,
    }


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    result = run()
    return result, time.perf_counter() - began


def median(rows: Array) -> Array:
    return np.asarray(np.median(rows, axis=-1))


if __name__ == "__main__":
    main()
