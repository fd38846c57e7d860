"""How much of an endpoint's rate `aspd transform` reaches, records read and written, votes counted.

    python -m tests.bench.asking                       # 64 slots of 200 ms
    python -m tests.bench.asking --records 4000

`tests.bench.endpoint` measures the client alone. A scripted model in a process of its own proposes
and judges after exactly the latency; the ideal rate is slots / latency. The processor time of a
call on this side is printed too: it bounds the rate on a machine that is busy otherwise.
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

from aspd_cli.endpoint.client import Endpoint
from aspd_cli.endpoint.journal import Journal
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.pipeline import transform_file_by
from aspd_cli.transform.token_counts import EstimatingCodec
from tests.transform import answers


@contextmanager
def server(latency: float, slots: int) -> Iterator[str]:
    """The URL of a scripted model in a process of its own."""
    command = [sys.executable, "-m", "tests.endpoint_server", "--latency", str(latency)]
    command += ["--slots", str(slots), "--script", "tests.transform.model:script"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


async def measure(args: argparse.Namespace, url: str, folder: Path) -> None:
    """Transforms answers that are all different and prints rates."""
    source, texts = folder / "in.jsonl", [text for text, _ in answers.PARALLEL.values()]
    rows = (
        {"question": f"Question {n}", "answer": texts[n % len(texts)]} for n in range(args.records)
    )
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    section = EndpointSection(base_url=url, model="scripted", concurrency=args.slots)
    transform = TransformSection(min_tokens=10, endpoint=section)
    with Journal(folder / "journal.sqlite", {}) as journal:
        async with Endpoint(section, journal) as endpoint:
            began, cpu = time.monotonic(), time.process_time()
            codec = EstimatingCodec()
            report = await transform_file_by(
                endpoint, source, folder / "out.jsonl", transform, codec
            )
            wall, cpu = time.monotonic() - began, time.process_time() - cpu
            calls = endpoint.tally.total.calls
    ideal = args.slots / args.latency
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{report.total} records, {report.parallel} parallel, {calls} calls in {wall:.1f} s: "
        f"{calls / wall:.0f} a second, {calls / wall / ideal:.0%} of the ideal {ideal:.0f}; "
        f"{1000 * cpu / calls:.2f} ms of processor time a call; {memory:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.2)
    args = parser.parse_args()
    with server(args.latency, args.slots) as url, tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(args, url, Path(folder)))


if __name__ == "__main__":
    main()
