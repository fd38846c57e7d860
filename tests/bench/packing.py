"""Training without padding: useful tokens a second, against TRL's packing on the same answers.

    python -m tests.bench.packing                              # the embedded model, a few minutes
    python -m tests.bench.packing train.jsonl --model DIR --lora 32 --records 24

Ours trains the answers with their blocks: rows of several records (`training.packing`), and padded
ones. TRL's `SFTTrainer(packing=True)` trains their plain texts in rows of `--row` tokens. Forward,
backward and optimizer, collating included, in turn, in seconds of CPU time. Useful tokens are those
of the plain texts of the answers, for all three.

A second table says by arithmetic what a GPU computes for them: operations of the linear layers, and
of the pairs of tokens that an attention kernel visits (flex_attention in blocks of 128).
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.nn.attention.flex_attention import create_block_mask
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTTrainer

from aspd_cli.core.chat import end_of_turn
from aspd_cli.core.codec import Codec, add_control_tokens
from aspd_cli.core.markup import plain, render
from aspd_cli.core.parser import parse
from aspd_cli.files import EMBEDDED_MODEL
from aspd_cli.recipe.training import LoraSection
from aspd_cli.synth import QUESTION_FAMILIES, examples
from aspd_cli.train import branch_mask
from aspd_cli.train.adapter import lora_config
from aspd_cli.train.batching import BranchCollator, LengthSampler
from aspd_cli.train.features import features
from aspd_cli.train.trainer import BranchTrainer
from tests.bench.training import arguments, dataset

PACKED, PADDED, TRL = "ours, rows of records", "ours, padded", "TRL, packing=True"
SHAPES = {"SmolLM2-135M": (30, 576, 106e6), "Qwen2.5-7B": (28, 3584, 6.5e9)}
"""Layers, width of the queries, parameters of the linear layers."""
COLUMNS = ("input_ids", "position_ids", "labels", "lanes", "sees")
console = Console(width=130)
Step = Callable[[Any], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("answers", nargs="?", help="what aspd transform wrote; default: synth")
    parser.add_argument("--model", default=str(EMBEDDED_MODEL / "base"))
    parser.add_argument("--layers", type=int, help="the first layers only; default: all")
    parser.add_argument("--lora", type=int, default=0, help="rank; 0: all weights")
    parser.add_argument("--records", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4, help="records a batch")
    parser.add_argument("--row", type=int, default=1024, help="tokens of a row of TRL")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    add_control_tokens(tokenizer)
    codec = Codec(tokenizer)
    chosen, rows = records(codec, args)
    useful = sum(len(codec.encode(answer(record))) for record in chosen)
    with tempfile.TemporaryDirectory() as folder:
        passes = {
            PACKED: ours(args, codec, rows, folder, packing=True),
            PADDED: ours(args, codec, rows, folder, packing=False),
            TRL: theirs(args, codec, chosen, folder),
        }
        seconds = interleaved(passes, args.repeats)
    speed_table(seconds, useful, len(rows))
    arithmetic_table(rows, [features(r, codec, end_of_turn(codec), "serial") for r in chosen], args)


def records(codec: Codec, args: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The first records that fit into a row, and the same as tokens."""
    end = end_of_turn(codec)
    found = ((record, features(record, codec, end)) for record in read(args.answers))
    fit = ((record, row) for record, row in found if row["length"] <= args.row)
    pairs = list(islice(fit, args.records))
    return [record for record, _ in pairs], [row for _, row in pairs]


def read(source: str | None) -> Iterator[dict[str, Any]]:
    if source is not None:
        for line in Path(source).read_text(encoding="utf-8").splitlines():
            yield {name: json.loads(line)[name] for name in ("prompt", "completion")}
        return
    for each in examples(10_000, families=QUESTION_FAMILIES):
        prompt = [{"role": "user", "content": each.question}]
        text = render(each.answer)
        yield {"prompt": prompt, "completion": [{"role": "assistant", "content": text}]}


def answer(record: dict[str, Any]) -> str:
    """The plain text of its answer."""
    return plain(parse(record["completion"][-1]["content"]))


