"""A task through our class and through lm-eval's own, on the same weights and documents.

    python -m tests.bench.harness --data gsm8k.jsonl            # 50 documents, some minutes

The embedded model writes each document's answer three times: plain mode of the engine, the system
`hf` of `aspd eval`, and lm-eval's class `hf` by itself, which knows nothing of this package.
Greedy; the control tokens, which plain mode never writes, are barred from the other two as well.
"""

import argparse
import copy
from typing import Any

import lm_eval
from lm_eval.models.huggingface import HFLM
from rich.console import Console
from rich.table import Table

from aspd_cli.engine.loading import load
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.evaluate.lm_eval.runner import TaskSettings, evaluate_tasks
from aspd_cli.evaluate.lm_eval.tasks import Tasks
from aspd_cli.evaluate.processes import Processes
from aspd_cli.evaluate.systems import make_runner

SYSTEMS = ("plain", "hf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="the task's documents, JSON lines")
    parser.add_argument("--task", default="gsm8k")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    args = parser.parse_args()

    decoder = load(device="cpu", keep_stock=True)
    tasks = Tasks([args.task], {args.task: args.data})
    kwargs: dict[str, Any] = {"max_gen_toks": args.max_new_tokens}
    stock: Any = copy.copy(decoder.stock)
    tokenizer = copy.deepcopy(decoder.codec.tokenizer)
    theirs = lm_eval.simple_evaluate(
        model=HFLM(pretrained=stock, tokenizer=tokenizer, batch_size=1),
        tasks=[*tasks.load()["tasks"].values()],
        task_manager=tasks.manager,
        limit=args.limit,
        apply_chat_template=True,
        gen_kwargs=kwargs | {"suppress_tokens": sorted(decoder.codec.control)},
    )
    runners = [make_runner(name, decoder, None, None) for name in SYSTEMS]
    asking = TaskSettings(limit=args.limit, apply_chat_template=True, gen_kwargs=kwargs)
    ours = evaluate_tasks(runners, tasks, asking, GenerationOptions(), Processes())

    samples = theirs["samples"][args.task]
    names = {sample["filter"] for sample in samples}
    texts = {str(sample["doc_id"]): sample["resps"][0][0] for sample in samples}
    metrics = [name for name in theirs["results"][args.task] if name.partition(",")[2] in names]
    table = Table(title=f"{args.task}, {len(texts)} documents, {sum(map(bool, texts.values()))} "
                  "answers that are not empty")  # fmt: skip
    for column in ("run by", "answers as lm-eval's hf", *metrics):
        table.add_column(column, justify="right" if table.columns else "left")

    def row(name: str, same: int, results: dict[str, Any]) -> None:
        table.add_row(name, str(same), *(f"{results[metric]:.4f}" for metric in metrics))

    row("lm-eval, hf", len(texts), theirs["results"][args.task])
    for runner in runners:
        name = runner.system.name
        answers = [answer for answer in ours.answers if answer.system == name]
        same = sum(answer.text == texts[answer.doc_id] for answer in answers)
        row(f"aspd eval, {name}", same, ours.lm_eval[name]["results"][args.task])
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
