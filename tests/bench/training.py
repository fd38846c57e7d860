"""What branches cost in training: a whole step, with and without them.

    python -m tests.bench.training              # a few minutes on two cores

Forward, backward and optimizer of `BranchTrainer` on branches, against TRL's `SFTTrainer` on the
same tokens without them (its own collator, a causal mask), one after the other, medians with 95%
intervals of the ratio. `tests.bench.masks` times the masks alone.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import lay_out
from aspd_cli.core.metrics import Array, bootstrap
from aspd_cli.files import EMBEDDED_MODEL
from aspd_cli.train import branch_mask
from aspd_cli.train.batching import BranchCollator
from aspd_cli.train.trainer import BranchTrainer
from tests.bench.branched import document, row, timed

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
    parser.add_argument("--repeats", type=int, default=11)
    args = parser.parse_args()
    step_table(Codec(AutoTokenizer.from_pretrained(EMBEDDED_MODEL / "base")), args.repeats)


def step_table(codec: Codec, repeats: int) -> None:
    """Prints the table."""
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
    model = new_model(changes)
    model.set_attn_implementation(branch_mask.implementation(model.config))
    trainer = BranchTrainer(
        model=model,
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
    config = AutoConfig.from_pretrained(EMBEDDED_MODEL / "base")
    config.update({**changes, "max_position_embeddings": 4096})
    if changes:
        config.layer_types = (
            config.layer_types and config.layer_types[:1] * config.num_hidden_layers
        )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.float32)


def median(rows: Array) -> Array:
    return np.asarray(np.median(rows, axis=-1))


if __name__ == "__main__":
    main()
