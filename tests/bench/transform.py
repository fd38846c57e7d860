"""How fast `aspd transform` is by rules, in how much memory, with a tokenizer of real size.

    python -m tests.bench.transform                                  # answers made here
    python -m tests.bench.transform answers.jsonl --tokenizer DIR    # your own

Prints answers a second of processor time, of one core (the machine may do other things meanwhile),
for the whole pipeline and for its parts, then the largest memory of the command itself on
`--records` answers. The tokenizer is one trained here on the same answers where none is named.
"""

import argparse
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aspd_cli.core.codec import Codec
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.io.records import Record, read_records
from aspd_cli.transform.outcome import question_of
from aspd_cli.transform.pipeline import transform_file
from aspd_cli.transform.rules import propose
from aspd_cli.transform.token_counts import EstimatingCodec, open_codec
from tests.transform import answers

TOPICS = "trains rivers bread clocks gardens letters bridges winters lamps harbours".split()


@dataclass(frozen=True, slots=True)
class Run:
    """What one part of the pipeline did with all records."""

    name: str
    seconds: float
    """Of processor time, the quickest of the repeats."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("file", nargs="?", type=Path, help="answers; made here where none is named")
    parser.add_argument("--tokenizer", help="directory or Hub id; trained here where none is named")
    parser.add_argument("--records", type=int, default=100_000, help="records of the memory run")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        source = args.file or _made(Path(folder) / "made.jsonl", 1000)
        tokenizer = args.tokenizer or _trained(source, Path(folder) / "tokenizer")
        records = [r for r in read_records(source) if isinstance(r, Record)]
        codec, _ = open_codec(tokenizer)
        out = Path(folder) / "out.jsonl"
        section = TransformSection()

        def whole(codec: Codec) -> Callable[[], object]:
            return lambda: transform_file(source, out, section, codec)

        runs = [
            ("whole pipeline, cold tokenizer", whole(codec), 1),
            ("whole pipeline", whole(codec), args.repeats),
            ("whole pipeline, estimated tokens", whole(EstimatingCodec()), args.repeats),
            ("reading", lambda: list(read_records(source)), args.repeats),
            ("rules", lambda: [propose(r.example.answer, question_of(r)) for r in records],
             args.repeats),
            ("encoding", lambda: [codec.encode(r.example.answer) for r in records], args.repeats),
            ("encoding, one call each", lambda: _one_by_one(codec, records), args.repeats),
        ]  # fmt: skip
        _show([Run(name, _quickest(work, repeats)) for name, work, repeats in runs], len(records))
        if args.records:
            _memory(_repeated(source, Path(folder) / "many.jsonl", args.records), tokenizer, out)


def _one_by_one(codec: Codec, records: Iterable[Record]) -> int:
    """Encoding as the tokenizer's library does it."""
    backend = codec.tokenizer.backend_tokenizer
    return sum(len(backend.encode(r.example.answer, add_special_tokens=False)) for r in records)


def _quickest(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def _show(runs: list[Run], count: int) -> None:
    table = Table("part", "answers a second", "ms an answer", title=f"{count} answers, one core")
    for run in runs:
        table.add_row(run.name, f"{count / run.seconds:,.0f}", f"{1000 * run.seconds / count:.3f}")
    Console().print(table)


def _memory(source: Path, tokenizer: str, out: Path) -> None:
    """Runs the command on a file and prints the largest memory of it and of what it started."""
    command = [
        sys.executable,
        "-m",
        "aspd_cli",
        "transform",
        str(source),
        str(out),
        "--fresh",
        "--quiet",
    ]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--set", f"model.tokenizer={tokenizer}"])
    peak = 0
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        time.sleep(0.05)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = sum(1 for _ in out.open("rb"))
    print(
        f"aspd transform, {lines:,} records: {peak / 2**20:.0f} MB at most (with the process that "
        f"reads the tokenizer {usage.ru_maxrss / 1024:.0f} MB for a moment), "
        f"{time.perf_counter() - start:.0f} s, exit code {process.returncode}"
    )


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds; 0 when it is gone, or where /proc is missing."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _made(path: Path, count: int) -> Path:
    """A file of answers of the kinds that models write, no two of them alike."""
    rng = random.Random(0)
    texts = [text for text, _ in answers.PARALLEL.values()] + list(answers.SERIAL.values())
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            chosen = rng.sample(texts, 3)
            answer = "\n\n".join([f"About {rng.choice(TOPICS)}, number {n}.", *chosen])
            file.write(json.dumps({"instruction": f"Question {n}", "output": answer}) + "\n")
    return path


def _repeated(source: Path, path: Path, count: int) -> Path:
    """The records of a file again and again, as JSON lines of question and answer."""
    records = [r for r in read_records(source) if isinstance(r, Record)]
    with path.open("w", encoding="utf-8") as file:
        for record in itertools.islice(itertools.cycle(records), count):
            row = {"question": question_of(record), "answer": record.example.answer}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def _trained(source: Path, path: Path) -> str:
    """A byte-level tokenizer of the Qwen kind, as large as the answers of a file allow."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    split = Regex(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(split, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=150_000, show_progress=False, special_tokens=["<eos>"], initial_alphabet=alphabet
    )
    texts = (r.example.answer for r in read_records(source) if isinstance(r, Record))
    made.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<eos>").save_pretrained(path)
    return str(path)


if __name__ == "__main__":
    main()
