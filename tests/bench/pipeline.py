"""The whole way, on data that nobody annotated: raw answers, transform, train, generate; one table.

    OMP_WAIT_POLICY=passive python -m tests.bench.pipeline     # 13 minutes on two cores
    python -m tests.bench.pipeline --records 300 --steps 4 --prompts 12    # whether it runs at all

Raw answers are those of `synth`, written as a chat model writes them: Markdown lists with bold
labels between an introduction and a last line, no markup anywhere. `aspd transform` (rules) turns
them into training data, `aspd train` makes an adapter on the embedded serial base, which has never
seen such lists nor a control token, and the engine decodes held-out prompts with it. What is right
is the raw answer, character by character; where to fork is what the rules made of the data. Time is
that of whole answers, one prompt after another, parallel and serial mode in turn.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from aspd_cli.core.markup import Block
from aspd_cli.core.metrics import Array, bootstrap
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.loading import load
from aspd_cli.files import EMBEDDED_MODEL
from aspd_cli.synth import QUESTION_FAMILIES, Example, Split, examples

MIX = {"math": 22, "rag": 42, "general": 18, "chain": 15, "other": 3}
BUDGET = 700
MIN_TOKENS = 20
"""`transform.min_tokens`: its default is for the long answers of real models."""
RECIPE = """
data: {{train: {data}}}
training: {{output_dir: {run}, learning_rate: 2.0e-3, lr_scheduler_type: cosine, warmup_ratio: 0.05,
  adam_beta2: 0.99, max_steps: {steps}, per_device_train_batch_size: 8,
  gradient_accumulation_steps: 4, logging_steps: {log}, save_steps: 1000}}
