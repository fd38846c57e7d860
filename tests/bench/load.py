"""A server under load: throughput by connections, and who is answered in time when many come.

    python -m tests.bench.load                            # the embedded model, a few minutes
    python -m tests.bench.load --model runs/smollm2 --max-tokens 200 --requests 32

Each server is a process of its own. The first table keeps N connections busy. The second lets
requests arrive at random (Poisson) at three rates, as shares of what the first table reached, and
counts the answers that were whole within a bound: with lanes bounded (load-aware forking, the
default), without a bound (always fork), and branch after branch (never fork). Rates take turns
between the policies, so that all meet the same machine.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import aiohttp
from rich.console import Console
from rich.table import Table

from aspd_cli.synth import examples
from tests.serve.conftest import served

POLICIES = {
    "load-aware": ((), {}),
    "always": (("--set", "serve.max_lanes=null"), {}),
    "never": ((), {"mode": "serial"}),
}
"""Name -> flags of the server, fields of each request."""


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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--requests", type=int, default=200, help="of each cell")
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.4, 0.7, 1.0])
    parser.add_argument("--bound", type=float, default=3.0, help="times the median of one alone")
    args = parser.parse_args()
    prompts = [each.question for each in examples(args.requests, seed=11)]
    model = ["--model", args.model] if args.model else []
    limit = {"max_tokens": args.max_tokens}
    console = Console()
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(served(*model, *flags)).url
            for name, (flags, _) in POLICIES.items()
        }
        for url in urls.values():
            asyncio.run(busy(url, prompts[:8], 4, limit))
        table = Table(title=f"{args.requests} requests, connections kept busy (load-aware)")
        for column in ("connections", "answers/s", "useful tokens/s", "answer p50 / p95 ms",
                       "first text p50 / p95 ms"):  # fmt: skip
            table.add_column(column, justify="right")
        capacity, alone = 0.0, 1.0
        for connections in args.connections:
            seconds, timed = asyncio.run(busy(urls["load-aware"], prompts, connections, limit))
            whole, first = [t.whole for t in timed], [t.first for t in timed]
            if connections == args.connections[0]:
                alone = statistics.median(whole)
            capacity = max(capacity, len(timed) / seconds)
            table.add_row(
                str(connections),
                f"{len(timed) / seconds:.1f}",
                f"{sum(t.useful for t in timed) / seconds:.0f}",
                f"{percentile(whole, 0.5) * 1e3:.0f} / {percentile(whole, 0.95) * 1e3:.0f}",
                f"{percentile(first, 0.5) * 1e3:.0f} / {percentile(first, 0.95) * 1e3:.0f}",
            )
        console.print(table)
        bound = args.bound * alone
        table = Table(title=f"Share of answers within {bound * 1e3:.0f} ms, Poisson arrivals")
        for column in ("answers/s that arrive", *POLICIES):
            table.add_column(column, justify="right")
        for number, share in enumerate(args.rates):
            rate, cells = share * capacity, []
            for name, (_, fields) in POLICIES.items():
                timed = asyncio.run(arriving(urls[name], prompts, rate, limit | fields, number))
                within = sum(t.whole <= bound for t in timed) / len(timed)
                p95 = percentile([t.whole for t in timed], 0.95)
                cells.append(f"{within:.0%} (p95 {p95 * 1e3:.0f} ms)")
            table.add_row(f"{rate:.1f} ({share:.0%} of capacity)", *cells)
        console.print(table)


if __name__ == "__main__":
    main()
