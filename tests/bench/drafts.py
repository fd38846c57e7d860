"""What drafts save: steps on real answers, and steps and processor time of real decodes.

    python -m tests.bench.drafts --documents transformed.jsonl --tokenizer DIRECTORY   # a minute
    python -m tests.bench.drafts                           # the embedded model, a few minutes
    python -m tests.bench.drafts --model DIRECTORY --adapter DIRECTORY --prompts held.jsonl

Documents of a transform are replayed by the engine with the model's forward pass left out: what is
counted is whether the document's next tokens were guessed. Real decodes take turns, without and
with drafts; the answers must be the same.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from aspd_cli.core.chat import encode_prompt
from aspd_cli.core.layout import tokenize
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.events import Done, Output
from aspd_cli.engine.forced_tokens import Script
from aspd_cli.engine.loading import load
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.evaluate.replay import random_decoder, read_documents
from aspd_cli.synth import QUESTION_FAMILIES, examples

SMALL = {
    "model_type": "llama",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 32768,
    "vocab_size": 256,
}
console = Console(width=120)


def blind_decoder(tokenizer: str | None) -> Decoder:
    """The engine without a model: its logits are zeros."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(SMALL))
        decoder, _ = random_decoder(str(file), tokenizer, "cpu", "float32")
    runner: Any = decoder.runner
    zeros = torch.zeros(8192, runner.vocabulary)
    runner.forward = lambda last, cache, plan: zeros[: len(last)]
    return decoder


def count(documents: Path, tokenizer: str | None, limit: int | None) -> None:
    """Useful tokens over steps, of answers with and without blocks."""
    decoder = blind_decoder(tokenizer)
    codec = decoder.codec
    sums: dict[tuple[str, bool], Counter[str]] = {}
    seen: Counter[str] = Counter()
    for record in read_documents(documents):
        kind = "with blocks" if any(True for _ in record.document.blocks()) else "serial"
        seen[kind] += 1
        if limit is not None and seen[kind] > limit:
            continue
        ids, tree = encode_prompt(codec, record.prompt), tokenize(record.document, codec)
        for draft in (False, True):
            options = GenerationOptions(max_new_tokens=16_000, draft=draft)
            script = Script(tree, codec, decoder.ends[0])
            *_, (_, done) = decoder.run([ids], options, scripts=[script])
            assert isinstance(done, Done)
            stats = done.output.stats
            sums.setdefault((kind, draft), Counter()).update(
                answers=1,
                useful=stats.useful_tokens,
                steps=stats.steps,
                drafted=stats.drafted_tokens,
                accepted=stats.accepted_tokens,
            )
    table = Table(title=f"Replay of {documents.name}", title_justify="left")
    for name in ("answers", "drafts", "number", "useful tokens", "steps", "useful / steps",
                 "drafted", "accepted"):  # fmt: skip
        table.add_column(name, justify="right" if table.columns else "left")
    for (kind, draft), each in sorted(sums.items(), key=lambda item: item[0]):
        table.add_row(
            kind, "yes" if draft else "no", str(each["answers"]), str(each["useful"]),
            str(each["steps"]), f"{each['useful'] / each['steps']:.3f}",
            str(each["drafted"]), str(each["accepted"]),
        )  # fmt: skip
    console.print(table)


def decode(decoder: Decoder, groups: dict[str, list[Any]], rounds: int, budget: int) -> None:
    """Steps and processor time of whole answers, without and with drafts in turns."""
    table = Table(title="Real decodes, greedy, one at a time", title_justify="left")
    for name in ("prompts", "mode", "steps", "with drafts", "drafted", "accepted",
                 "ms a step", "with drafts", "time with / without"):  # fmt: skip
        table.add_column(name, justify="right" if table.columns else "left")
    for name, prompts in groups.items():
        for mode in ("parallel", "plain"):
            seconds: dict[bool, list[float]] = {False: [], True: []}
            stats: dict[bool, list[Output]] = {False: [], True: []}
            decoder.generate(prompts[:1], mode=mode, max_new_tokens=32)
            for turn in range(rounds):
                for prompt in prompts:
                    for draft in (False, True) if turn % 2 == 0 else (True, False):
                        began = time.process_time()
                        out = decoder.generate(
                            [prompt], mode=mode, draft=draft, max_new_tokens=budget
                        )[0]
                        seconds[draft].append(time.process_time() - began)
                        stats[draft].append(out)
            same = [a.token_ids == b.token_ids for a, b in zip(*stats.values(), strict=True)]
            if not all(same):
                console.print(f"{same.count(False)} of {len(same)} answers differ")
            row = {d: _sums(outputs) for d, outputs in stats.items()}
            ratios = [b / a for a, b in zip(seconds[False], seconds[True], strict=True)]
            total = sum(seconds[True]) / sum(seconds[False])
            table.add_row(
                f"{len(prompts)} {name}", mode, str(row[False]["steps"] // rounds),
                str(row[True]["steps"] // rounds), str(row[True]["drafted"] // rounds),
                str(row[True]["accepted"] // rounds),
                *(f"{1e3 * sum(seconds[d]) / row[d]['steps']:.2f}" for d in (False, True)),
                f"{total:.3f} (median {statistics.median(ratios):.3f})",
            )  # fmt: skip
    console.print(table)


def _sums(outputs: Sequence[Output]) -> Counter[str]:
    found: Counter[str] = Counter()
    for stats in (output.stats for output in outputs):
        found.update(
            steps=stats.steps, drafted=stats.drafted_tokens, accepted=stats.accepted_tokens
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=Path, help="a file that aspd transform wrote")
    parser.add_argument("--tokenizer", help="directory; default: the embedded one")
    parser.add_argument("--limit", type=int, help="most documents of a kind, or prompts of a group")
    parser.add_argument("--model", help="directory; default: the embedded model")
    parser.add_argument("--adapter")
    parser.add_argument("--prompts", type=Path, help="JSON lines with `prompt`; default: synth's")
    parser.add_argument("--max-new-tokens", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    if args.documents:
        count(args.documents, args.tokenizer, args.limit)
        return
    decoder = load(args.model, adapter=args.adapter, device="cpu")
    limit = args.limit or 12
    if args.prompts:
        with args.prompts.open() as file:
            groups = {"held out": [json.loads(line)["prompt"] for line in file][:limit]}
    else:
        drawn = {f: examples(limit, split="test", seed=3, families=[f]) for f in QUESTION_FAMILIES}
        groups = {family: [each.question for each in found] for family, found in drawn.items()}
    decode(decoder, groups, args.rounds, args.max_new_tokens)


if __name__ == "__main__":
    main()
