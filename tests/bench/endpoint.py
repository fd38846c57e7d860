"""How much of an endpoint's rate the client reaches, journal included.

    python -m tests.bench.endpoint                            # 64 slots of 200 ms
    python -m tests.bench.endpoint --calls 20000 --slots 256

A server in a process of its own answers every request after exactly the latency. The ideal rate is
slots / latency; the processor time that a call takes on the client's side is printed, too, for it
bounds the rate on a machine that is busy with something else.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aspd_cli.endpoint.client import Call, Endpoint
from aspd_cli.endpoint.journal import Journal
from aspd_cli.recipe.endpoint import EndpointSection

PROMPT = "Which parts of this answer can be written independently? " + "An answer of a model. " * 90


@contextmanager
def server(latency: float, slots: int) -> Iterator[str]:
    """The URL of a server process."""
    command = [sys.executable, "-m", "tests.endpoint_server"]
    command += ["--latency", str(latency), "--slots", str(slots)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


async def ask_all(endpoint: Endpoint, calls: int, askers: int) -> float:
    """Seconds for so many calls, asked by `askers` at once."""
    numbers = iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            message = {"role": "user", "content": f"{PROMPT}{number}"}
            await endpoint.ask(Call("bench", (message,)), json.loads)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(askers)))
    return time.perf_counter() - began


async def measure(url: str, path: Path, calls: int, slots: int, latency: float) -> None:
    section = EndpointSection(model="bench", base_url=url, concurrency=slots)
    for title in ("asked", "from the journal"):
        with Journal(path, {}) as journal:
            async with Endpoint(section, journal) as endpoint:
                cpu = time.process_time()
                # A few more than slots: a reply that is being written to the journal holds none.
                seconds = await ask_all(endpoint, calls, slots + slots // 4)
                cpu = time.process_time() - cpu
        ideal = slots / latency
        share = f", {calls / seconds / ideal:.1%} of {ideal:.0f}" if title == "asked" else ""
        print(
            f"{calls} calls {title}: {calls / seconds:.0f}/s{share}; "
            f"{1e3 * cpu / calls:.2f} ms of processor a call"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB, journal {path.stat().st_size / 2**20:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, server(args.latency, args.slots) as url:
        path = Path(directory) / "bench.journal.sqlite"
        asyncio.run(measure(url, path, args.calls, args.slots, args.latency))


if __name__ == "__main__":
    main()
