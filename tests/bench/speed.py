"""How near its limit the engine is: every table of its speed, as ratios taken in one run.

    python -m tests.bench.speed                          # all tables, ten minutes on two idle cores
    python -m tests.bench.speed --table width --shape tiny
    python -m tests.bench.speed --table replay --documents transformed.jsonl --shape 0.5b
    python -m tests.bench.speed --clock processor        # on a busy machine, with one thread
    python -m tests.bench.speed --shape 7b               # on a GPU: Qwen2.5-7B's shape, bfloat16

Systems take turns, many short rounds; a cell is the median, in brackets the least. `tiny` is the
embedded model, `0.5b` has the shape of Qwen2.5-0.5B and random weights; float32 on the CPU. `7b`
is for a GPU and asked for by name.
`--table training` and `--table transform` run the benchmarks of those names beside this one.
"""

import argparse
import os
import runpy
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from aspd_cli.core.layout import tokenize
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.scheduler import Scheduler
from aspd_cli.evaluate.replay import replay_requests
from aspd_cli.synth import QUESTION_FAMILIES, examples
from tests.bench.turns import (
    CLOCKS,
    RANDOM,
    Bench,
    Call,
    Steps,
    answer,
    console,
    eight_branches,
    generated,
    ms,
    over,
)

PROMPT = "Describe the tiger, Saturn, cheese and the drill in detail"
BUDGET = 700


def width(bench: Bench) -> None:
    """What a step of several lanes costs."""
    context = 64 if bench.shape == "tiny" else 512
    steps = {lanes: Steps(bench.decoder, lanes, context) for lanes in (1, 2, 4, 8, 16)}
    seconds = bench.time(steps, bench.rounds * 4)
    rows = [(n, ms(taken), over(taken, seconds[1])) for n, taken in seconds.items()]
    bench.table(f"A step after {context} tokens", ("lanes", "ms", "times one lane"), rows)


def long(bench: Bench) -> None:
    """Whether the gain of eight lanes lasts, and what the cache takes."""
    far = 1024 if bench.shape == "tiny" else 4096
    steps = {(n, at): Steps(bench.decoder, n, at) for at in (512, far) for n in (1, 8)}
    seconds = bench.time(steps, bench.rounds * 2)
    rows = []
    for at in (512, far):
        gain = 8 * statistics.median(seconds[1, at]) / statistics.median(seconds[8, at])
        least = 8 * min(seconds[1, at]) / min(seconds[8, at])
        cache = steps[8, at].cache
        taken = sum(layer.keys.shape[2] for layer in cache.layers) / len(cache.layers)
        share = f"{taken / cache.used[0]:.3f}"
        rows.append(
            (at, ms(seconds[1, at]), ms(seconds[8, at]), f"{gain:.2f} [{least:.2f}]", share)
        )
    columns = ("context", "1 lane, ms", "8 lanes, ms", "gain", "cache / needed")
    bench.table("Eight lanes against eight steps", columns, rows)