lora: {{r: 16, alpha: 32}}
"""
console = Console(width=130)


@dataclass(frozen=True, slots=True)
class Raw:
    """A question and the answer that some model might have given, as plain Markdown."""

    question: str
    answer: str
    family: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=13440, help="raw answers to train on")
    parser.add_argument("--steps", type=int, help="default: one pass over the records")
    parser.add_argument("--prompts", type=int, default=200, help="held-out prompts")
    parser.add_argument("--latency-prompts", type=int, default=24)
    parser.add_argument("--folder", type=Path, help="where files are kept; default: nowhere")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        train = raw(args.records, "train", mix=MIX)
        data = transform(train, folder / "train")
        tell_data(train, data)
        run = fine_tune(folder / "train.jsonl", folder / "run", args.steps or args.records // 32)
        held_out = raw(args.prompts, "test", families=QUESTION_FAMILIES)
        wanted = transform(held_out, folder / "test")
        forks = [record["aspd"]["status"] == "parallel" for record in wanted]
        decoder = load(EMBEDDED_MODEL / "base", adapter=run)
        tell_answers(decoder, held_out, forks)
        wide = [item for item, fork in zip(held_out, forks, strict=True) if fork]
        tell_speed(decoder, wide[: args.latency_prompts])


def raw(number: int, split: Split, **options: Any) -> list[Raw]:
    """Raw answers of one split."""
    drawn = examples(number, split, seed=11, **options)
    return [Raw(example.question, as_markdown(example), example.family) for example in drawn]


def as_markdown(example: Example) -> str:
    """The answer as a chat model writes it."""
    parts = example.answer.parts
    if not example.branches:
        return example.text
    intro, block, closing = parts
    assert isinstance(intro, str)
    assert isinstance(block, Block)
    assert isinstance(closing, str)
    items = []
    for branch in block.branches:
        said = "".join(map(str, branch.content.parts)).removeprefix("- ").rstrip()
        if example.family == "rag":
            said = f"**{branch.title}**: the text says that {said}"
        elif example.family == "general":
            said = f"**{branch.title}**{said.removeprefix(branch.title)}"
        items.append(f"- {said}\n")
    return f"{intro.rstrip()}\n\n{''.join(items)}\n{closing}"


def transform(answers: list[Raw], stem: Path) -> list[dict[str, Any]]:
    """What `aspd transform` makes of them; raw and transformed records are left at `stem`."""
    source, out = stem.with_suffix(".raw.jsonl"), stem.with_suffix(".jsonl")
    with source.open("w", encoding="utf-8") as file:
        for item in answers:
            file.write(json.dumps({"question": item.question, "answer": item.answer}) + "\n")
    aspd("transform", source, out, "--fresh", "--set", f"transform.min_tokens={MIN_TOKENS}")
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(records) == len(answers)
    return records


def fine_tune(data: Path, run: Path, steps: int) -> Path:
    """The adapter that `aspd train` makes of the records."""
    recipe = run.with_suffix(".yaml")
    recipe.write_text(
        RECIPE.format(data=data, run=run, steps=steps, log=min(steps, 10)), encoding="utf-8"
    )
    began = time.perf_counter()
    aspd("train", recipe, "--fresh")
    seconds = time.perf_counter() - began
    state = json.loads((run / "trainer_state.json").read_text(encoding="utf-8"))
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    console.print(
        f"training: {steps} steps of 32 records in {seconds / 60:.1f} minutes, loss "
        f"{losses[0]:.2f} at the beginning, {losses[-1]:.4f} at the end"
    )
    return run


def aspd(*words: str | Path) -> None:
    """The command itself, in a process of its own."""
    command = [sys.executable, "-m", "aspd_cli", *map(str, words), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr}")


def tell_data(answers: list[Raw], records: list[dict[str, Any]]) -> None:
    """Prints what the rules made of the raw answers."""
    table = Table(title=f"{len(records)} raw answers after aspd transform")
    for name in ("family", "answers", "parallel", "the others stay serial because"):
        table.add_column(name, justify="right" if name in ("answers", "parallel") else "left")
    for family in MIX:
        found = [r["aspd"] for r, a in zip(records, answers, strict=True) if a.family == family]
        reasons = Counter(a["reason"] for a in found if a["status"] == "serial")
        why = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        share = percent([a["status"] == "parallel" for a in found]) if found else ""
        table.add_row(family, str(len(found)), share, why)
    console.print(table)


def tell_answers(decoder: Decoder, held_out: list[Raw], forks: list[bool]) -> None:
    """Prints accuracy and forks on held-out prompts."""
    questions = [item.question for item in held_out]
    outputs = decoder.generate(questions, mode="parallel", batch_size=16, max_new_tokens=BUDGET)
    table = Table(title=f"{len(held_out)} held-out prompts, percent [95% interval]")
    columns = (
        "family",
        "prompts",
        "forks",
        "forks as the rules",
        "exact answers",
        "ideal speed-up",
    )
    for name in columns:
        table.add_column(name, justify="left" if name == "family" else "right")
    for family in (*QUESTION_FAMILIES, "all"):
        chosen = [i for i, item in enumerate(held_out) if family in (item.family, "all")]
        forked = [outputs[i].stats.blocks > 0 for i in chosen]
        ideal = [outputs[i].stats.ideal_speedup for i in chosen]
        table.add_row(
            family,
            str(len(chosen)),
            percent(forked),
            percent([fork == forks[i] for fork, i in zip(forked, chosen, strict=True)]),
            percent([outputs[i].text == held_out[i].answer for i in chosen]),
            f"{statistics.mean(ideal):.2f}",
        )
    console.print(table)


def tell_speed(decoder: Decoder, wide: list[Raw], repeats: int = 3) -> None:
    """Prints the measured speed-up on prompts whose answer forks."""
    if not wide:
        console.print("no held-out answer forks: nothing to time")
        return
    ratios, ideal = [], []
    decoder.generate([wide[0].question], mode="parallel", max_new_tokens=8)  # warm up
    for item in wide:
        taken: dict[str, list[float]] = {"parallel": [], "serial": []}
        for _ in range(repeats):
            for mode, seconds in taken.items():
                began = time.perf_counter()
                [output] = decoder.generate([item.question], mode=mode, max_new_tokens=BUDGET)
                seconds.append(time.perf_counter() - began)
                if mode == "parallel":
                    ideal.append(output.stats.ideal_speedup)
        ratios.append(statistics.median(taken["serial"]) / statistics.median(taken["parallel"]))
    value, low, high = bootstrap(ratios, median)
    console.print(
        f"{len(wide)} prompts that fork, one at a time: parallel mode {value:.2f} [{low:.2f}, "
        f"{high:.2f}] times as fast as serial mode, ideal {statistics.median(ideal):.2f}"
    )


def percent(hits: list[bool]) -> str:
    value, low, high = bootstrap([100.0 * hit for hit in hits])
    return f"{value:.0f} [{low:.0f}, {high:.0f}]"


def median(rows: Array) -> Array:
    return np.asarray(np.median(rows, axis=-1))


if __name__ == "__main__":
    main()
