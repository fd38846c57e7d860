"""`annotate` against `rewrite` on the same answers: calls, tokens written, and what got lost.

    python -m tests.bench.propose
    python -m tests.bench.propose --data answers.jsonl --count 50

The model is scripted (`tests/transform/model.py`) and serves over HTTP. Both methods meet the same
model, which leaves a sentence out of a share of its rewritings (`--careless`), as models do; how
often yours does is for you to measure. Tokens are the endpoint's: four bytes each.
"""

import argparse
import asyncio
import json
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aspd_cli.core.markup import plain
from aspd_cli.core.parser import parse
from aspd_cli.endpoint.client import Endpoint
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.io.records import Record, read_records
from aspd_cli.transform.pipeline import transform_file_by
from aspd_cli.transform.report import Report
from aspd_cli.transform.token_counts import EstimatingCodec
from tests.endpoint_server import serve
from tests.transform import answers
from tests.transform.model import Model


@dataclass(frozen=True)
class Run:
    """What one method did."""

    report: Report
    changed: int
    """Proposals whose plain text was not the answer's."""
    refused: int
    """Those of them that the judge did not accept."""
    identical: int
    """Answers that came out with the plain text they came in with."""


def run(method: str, source: Path, out: Path, careless: float) -> Run:
    """Transforms `source` by one method."""
    with serve(Model(careless=careless, wordy=0.1)) as server:
        section = EndpointSection(base_url=server.url, model="scripted")
        transform = TransformSection(method=method, endpoint=section)  # type: ignore[arg-type]

        async def ask() -> Report:
            async with Endpoint(section) as endpoint:
                codec = EstimatingCodec()
                return await transform_file_by(endpoint, source, out, transform, codec)

        report = asyncio.run(ask())
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    before = [r.example.answer for r in read_records(source) if isinstance(r, Record)]
    texts = [plain(parse(row["completion"][0]["content"])) for row in rows]
    votes = [
        vote
        for row in rows
        if row["aspd"]["votes"]
        for vote in row["aspd"]["votes"]["integrity"]
        if vote is not None
    ]
    return Run(
        report,
        changed=len(votes),
        refused=sum(vote < transform.accept for vote in votes),
        identical=sum(a == b for a, b in zip(texts, before, strict=True)),
    )


def write(data: Path | None, count: int, path: Path) -> None:
    """The first `count` answers of `data`; without it, of answers in the forms that models use."""
    if data is not None:
        found = islice((r for r in read_records(data) if isinstance(r, Record)), count)
        pairs = [(r.example.prompt[-1]["content"], r.example.answer) for r in found]
    else:
        texts = [text for text, _ in answers.PARALLEL.values()] + list(answers.SERIAL.values())
        joined = ("\n\n".join(texts[(n * k) % len(texts)] for k in (1, 5, 7)) for n in range(count))
        pairs = [(f"question {n}", text) for n, text in enumerate(joined)]
    lines = (json.dumps({"question": q, "answer": a}) + "\n" for q, a in pairs)
    path.write_text("".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="answers in any dialect that transform reads")
    parser.add_argument("--count", type=int, default=50, help="how many of them")
    parser.add_argument("--careless", type=float, default=0.05, help="share of bad rewritings")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.jsonl"
        write(args.data, args.count, source)
        runs = {
            method: run(method, source, Path(folder) / f"{method}.jsonl", args.careless)
            for method in ("annotate", "rewrite")
        }
    table = Table("", *runs)
    for name, value in {
        "answers": lambda r: f"{r.report.total}",
        "parallel": lambda r: f"{r.report.parallel}",
        "DP": lambda r: f"{r.report.measures()['dp'][0]:.3f}",
        "calls": lambda r: f"{r.report.tally.total.calls:,}",
        "tokens read": lambda r: f"{r.report.tally.total.prompt_tokens:,}",
        "tokens written": lambda r: f"{r.report.tally.total.completion_tokens:,}",
        "  of them proposals": lambda r: f"{r.report.tally.stages['propose'].completion_tokens:,}",
        "proposals with another text": lambda r: f"{r.changed}",
        "  of them refused by the judge": lambda r: f"{r.refused}",
        "answers with their own text": lambda r: f"{r.identical}",
    }.items():
        table.add_row(name, *(value(run) for run in runs.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