def generate(bench: Bench) -> None:
    """A whole answer of eight balanced branches against transformers."""
    decoder = bench.decoder
    ids, tree = decoder.encode(PROMPT, GenerationOptions()), eight_branches(decoder)
    stats = answer(decoder, ids, tree, "parallel").stats
    systems: dict[str, Call] = {
        "generate": lambda: generated(decoder, ids, stats.tokens),
        "serial": lambda: answer(decoder, ids, tree, "serial"),
        "parallel": lambda: answer(decoder, ids, tree, "parallel"),
    }
    seconds = bench.time(systems, max(2, bench.rounds // 3))
    rows = [(n, ms(taken), over(seconds["generate"], taken)) for n, taken in seconds.items()]
    title = f"8 branches of 64 tokens: {stats.tokens} tokens in {stats.steps} steps"
    bench.table(title, ("system", "ms", "generate / it"), rows)


def overhead(bench: Bench) -> None:
    """What a step spends outside the model, and what a fork and a merge cost."""
    decoder, clock = bench.decoder, bench.clock
    ids, tree = decoder.encode(PROMPT, GenerationOptions()), eight_branches(decoder)
    inside: list[float] = []
    steps: list[tuple[str, float]] = []
    forward, step = decoder.runner.forward, Scheduler._step

    def timed_forward(*args: Any, **kwargs: Any) -> Any:
        began = clock()
        out = forward(*args, **kwargs)
        inside.append(clock() - began)
        return out

    def timed_step(self: Scheduler) -> Any:
        waiting = [len(p.ids) for r in self.active.values() for p in r.answer.pending]
        lanes = len(waiting)
        kind = "one lane" if lanes == 1 else f"{lanes} lanes"
        if lanes == 9:  # the eight branches and the block's own token: prefixes, or ends
            kind = "merge" if sum(waiting) == 9 else "fork"
        if lanes == 1 and sum(waiting) > 1:
            kind = "prompt"
        began = clock()
        events = list(step(self))
        steps.append((kind, clock() - began))
        yield from events

    decoder.runner.forward, Scheduler._step = timed_forward, timed_step  # type: ignore[method-assign]
    rows = []
    try:
        for mode in ("serial", "parallel"):
            answer(decoder, ids, tree, mode)
            inside.clear(), steps.clear()
            for _ in range(max(1, bench.rounds // 3)):
                answer(decoder, ids, tree, mode)
            total = [seconds for _, seconds in steps]
            outside = [t - i for t, i in zip(total, inside, strict=True)]
            share = 100 * sum(outside) / sum(total)
            middle = 100 * statistics.median(outside) / statistics.median(total)
            rows.append((mode, ms(total), ms(outside), f"{share:.1f} %", f"{middle:.1f} %"))
    finally:
        decoder.runner.forward, Scheduler._step = forward, step  # type: ignore[method-assign]
    columns = ("mode", "step, ms", "outside, ms", "share", "of medians")
    bench.table("Outside the model", columns, rows)
    kinds = defaultdict(list)
    for kind, seconds in steps:
        kinds[kind].append(seconds)
    one = kinds["one lane"]
    rows = [(kind, ms(taken), over(taken, one)) for kind, taken in kinds.items()]
    bench.table("Steps of the parallel answer", ("kind", "ms", "times one lane"), rows)


def batch(bench: Bench) -> None:
    """Sixteen prompts at once against one after another."""
    decoder = bench.decoder
    drawn = examples(16, split="test", seed=3, families=QUESTION_FAMILIES)
    prompts = [example.question for example in drawn]
    settings = {"max_new_tokens": BUDGET if bench.shape == "tiny" else 40}
    calls: dict[str, Call] = {
        "one after another": lambda: [decoder.generate(p, **settings) for p in prompts],
        "16 at once": lambda: decoder.generate(prompts, batch_size=16, **settings),
    }
    seconds = bench.time(calls, max(2, bench.rounds // 3))
    rows = [(n, ms(t), over(seconds["one after another"], t)) for n, t in seconds.items()]
    bench.table("16 synth prompts", ("way", "ms", "throughput"), rows)


def replay(bench: Bench) -> None:
    """Real structure: the documents of a transform's output, contents given."""
    if bench.documents is None:
        console.print("replay: give --documents, a file that aspd transform wrote")
        return
    decoder, shares, gains = bench.decoder, [], []
    requests = replay_requests(bench.documents, decoder, limit=20, max_length=1500).requests
    for ask in requests:
        tree = tokenize(ask.document, decoder.codec)
        stats = answer(decoder, ask.ids, tree, "parallel").stats
        modes = ("serial", "parallel")
        seconds = bench.time({m: partial(answer, decoder, ask.ids, tree, m) for m in modes}, 2)
        gains.append(min(seconds["serial"]) / min(seconds["parallel"]))
        shares.append(gains[-1] / stats.ideal_speedup)
    row = (len(requests), f"{statistics.median(gains):.2f}", f"{statistics.median(shares):.2f}")
    bench.table("Replay", ("documents", "serial / parallel", "of ideal"), [row])


def start(bench: Bench) -> None:
    """From a cold shell: the help, and the first character of an answer."""

    def seconds(*words: str) -> float:
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-m", "aspd_cli", *words], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            taken = time.perf_counter() - began
            process.stdout.read()
        return taken

    rows = []
    for words in (("--help",), ("generate", "What is 12 + 5?")):
        taken = [seconds(*words) for _ in range(3)]
        rows.append((f"aspd {words[0]}", ms(taken)))
    bench.table("To the first character, wall-clock", ("command", "ms"), rows)


TABLES: dict[str, tuple[Callable[[Bench], None], tuple[str, ...]]] = {
    "width": (width, ("tiny", "0.5b")),
    "generate": (generate, ("tiny", "0.5b")),
    "overhead": (overhead, ("tiny", "0.5b")),
    "long": (long, ("0.5b",)),
    "batch": (batch, ("tiny",)),
    "replay": (replay, ("tiny", "0.5b")),
    "start": (start, ("tiny",)),
}
"""Name -> what prints it, and the shapes that it is printed for by default."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    beside = ("training", "transform")
    parser.add_argument("--table", action="append", choices=(*TABLES, *beside), help="repeatable")
    parser.add_argument("--shape", choices=("tiny", *RANDOM), help="only this one")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--documents", type=Path)
    args = parser.parse_args()
    chosen = args.table or list(TABLES)
    threads = torch.get_num_threads()
    console.print(f"{threads} threads, {args.clock} time, load {os.getloadavg()[0]:.1f}")
    for shape in (args.shape,) if args.shape else ("tiny", "0.5b"):
        names = [n for n in chosen if n in TABLES and (args.shape or shape in TABLES[n][1])]
        if names:
            bench = Bench(shape, args)
            for name in names:
                TABLES[name][0](bench)
    for name in set(chosen) & set(beside):
        sys.argv = [name]
        runpy.run_module(f"tests.bench.{name}", run_name="__main__")


if __name__ == "__main__":
    main()
