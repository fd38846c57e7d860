"""What `tests.bench.speed` times: steps, whole answers, transformers; and how they take turns."""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from aspd_cli.core.layout import TokenBlock, TokenBranch, TokenTree
from aspd_cli.core.visibility import MAIN
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.events import Done, Output
from aspd_cli.engine.forced_tokens import Script
from aspd_cli.engine.kv_cache import Feed, LaneCache
from aspd_cli.engine.loading import load
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.sampler import Draw, Sampler
from aspd_cli.evaluate.replay import random_decoder

HALF_B = """
{"model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
 "num_key_value_heads": 2, "intermediate_size": 4864, "vocab_size": 151936,
 "tie_word_embeddings": true, "max_position_embeddings": 32768}
"""
SEVEN_B = """
{"model_type": "qwen2", "hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28,
 "num_key_value_heads": 4, "intermediate_size": 18944, "vocab_size": 152064,
 "tie_word_embeddings": false, "max_position_embeddings": 32768}
"""
RANDOM = {"0.5b": (HALF_B, "cpu", "float32"), "7b": (SEVEN_B, "cuda", "bfloat16")}
"""Shapes with random weights: configuration, device, type."""
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
AHEAD = 8
"""Steps of some lanes after which they start again from their context."""
Call = Callable[[], object]
console = Console(width=110)


class Bench:
    """A shape's decoder, and the clock and patience of this run."""

    def __init__(self, shape: str, args: argparse.Namespace) -> None:
        self.shape, self.clock, self.documents = shape, CLOCKS[args.clock], args.documents
        self.rounds = args.rounds or (15 if shape == "tiny" else 3)
        if shape == "tiny":
            self.decoder = load(device="cpu", keep_stock=True)
        else:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "config.json"
                config, *where = RANDOM[shape]
                file.write_text(config)
                self.decoder, _ = random_decoder(str(file), None, *where, keep_stock=True)

    def time(self, calls: Mapping[Any, Call], rounds: int | None = None) -> dict[Any, list[float]]:
        """Seconds of each call; they take turns."""
        seconds = defaultdict(list)
        for call in calls.values():
            call()  # warm up
        for _ in range(rounds or self.rounds):
            for name, call in calls.items():
                if isinstance(call, Steps):
                    call.renew()
                began = self.clock()
                call()
                seconds[name].append(self.clock() - began)
        return seconds

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        how = f"linear layers: {self.decoder.kernels}"
        table = Table(title=f"{title} ({self.shape}, {how})", title_justify="left")
        for name in columns:
            table.add_column(name, justify="left" if name == columns[0] else "right")
        for row in rows:
            table.add_row(*map(str, row))
        console.print(table)


def ms(seconds: Sequence[float]) -> str:
    return f"{1e3 * statistics.median(seconds):.2f} [{1e3 * min(seconds):.2f}]"


def over(above: Sequence[float], below: Sequence[float]) -> str:
    """Ratio of the medians, in brackets that of the least."""
    return (
        f"{statistics.median(above) / statistics.median(below):.2f} [{min(above) / min(below):.2f}]"
    )


class Steps:
    """Decode steps of some lanes after a context, one token each: cache, forward pass, sampling."""

    def __init__(self, decoder: Decoder, lanes: int, context: int) -> None:
        self.decoder, self.count, self.context = decoder, lanes, context
        self.start()
        options = GenerationOptions()
        self.sampler = Sampler(
            decoder.runner.vocabulary, decoder.device, decoder.runner.unnamed_ids
        )
        grammar = decoder.open_answer([1], options, self.cache.trees[0]).grammar
        self.draws = [Draw(grammar.text(0, may_fork=False), options) for _ in self.lanes]

    def start(self) -> None:
        """Reads the context anew and forks."""
        self.position, decoder = self.context, self.decoder
        self.cache = LaneCache(decoder.runner.layers, 1, decoder.device)
        tree = self.cache.open_row(0)
        ids = [100 + i % 500 for i in range(self.context)]
        plan = self.cache.prepare([Feed(0, MAIN, ids, 0)])
        decoder.runner.forward([self.context - 1], self.cache, plan)
        self.lanes = [MAIN] if self.count == 1 else list(tree.fork(MAIN, self.count))

    def renew(self) -> None:
        """Not timed: keeps the cache from growing far beyond the context, however many lanes."""
        if self.position - self.context >= AHEAD:
            self.start()
            self()

    def __call__(self) -> None:
        feeds = [Feed(0, lane, [200 + lane], self.position) for lane in self.lanes]
        logits = self.decoder.runner.forward(
            range(len(feeds)), self.cache, self.cache.prepare(feeds)
        )
        self.sampler(logits, self.draws)
        self.position += 1


def eight_branches(decoder: Decoder) -> TokenTree:
    """Eight branches of 64 tokens each."""
    encode = decoder.codec.encode
    titles = [tuple(encode(word)) for word in "one two three four five six seven eight".split()]
    text = encode("The quick brown fox jumps over the lazy dog. " * 64)[:64]
    separator = decoder.codec.separator
    branches = tuple(TokenBranch(title, (*title, *separator), (tuple(text),)) for title in titles)
    return (TokenBlock(tuple(titles), branches),)


def answer(decoder: Decoder, ids: Sequence[int], tree: TokenTree, mode: str) -> Output:
    """Leads the engine through a document."""
    options = GenerationOptions(mode=mode, max_new_tokens=8000)  # type: ignore[arg-type]
    script = Script(tree, decoder.codec, decoder.ends[0])
    *_, (_, done) = decoder.run([ids], options, scripts=[script])
    assert isinstance(done, Done)
    return done.output


@torch.inference_mode()
def generated(decoder: Decoder, ids: Sequence[int], tokens: int) -> None:
    """The same number of tokens from transformers."""
    stock: Any = decoder.stock
    batch = torch.tensor([list(ids)], device=decoder.device)
    out = stock.generate(
        batch,
        attention_mask=torch.ones_like(batch),
        do_sample=False,
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        pad_token_id=decoder.ends[0],
    )
    assert out.shape[1] == len(ids) + tokens
