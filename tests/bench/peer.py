"""One system of `tests.bench.peers`, in a process of its own, perhaps of another environment.

    PYTHON tests/bench/peer.py SYSTEM MODEL THREADS

Says "ready", then answers each line {"lanes": L, "tokens": T} with the seconds that L answers of T
tokens took, side by side, greedy, whatever ends they would have come to: {"wall": S, "cpu": S}.
A line {"ids": [...], "tokens": T, "ends": [...], "banned": [...]} is a prompt to be answered by
itself, at most to T tokens; its reply has the answer as well, as {"text": ...} or {"ids": ...}.
Imports nothing but its own system's library, so that any environment can run it.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

CONTEXT = 64
"""Tokens of each prompt."""
ROOM = 2048

Decode = Callable[[list[list[int]], int], object]
"""(prompts as ids, tokens) -> after so many tokens of each"""
Reply = Callable[[dict[str, Any]], dict[str, Any]]
"""(line that asks for an answer) -> the answer, as "text" or "ids\""""
System = tuple[Decode, Reply | None]


def prompts(lanes: int) -> list[list[int]]:
    """Different from their first token on, so that no cache of prefixes helps."""
    return [[100 + (7 * lane + 3 * at) % 500 for at in range(CONTEXT)] for lane in range(lanes)]


def ours(model: str, threads: int, **how: Any) -> Any:
    import torch

    from aspd_cli.engine.loading import load

    torch.set_num_threads(threads)
    return load(model, device="cpu", **how)


def answers(decoder: Any, mode: str, ends: tuple[int, ...], **options: Any) -> Reply:
    from aspd_cli.engine.options import GenerationOptions

    def reply(asked: dict[str, Any]) -> dict[str, Any]:
        decoder.runner.ends = ends
        chosen = GenerationOptions(mode=mode, max_new_tokens=asked["tokens"], **options)
        *_, (_, last) = decoder.run([asked["ids"]], chosen, batch_size=1)
        return {"text": last.output.text}

    return reply


def never_ends(decoder: Any) -> tuple[int, ...]:
    """The ends of its answers, and has it look out for others, which it does not meet."""
    ends: tuple[int, ...] = decoder.runner.ends
    decoder.runner.ends = (decoder.runner.known_ids - 1,)
    return ends


def plain(model: str, threads: int, **how: Any) -> System:
    """Requests side by side, through the step loop."""
    from aspd_cli.engine.options import GenerationOptions

    decoder = ours(model, threads, **how)
    ends = never_ends(decoder)

    def decode(asked: list[list[int]], tokens: int) -> None:
        never_ends(decoder)
        options = GenerationOptions(mode="plain", max_new_tokens=tokens, draft=False)
        for _ in decoder.run(asked, options, batch_size=len(asked)):
            pass

    return decode, answers(decoder, "plain", ends, draft=False)


def parallel(model: str, threads: int, **how: Any) -> System:
    """Branches of one request: the model's steps and the choice of tokens. Whole answers go through
    the step loop, with drafts."""
    from aspd_cli.core.visibility import MAIN
    from aspd_cli.engine.kv_cache import Feed, LaneCache

    decoder = ours(model, threads, **how)
    runner = decoder.runner

    def decode(asked: list[list[int]], tokens: int) -> None:
        cache = LaneCache(runner.layers, 1, decoder.device)
        tree = cache.open_row(0)
        plan = cache.prepare([Feed(0, MAIN, asked[0], 0)])
        chosen = runner.forward([CONTEXT - 1], cache, plan).argmax(-1).tolist() * len(asked)
        lanes = list(tree.fork(MAIN, len(asked))) if len(asked) > 1 else [MAIN]
        for at in range(CONTEXT, CONTEXT + tokens - 1):
            feeds = [Feed(0, lane, [i], at) for lane, i in zip(lanes, chosen, strict=True)]
            logits = runner.forward(range(len(feeds)), cache, cache.prepare(feeds))
            chosen = logits.numpy().argmax(-1).tolist()

    return decode, answers(decoder, "parallel", runner.ends)


def transformers(model: str, threads: int) -> System:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    stock: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()

    @torch.inference_mode()
    def decode(asked: list[list[int]], tokens: int) -> None:
        ids = torch.tensor(asked)
        counts = {"min_new_tokens": tokens, "max_new_tokens": tokens, "pad_token_id": 0}
        stock.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, **counts)

    @torch.inference_mode()
    def reply(asked: dict[str, Any]) -> dict[str, Any]:
        ids = torch.tensor([asked["ids"]])
        written = stock.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=0,
            max_new_tokens=asked["tokens"], eos_token_id=asked["ends"],
            suppress_tokens=asked["banned"],
        )  # fmt: skip
        return {"ids": written[0, ids.shape[1] :].tolist()}

    return decode, reply


def vllm(model: str, threads: int) -> System:
    os.environ |= {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found]

    engine = LLM(
        model=model, dtype="float32", max_model_len=ROOM, max_num_seqs=16,
        enable_prefix_caching=False,
    )  # fmt: skip

    def decode(asked: list[list[int]], tokens: int) -> None:
        settings = SamplingParams(temperature=0, ignore_eos=True, max_tokens=tokens)
        engine.generate([{"prompt_token_ids": p} for p in asked], settings, use_tqdm=False)

    def reply(asked: dict[str, Any]) -> dict[str, Any]:
        settings = SamplingParams(
            temperature=0, max_tokens=asked["tokens"], stop_token_ids=asked["ends"],
            logit_bias=dict.fromkeys(asked["banned"], -100.0),
        )  # fmt: skip
        [output] = engine.generate([{"prompt_token_ids": asked["ids"]}], settings, use_tqdm=False)
        return {"ids": list(output.outputs[0].token_ids)}

    return decode, reply


def llama(model: str, threads: int) -> System:
    """llama.cpp by the package xllamacpp; `model` is a GGUF file."""
    from concurrent.futures import ThreadPoolExecutor

    import xllamacpp  # type: ignore[import-not-found]

    params = xllamacpp.CommonParams()
    params.model.path, params.n_parallel, params.n_ctx = model, 16, 16 * ROOM
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.verbosity, params.cache_prompt, params.port = 0, False, 0
    server = xllamacpp.Server(params)
    pool = ThreadPoolExecutor(16)

    def decode(asked: list[list[int]], tokens: int) -> None:
        rest = {"n_predict": tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        list(pool.map(lambda ids: server.handle_completions({"prompt": ids, **rest}), asked))

    return decode, None


SYSTEMS: dict[str, Callable[[str, int], System]] = {
    "plain": plain,
    "parallel": parallel,
    "plain-compiled": partial(plain, compile=True),
    "parallel-compiled": partial(parallel, compile=True),
    "parallel-int8": partial(parallel, quantize="int8"),
    "parallel-int8-compiled": partial(parallel, quantize="int8", compile=True),
    "transformers": transformers,
    "vllm": vllm,
    "llama": llama,
}


def main() -> None:
    system, model, threads = sys.argv[1:]
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries write to standard output as well
    decode, reply = SYSTEMS[system](model, int(threads))
    replies.write("ready\n")
    for line in sys.stdin:
        asked = json.loads(line)
        wall, cpu = time.perf_counter(), time.process_time()
        said: dict[str, Any] = {}
        if "ids" in asked:
            said = reply(asked) if reply else {}
        else:
            decode(prompts(asked["lanes"]), asked["tokens"])
        taken = said | {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        replies.write(json.dumps(taken) + "\n")
    os._exit(0)  # threads of a library may not end by themselves


if __name__ == "__main__":
    main()
