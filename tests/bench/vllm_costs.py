"""What branches cost on vLLM, beside our own engine; run it in vLLM's environment (see `.ci/vllm`).

    python -m tests.bench.vllm_costs --model DIR                          # steps, forks, merges
    python -m tests.bench.vllm_costs --model DIR --prompts prompts.jsonl  # and whole answers

DIR holds weights with the control tokens in their vocabulary; whole answers want a tuned model. A
cell is the median of the rounds in milliseconds, in brackets the least; systems take turns.
Branches have 24 tokens and stand after 256. On vLLM: `fork` is all branches begun, to the first
token of each; `end`, their last keys and values made and kept; `merge`, the first token after the
block, stitched; `recomputed`, the same from its tokens alone, as without the connector. Ours: the
steps of a replay in which that happens.
"""

import argparse
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from aspd_cli.core.layout import TokenBlock, TokenBranch
from aspd_cli.engine.events import Output
from aspd_cli.engine.forced_tokens import Script
from aspd_cli.engine.loading import load
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.vllm.decoder import VllmDecoder
from aspd_cli.vllm.in_process import InProcess
from aspd_cli.vllm.model import RemoteModel
from aspd_cli.vllm.token_engine import TokenEngine, TokenRequest

LANES = (1, 4, 8, 16)
BRANCH, STEPS = 24, 8
CONTEXT = [500 + at % 500 for at in range(256)]
TITLES, TEXT = 1000, tuple(range(1100, 1100 + BRANCH))
"""Tokens: any that are ordinary in every vocabulary."""
Seconds = dict[Any, list[float]]
console = Console(width=120)


class Requests:
    """Raw requests of one answer to vLLM, several at once."""

    def __init__(self, engine: TokenEngine, key: str) -> None:
        self.engine, self.key, self.numbers = engine, key, count()

    def first_tokens(self, texts: Sequence[Sequence[int]], **fields: Any) -> float:
        """Seconds until each has its first token; they go on for `max_tokens` (1)."""
        waiting, began = set(), time.perf_counter()
        uses, most, keeps = fields.get("uses", ()), fields.get("max_tokens", 1), "name" in fields
        for place, ids in enumerate(texts):
            name = f"{self.key}-{next(self.numbers)}"
            told = {"answer": self.key, "uses": [list(use) for use in uses], "name": name}
            if keeps:
                told |= {"name": f"{fields['name']}{place}", "keeps": True}
            self.engine.submit(TokenRequest(name, list(ids), most, salt=name, cache=told))
            waiting.add(name)
        while waiting:
            for output in self.engine.poll():
                if output.tokens or output.finished:
                    waiting.discard(output.id)
        return time.perf_counter() - began

    def steps(self) -> list[float]:
        """Seconds of steps of what is under way."""
        seconds = []
        for _ in range(STEPS):
            began = time.perf_counter()
            self.engine.poll()
            seconds.append(time.perf_counter() - began)
        return seconds

    def end(self) -> None:
        self.engine.abort([f"{self.key}-{number}" for number in range(next(self.numbers))])
        told = {"answer": self.key, "release": True}
        self.engine.submit(TokenRequest(f"{self.key}-end", [0], 1, cache=told, streams=False))
        self.engine.poll()


def on_vllm(engine: TokenEngine, lanes: int, key: str, seconds: Seconds) -> None:
    """One block of `lanes` branches, by hand."""
    branches = [[TITLES + lane, *TEXT[1:]] for lane in range(lanes)]
    requests = Requests(engine, key)
    requests.first_tokens([CONTEXT], name="main")
    stem = [("main0", 0, len(CONTEXT))]
    begun = [[*CONTEXT, *branch[:4]] for branch in branches]
    seconds["vLLM", "fork", lanes].append(
        requests.first_tokens(begun, uses=stem, max_tokens=BRANCH + 40)
    )
    seconds["vLLM", "step", lanes] += requests.steps()
    requests.engine.abort([f"{key}-{number}" for number in range(1, 1 + lanes)])
    whole = [[*CONTEXT, *branch] for branch in branches]
    # All but their last tokens are there, as in an answer.
    requests.first_tokens([ids[:-1] for ids in whole], uses=stem, name="own")
    began = time.perf_counter()
    for lane, ids in enumerate(whole):
        requests_end(requests, ids, lane)
    _drain(requests.engine)
    seconds["vLLM", "end", lanes].append(time.perf_counter() - began)
    uses = [
        (f"end{lane}", len(CONTEXT) if lane else 0, BRANCH + (0 if lane else len(CONTEXT)))
        for lane in range(lanes)
    ]
    text = [*CONTEXT, *(token for branch in branches for token in branch), 7]
    seconds["vLLM", "merge", lanes].append(requests.first_tokens([text], uses=uses))
    seconds["vLLM", "recomputed", lanes].append(requests.first_tokens([text]))
    requests.end()


def requests_end(requests: Requests, ids: list[int], lane: int) -> None:
    """Has the last token's keys and values of a branch made and kept."""
    told = {
        "answer": requests.key,
        "uses": [[f"own{lane}", 0, len(ids) - 1]],
        "name": f"end{lane}",
        "keeps": True,
    }
    name = f"{requests.key}-{next(requests.numbers)}"
    requests.engine.submit(TokenRequest(name, ids, 1, salt=name, cache=told, streams=False))