def interleaved(passes: dict[str, tuple[Step, list[Any]]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each pass over the records; the systems take turns, batch by batch."""
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for step, batches in passes.values():
        step(batches[0])
    for _ in range(repeats):
        spent = dict.fromkeys(passes, 0.0)
        for at in range(max(len(batches) for _, batches in passes.values())):
            for name, (step, batches) in passes.items():
                if at < len(batches):
                    began = time.process_time()
                    step(batches[at])
                    spent[name] += time.process_time() - began
        for name, value in spent.items():
            seconds[name].append(value)
    return seconds


def ours(
    args: Any, codec: Codec, rows: list[dict[str, Any]], folder: str, *, packing: bool
) -> tuple[Step, list[Any]]:
    """Our step, and the batches of a pass."""
    model = load(args, codec)
    model.set_attn_implementation(branch_mask.implementation(model.config))
    data = dataset([{name: row[name] for name in COLUMNS} for row in rows]).with_format("numpy")
    trainer = BranchTrainer(
        model=model,
        args=arguments(folder, args.batch, remove_unused_columns=False),
        train_dataset=data,
        processing_class=codec.tokenizer,
        data_collator=BranchCollator(0, packing),
        peft_config=adapter(args, model, codec),
    )
    order = list(LengthSampler([row["length"] for row in rows], args.batch, 0))
    batches = [order[at : at + args.batch] for at in range(0, len(order), args.batch)]
    return step_of(trainer, data), batches


def theirs(
    args: Any, codec: Codec, chosen: list[dict[str, Any]], folder: str
) -> tuple[Step, list[Any]]:
    """The step of TRL's own trainer, and its rows."""
    from datasets import Dataset

    texts = [
        {**record, "completion": [{"role": "assistant", "content": answer(record)}]}
        for record in chosen
    ]
    model = load(args, codec)
    options = arguments(folder, 1, packing=True)
    options.max_length, options.dataset_kwargs = args.row, None
    trainer = SFTTrainer(
        model=model,
        args=options,
        train_dataset=Dataset.from_list(texts),
        processing_class=codec.tokenizer,
        peft_config=adapter(args, model, codec),
    )
    return step_of(trainer, trainer.train_dataset), [
        [at] for at in range(len(trainer.train_dataset))
    ]


def load(args: Any, codec: Codec) -> Any:
    fewer = {"num_hidden_layers": args.layers} if args.layers else {}
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32, **fewer)
    if len(codec.tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(codec.tokenizer), mean_resizing=False)
    return model


def adapter(args: Any, model: Any, codec: Codec) -> Any:
    return lora_config(LoraSection(r=args.lora), model, codec) if args.lora else None


def step_of(trainer: Any, data: Any) -> Step:
    """Forward, backward and optimizer on the records of these indices, fetched and collated."""
    trainer.create_optimizer()
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1  # what `train` sets before the first step
    head = trainer.model.get_output_embeddings()
    if not hasattr(head, "bias"):  # TRL's fused head reads it; BranchTrainer sees to it
        head.bias = None

    def step(indices: Sequence[int]) -> None:
        trainer.training_step(trainer.model, trainer.data_collator(data.__getitems__(indices)))
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()

    return step


def speed_table(seconds: dict[str, list[float]], useful: int, number: int) -> None:
    table = Table(title=f"Training on {number} answers, {useful} useful tokens, medians")
    for name in ("", "useful tokens a second", "over TRL [each pass]"):
        table.add_column(name, justify="right" if name else "left")
    for name, spent in seconds.items():
        gains = [b / a for a, b in zip(spent, seconds[TRL], strict=True)]
        each = ", ".join(f"{gain:.2f}" for gain in gains)
        rate = useful / statistics.median(spent)
        table.add_row(name, f"{rate:.1f}", f"{statistics.median(gains):.2f} [{each}]")
    console.print(table)
    console.print("target: rows of records at least 0.90 of TRL")


def arithmetic_table(rows: list[dict[str, Any]], serial: list[dict[str, Any]], args: Any) -> None:
    """Operations of a forward pass for the same answers, relative to TRL with FlashAttention."""
    lengths, plain_lengths = ([row["length"] for row in each] for each in (rows, serial))
    order = list(LengthSampler(lengths, args.batch, 0))
    batches = [order[at : at + args.batch] for at in range(0, len(order), args.batch)]
    packs = [[rows[at] for at in batch] for batch in batches]
    width = [max(lengths[at] for at in batch) for batch in batches]
    kinds = {
        "TRL, FlashAttention": (sum(plain_lengths), sum(n * n / 2 for n in plain_lengths)),
        "TRL, sdpa, rows as long as ours": (sum(plain_lengths), dense(plain_lengths, batches)),
        "ours, padded, sdpa": (
            sum(w * len(b) for w, b in zip(width, batches, strict=True)),
            sum(w * w * len(b) for w, b in zip(width, batches, strict=True)),
        ),
        "ours, rows of records, sdpa": (sum(lengths), sum(map(record_pairs, rows))),
        "ours, rows of records, flex_attention": (sum(lengths), sum(map(flex_pairs, packs))),
    }
    table = Table(title="Operations by arithmetic: useful tokens for as many, over TRL's")
    table.add_column("")
    for name in ("tokens", "pairs", *SHAPES):
        table.add_column(name, justify="right")
    first = kinds["TRL, FlashAttention"]
    for name, (tokens, pairs) in kinds.items():
        gains = [
            operations(shape, *first) / operations(shape, tokens, pairs)
            for shape in SHAPES.values()
        ]
        table.add_row(
            name, f"{tokens:,}", f"{pairs / 1e6:,.1f} M", *(f"{gain:.2f}" for gain in gains)
        )
    console.print(table)


def operations(shape: tuple[int, int, float], tokens: int, pairs: float) -> float:
    layers, width, parameters = shape
    return 2 * parameters * tokens + 4 * layers * width * pairs


def record_pairs(row: dict[str, Any]) -> float:
    """Pairs of a record by itself: without a block the kernel is causal."""
    return row["length"] ** 2 / (1 if row["depth"] else 2)


def dense(lengths: list[int], batches: list[list[int]]) -> int:
    """Pairs of rows whose kernel visits what stands between records as well."""
    return sum(sum(lengths[at] for at in batch) ** 2 for batch in batches)


def flex_pairs(rows: list[dict[str, Any]]) -> int:
    """Pairs of tokens in the blocks that flex_attention computes for a row of records."""
    batch = BranchCollator(0, packing=True)(rows)
    names = ("lanes", "sees", "position_ids")
    rule = branch_mask.flex_rule(*(batch[name] for name in names), None, batch["records"])
    size = batch["lanes"].shape[1]
    mask = create_block_mask(rule, 1, None, size, size, device="cpu")
    blocks = mask.kv_num_blocks.sum() + mask.full_kv_num_blocks.sum()
    return int(blocks) * 128 * 128


if __name__ == "__main__":
    main()
