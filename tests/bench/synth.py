"""What the embedded model gets right, and how much sooner: the two tables of the README.

    python -m tests.bench.synth                      # both tables, about ten minutes on two cores
    python -m tests.bench.synth --prompts 40 --latency-prompts 8

Accuracy: exact match of the whole plain text on held-out prompts, parallel mode against the Seq
model (the serial base, trained on the same answers without blocks). Latency: one request at a time,
one process, the systems interleaved prompt by prompt, medians and bootstrap intervals of ratios.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from aspd_cli.core.chat import encode_prompt
from aspd_cli.core.metrics import Array, bootstrap
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.loading import load
from aspd_cli.files import EMBEDDED_MODEL
from aspd_cli.synth import QUESTION_FAMILIES, Example, examples

BUDGET = 700
console = Console(width=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=400, help="held-out prompts, all families")
    parser.add_argument("--latency-prompts", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--table", choices=("accuracy", "latency"), help="only this one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--base", default=str(EMBEDDED_MODEL / "base"))
    parser.add_argument("--adapter", default=str(EMBEDDED_MODEL / "adapter"))
    args = parser.parse_args()
    aspd = load(args.base, adapter=args.adapter, keep_stock=True)
    drawn = list(examples(args.prompts, split="test", seed=args.seed, families=QUESTION_FAMILIES))
    if args.table != "latency":
        accuracy(aspd, load(args.base), drawn)
    wide = [example for example in drawn if example.branches >= 4][: args.latency_prompts]
    if args.table != "accuracy":
        latency(aspd, Stock(aspd), wide, args.repeats)


def accuracy(aspd: Decoder, seq: Decoder, drawn: list[Example]) -> None:
    """Prints the first table."""
    questions = [example.question for example in drawn]
    batch = {"batch_size": 16, "max_new_tokens": BUDGET}
    answers = {
        "parallel": aspd.generate(questions, mode="parallel", **batch),
        "serial": aspd.generate(questions, mode="serial", **batch),
        "Seq model": seq.generate(questions, mode="plain", **batch),
    }
    table = Table(title=f"Exact answers on {len(drawn)} held-out prompts, percent [95% interval]")
    table.add_column("family")
    for name in (*answers, "forks", "same ids"):
        table.add_column(name, justify="right")
    for family in (*QUESTION_FAMILIES, "all"):
        chosen = [i for i, example in enumerate(drawn) if family in (example.family, "all")]
        row = [
            percent([answers[name][i].text == drawn[i].text for i in chosen]) for name in answers
        ]
        row.append(percent([answers["parallel"][i].stats.blocks > 0 for i in chosen]))
        same = [answers["parallel"][i].token_ids == answers["serial"][i].token_ids for i in chosen]
        table.add_row(family, *row, percent(same))
    console.print(table)
    wanted = [example.branches > 0 for example in drawn]
    forked = [out.stats.blocks > 0 for out in answers["parallel"]]
    console.print(
        f"forks where the right answer has a block: {percent(pick(forked, wanted))}, "
        f"where it has none: {percent(pick(forked, [not w for w in wanted]))}"
    )


def latency(aspd: Decoder, stock: "Stock", drawn: list[Example], repeats: int) -> None:
    """Prints the second table. Every system answers a prompt before the next prompt begins."""
    seconds: dict[str, list[float]] = defaultdict(list)  # system -> median over repeats, a prompt
    ideal = []
    decode(aspd, drawn[0].question, "parallel")  # warm up
    stock.generate(drawn[0].question, 8)
    for example in drawn:
        out = aspd.generate(example.question, mode="parallel", max_new_tokens=BUDGET)[0]
        ideal.append(out.stats.ideal_speedup)
        systems: dict[str, Callable[[], None]] = {
            "parallel": lambda q=example.question: decode(aspd, q, "parallel"),
            "serial": lambda q=example.question: decode(aspd, q, "serial"),
            "generate, same tokens": lambda q=example.question, n=out.stats.tokens: stock.generate(
                q, n
            ),
            "generate, plain text only": lambda q=example.question, n=out.stats.useful_tokens + 1: (
                stock.generate(q, n)
            ),
        }
        taken = defaultdict(list)
        for _ in range(repeats):
            for name, run in systems.items():
                began = time.perf_counter()
                run()
                taken[name].append(time.perf_counter() - began)
        for name, values in taken.items():
            seconds[name].append(statistics.median(values))
    table = Table(
        title=f"Whole answer, {len(drawn)} prompts with 4 or more branches, one at a time"
    )
    table.add_column("system")
    table.add_column("median s", justify="right")
    table.add_column("time / parallel [95% interval]", justify="right")
    for name, values in seconds.items():
        table.add_row(name, f"{statistics.median(values):.3f}", ratio(values, seconds["parallel"]))
    console.print(table)
    speedups = [s / p for s, p in zip(seconds["serial"], seconds["parallel"], strict=True)]
    shares = [s / i for s, i in zip(speedups, ideal, strict=True)]
    gain = ratio(seconds["generate, same tokens"], seconds["serial"])
    console.print(f"ideal speed-up (tokens / steps), median: {statistics.median(ideal):.2f}")
    console.print(f"measured over serial / ideal, median: {statistics.median(shares):.2f}")
    console.print(f"generate / our serial mode, same tokens: {gain}")


def decode(decoder: Decoder, question: str, mode: str) -> None:
    decoder.generate(question, mode=mode, max_new_tokens=BUDGET)


class Stock:
    """The same weights in transformers' own `generate`: greedy, sdpa, a fixed number of tokens."""

    def __init__(self, decoder: Decoder) -> None:
        self.codec = decoder.codec
        assert decoder.stock is not None
        self.model: Any = decoder.stock

    @torch.inference_mode()
    def generate(self, question: str, tokens: int) -> None:
        ids = torch.tensor([encode_prompt(self.codec, question)])
        out = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            pad_token_id=self.codec.tokenizer.eos_token_id,
        )
        assert out.shape[1] == ids.shape[1] + tokens


def pick(values: list[bool], chosen: list[bool]) -> list[bool]:
    return [value for value, take in zip(values, chosen, strict=True) if take]


def percent(hits: list[bool]) -> str:
    value, low, high = bootstrap([100.0 * hit for hit in hits])
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def ratio(above: list[float], below: list[float]) -> str:
    value, low, high = bootstrap([a / b for a, b in zip(above, below, strict=True)], median)
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def median(rows: Array) -> Array:
    return np.asarray(np.median(rows, axis=-1))


if __name__ == "__main__":
    main()