def _drain(engine: Any) -> None:
    while engine.engine.has_unfinished_requests():
        engine.poll()


def ours(decoder: Any, lanes: int, seconds: Seconds) -> None:
    """The same block in a replay of our own engine."""
    separator = decoder.codec.separator
    branches = tuple(
        TokenBranch((TITLES + lane,), (TITLES + lane, *separator), (TEXT,)) for lane in range(lanes)
    )
    block = TokenBlock(tuple(branch.title for branch in branches), branches)
    tree = (block, TEXT) if lanes > 1 else (TEXT,)
    scheduler = decoder.scheduler(1)
    script = Script(tree, decoder.codec, decoder.ends[0])
    scheduler.submit(0, CONTEXT, GenerationOptions(draft=False, max_new_tokens=9999), script)
    taken: list[tuple[int, float]] = []
    while not scheduler.idle:
        width, began = scheduler.lanes, time.perf_counter()
        list(scheduler.step())
        taken.append((width, time.perf_counter() - began))
    wide = [at for at, (width, _) in enumerate(taken) if width >= lanes]
    if lanes > 1:
        seconds["ours", "fork", lanes].append(taken[wide[0]][1])
        seconds["ours", "merge", lanes].append(taken[wide[-1] + 1][1])
    else:
        wide = wide[2:]  # after the prompt
    seconds["ours", "step", lanes] += [taken[at][1] for at in wide[1 : 1 + STEPS]]


def answers(vllm: VllmDecoder, prompts: Sequence[str], tokens: int) -> None:
    """Whole answers on vLLM, one at a time: parallel, plain, and what the planner takes of it."""
    inside = 0.0
    poll = vllm.engine.poll

    def timed() -> Any:
        nonlocal inside
        began = time.perf_counter()
        found = poll()
        inside += time.perf_counter() - began
        return found

    vllm.engine.poll = timed  # type: ignore[method-assign]
    rows: dict[str, list[tuple[Output, float]]] = defaultdict(list)
    spent = 0.0
    for prompt in prompts:
        for mode in ("parallel", "plain"):
            began = time.perf_counter()
            [output] = vllm.generate(prompt, mode=mode, max_new_tokens=tokens)
            rows[mode].append((output, time.perf_counter() - began))
            spent += rows[mode][-1][1]
    table = Table(
        title=f"Whole answers on vLLM, planner {100 * (1 - inside / spent):.1f}% of the time"
    )
    for name in ("branches", "answers", "plain / parallel", "the same per useful token"):
        table.add_column(name, justify="left" if name == "branches" else "right")
    for least, most in ((0, 0), (2, 3), (4, 99), (2, 99)):
        pairs = [
            (one, other)
            for one, other in zip(rows["parallel"], rows["plain"], strict=True)
            if least <= one[0].stats.branches <= most
        ]
        if pairs:
            whole = [other[1] / one[1] for one, other in pairs]
            per = [
                (other[1] / other[0].stats.useful_tokens) / (one[1] / one[0].stats.useful_tokens)
                for one, other in pairs
            ]
            name = f"{least} to {most}" if most < 99 else f"{least} and more"
            table.add_row(name, str(len(pairs)), _ratio(whole), _ratio(per))
    console.print(table)


def _ratio(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=Path)
    parser.add_argument("--max-new-tokens", type=int, default=300)
    args = parser.parse_args()
    os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_LOGGING_LEVEL": "ERROR"}
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import torch

    torch.set_num_threads(args.threads)
    seconds: Seconds = defaultdict(list)
    own = load(args.model, device="cpu", dtype="float32")
    given = {"enforce_eager": True, "block_size": 32, "max_model_len": 2048}
    given |= {"gpu_memory_utilization": 0.2, "max_num_seqs": 64}
    with ExitStack() as held:
        engine = InProcess(args.model, {"dtype": "float32", **given})
        held.callback(engine.close)
        for round_ in range(args.rounds + 1):
            for lanes in LANES:
                on_vllm(engine, lanes, f"bench{round_}-{lanes}", seconds)
                ours(own, lanes, seconds)
            if not round_:
                seconds.clear()  # warm by now
        table = Table(title=f"{Path(args.model).name}, float32, {args.threads} threads: ms")
        kinds = list(dict.fromkeys(key[:2] for key in sorted(seconds)))
        table.add_column("lanes")
        for system, kind in kinds:
            table.add_column(f"{system} {kind}", justify="right")
        for lanes in LANES:
            table.add_row(str(lanes), *(_cell(seconds[(*kind, lanes)]) for kind in kinds))
        console.print(table)
        if args.prompts:
            rows = [json.loads(line) for line in args.prompts.read_text().splitlines()]
            decoder = VllmDecoder(RemoteModel(args.model), engine, ExitStack())
            answers(decoder, [row["prompt"] for row in rows], args.max_new_tokens)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{1e3 * statistics.median(values):.1f} [{1e3 * min(values):.1f}]"


if __name__ == "__main__":
    main()
