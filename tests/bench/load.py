"""A server under load: throughput by connections, and who is answered in time when many come.

    python -m tests.bench.load                            # the embedded model, a few minutes
    python -m tests.bench.load --model runs/smollm2 --max-tokens 200 --prompts prompts.jsonl
    python -m tests.bench.load --engine vllm --connections 1 16 64   # in vLLM's environment
    python -m tests.bench.load --rates                    # only the first table

Each server is a process of its own. The first table keeps N connections busy: parallel with lanes
bounded (load-aware forking, the default), branch after branch (serial), and plain. The second lets
requests arrive at random (Poisson) at three rates, as shares of what the first table reached, and
counts the answers that were whole within a bound: with lanes bounded, without a bound (always
fork), and branch after branch (never fork). Policies take turns, so that all meet the same machine.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from aspd_cli.synth import examples
from tests.serve.conftest import served

BUSY = {"parallel": {}, "serial": {"mode": "serial"}, "plain": {"mode": "plain"}}
"""What keeps connections busy -> fields of each request."""
POLICIES = {
    "load-aware": ("bounded", {}),
    "always": ("unbounded", {}),
    "never": ("bounded", {"mode": "serial"}),
}
"""Name -> server, fields of each request."""
SERVERS = {"bounded": (), "unbounded": ("--set", "serve.max_lanes=null")}
"""Name -> flags."""


@dataclass(frozen=True)
class Timed:
    """One answer: seconds to the first text and to the end, and its tokens."""

    first: float
    whole: float
    useful: int


async def ask(session: aiohttp.ClientSession, url: str, prompt: str, fields: dict) -> Timed:
    body = {
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "stream_options": {"include_usage": True},
        **fields,
    }
    began, first, useful = time.perf_counter(), 0.0, 0
    async with session.post(f"{url}/v1/chat/completions", json=body) as reply:
        reply.raise_for_status()
        async for line in reply.content:
            if b'"content": "' in line and not first and b'"content": ""' not in line:
                first = time.perf_counter() - began
            if b'"useful_tokens": ' in line:
                useful = int(line.split(b'"useful_tokens": ')[1].split(b",")[0])
    whole = time.perf_counter() - began
    return Timed(first or whole, whole, useful)


async def busy(url: str, prompts: Sequence[str], connections: int, fields: dict) -> tuple:
    """Keeps so many connections busy; (seconds in all, timed answers)."""
    left = iter(prompts)
    timed: list[Timed] = []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def work() -> None:
            for prompt in left:
                done = await ask(session, url, prompt, fields)
                timed.append(done)

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(connections)))
        return time.perf_counter() - began, timed


async def arriving(url: str, prompts: Sequence[str], rate: float, fields: dict, seed: int) -> list:
    """Asks at random times, `rate` a second."""
    draw = random.Random(seed)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        tasks = []
        for prompt in prompts:
            tasks.append(asyncio.create_task(ask(session, url, prompt, fields)))
            await asyncio.sleep(draw.expovariate(rate))
        return await asyncio.gather(*tasks)


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def asked(file: Path | None, number: int) -> list[str]:
    """So many prompts of a file, from its beginning again where it has fewer; or made ones."""
    if file is None:
        return [each.question for each in examples(number, seed=11)]
    found = [json.loads(line)["prompt"] for line in file.read_text().splitlines()]
    return [found[at % len(found)] for at in range(number)]


def load() -> float:
    return os.getloadavg()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--engine", default="aspd")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the recipe")
    parser.add_argument("--prompts", type=Path, help="JSON Lines with `prompt`, else made ones")
    parser.add_argument("--requests", type=int, default=200, help="of each cell")
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--rates", type=float, nargs="*", default=[0.4, 0.7, 1.0])
    parser.add_argument("--bound", type=float, default=3.0, help="times the median of one alone")
    args = parser.parse_args()
    prompts = asked(args.prompts, args.requests)
    flags = ["--engine", args.engine] + (["--model", args.model] if args.model else [])
    flags += [word for setting in args.set for word in ("--set", setting)]
    limit = {"max_tokens": args.max_tokens}
    console = Console(width=120)
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(served(*flags, *more)).url
            for name, more in SERVERS.items()
            if args.rates or name == "bounded"
        }
        for url in urls.values():
            asyncio.run(busy(url, prompts[:8], 4, limit))
        table = Table(title=f"{len(prompts)} requests, connections kept busy, load {load():.1f}")
        for column in ("connections", "", "answers/s", "useful tokens/s", "answer p50 / p95 ms",
                       "first text p50 / p95 ms"):  # fmt: skip
            table.add_column(column, justify="right")
        capacity, alone = 0.0, 0.0
        for connections in args.connections:
            for name, fields in BUSY.items():
                seconds, timed = asyncio.run(
                    busy(urls["bounded"], prompts, connections, limit | fields)
                )
                whole, first = [t.whole for t in timed], [t.first for t in timed]
                if name == "parallel":
                    alone = alone or statistics.median(whole)
                    capacity = max(capacity, len(timed) / seconds)
                table.add_row(
                    str(connections),
                    name,
                    f"{len(timed) / seconds:.2f}",
                    f"{sum(t.useful for t in timed) / seconds:.0f}",
                    f"{percentile(whole, 0.5) * 1e3:.0f} / {percentile(whole, 0.95) * 1e3:.0f}",
                    f"{percentile(first, 0.5) * 1e3:.0f} / {percentile(first, 0.95) * 1e3:.0f}",
                )
        console.print(table)
        if not args.rates:
            return
        bound = args.bound * alone
        table = Table(title=f"Share of answers within {bound * 1e3:.0f} ms, Poisson arrivals")
        for column in ("answers/s that arrive", *POLICIES):
            table.add_column(column, justify="right")
        for number, share in enumerate(args.rates):
            rate, cells = share * capacity, []
            for server, fields in POLICIES.values():
                timed = asyncio.run(arriving(urls[server], prompts, rate, limit | fields, number))
                within = sum(t.whole <= bound for t in timed) / len(timed)
                p95 = percentile([t.whole for t in timed], 0.95)
                cells.append(f"{within:.0%} (p95 {p95 * 1e3:.0f} ms)")
            table.add_row(f"{rate:.1f} ({share:.0%} of capacity)", *cells)
        console.print(table)


if __name__ == "__main__":
    main()
