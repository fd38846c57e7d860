"""On vLLM itself, in this process: exact or refused. `.ci/vllm` runs it."""

import os
from contextlib import ExitStack

import pytest

import aspd_cli
from aspd_cli.core.layout import lay_out
from aspd_cli.core.visibility import MAIN
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.scoring import score
from aspd_cli.errors import ModelError
from aspd_cli.recipe import load_recipe
from aspd_cli.synth import draw
from aspd_cli.vllm.decoder import VllmDecoder
from aspd_cli.vllm.model import RemoteModel, merged_directory
from aspd_cli.vllm.planner import Planner
from aspd_cli.vllm.self_test import _Asking, self_test
from tests.vllm.test_planner import same

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]
pytest.importorskip("vllm", reason="needs vLLM, see .ci/vllm")

ARGUMENTS = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 1024,
    "block_size": 32,
    "gpu_memory_utilization": 0.2,  # of the machine's memory, where there is no GPU
}


def questions(number: int, seed: int = 20261126) -> list[str]:
    from random import Random

    rng = Random(seed)
    families = ("math", "rag", "general", "chain")
    return [draw(families[at % 4], rng).question for at in range(number)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("merged") / "tiny"
    with merged_directory(load_recipe(None, [], {}).model, str(target)) as path:
        yield path


@pytest.fixture(scope="module")
def own():
    return aspd_cli.load()


@pytest.fixture(scope="module")
def start(folder):
    """Starts vLLM with arguments of its own; one after another."""
    os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_LOGGING_LEVEL": "ERROR"}
    from aspd_cli.vllm.in_process import InProcess

    with ExitStack() as held:

        def begin(**arguments):
            engine = InProcess(folder, {**ARGUMENTS, **arguments})
            held.callback(engine.close)
            return VllmDecoder(RemoteModel(folder), engine, ExitStack())

        yield begin


@pytest.fixture(scope="module")
def decoder(start):
    return start()


def under_way(decoder, steps):
    """A scheduler amid eight answers."""
    options = GenerationOptions()
    scheduler = decoder.scheduler(8)
    for index, prompt in enumerate(questions(8)):
        scheduler.submit(index, decoder.encode(prompt, options), options)
    for _ in range(steps):
        list(scheduler.step())
    return scheduler


def scheduler_of(decoder):
    return decoder.engine.engine.engine_core.engine_core.scheduler


def all_is_free(decoder) -> bool:
    """Whether nothing is kept, and only the block that stands for none is taken."""
    scheduler = scheduler_of(decoder)
    pool = scheduler.kv_cache_manager.block_pool
    return not scheduler.connector._answers and (
        pool.get_num_free_blocks() == pool.num_gpu_blocks - 1
    )


@pytest.mark.parametrize("at_once", [1, 16])
def test_answers_are_those_of_our_own_engine(at_once, decoder, own):
    prompts = questions(100)
    found = decoder.generate(prompts, batch_size=at_once)
    assert sum(output.stats.blocks > 0 for output in found) > 50
    assert same(own.generate(prompts, batch_size=16, draft=False), found) == [True] * len(prompts)
    assert all_is_free(decoder)


@pytest.mark.parametrize(
    "options", [{"max_new_tokens": 40}, {"max_branch_tokens": 4}, {"stop": "."}]
)
def test_answers_are_cut_where_our_own_engine_cuts(options, decoder, own):
    prompts = questions(12)
    found = decoder.generate(prompts, **options)
    assert same(own.generate(prompts, draft=False, **options), found) == [True] * len(prompts)
    assert all_is_free(decoder)


def test_what_follows_a_block_has_the_log_probabilities_of_the_mask(decoder, own):
    """A text of a block, stitched, against our engine's pass over its layout."""
    worst, blocks = 0.0, 0
    for prompt in questions(12):
        ids, output = own.encode(prompt, GenerationOptions()), own.generate(prompt)[0]
        if not output.stats.blocks:
            continue
        layout = lay_out(output.tree, own.codec, prompt_ids=ids)
        tokens, lanes = layout.input_ids.tolist(), layout.lanes.tolist()
        branches = sorted(set(lanes) - {MAIN})
        fork, merge = lanes.index(branches[0]), len(lanes) - lanes[::-1].index(branches[-1])
        asking = _Asking(decoder.engine)
        asking.keep("main", tokens[:fork])
        uses = []
        for lane in branches:
            content = [token for token, at in zip(tokens, lanes, strict=True) if at == lane]
            asking.keep(f"{lane}", tokens[:fork] + content, [("main", 0, fork)])
            start = fork if uses else 0
            uses.append((f"{lane}", start, fork + len(content) - start))
        found = asking.ask(tokens[: merge + 1], uses)
        asking.end()
        expected = score(own, layout, top=20)[merge + 1].top
        common = found.keys() & expected.keys()
        assert len(common) > 15
        worst = max(worst, *(abs(found[token] - expected[token]) for token in common))
        blocks += 1
    print(f"{blocks} blocks, largest difference {worst:.1e}")
    assert blocks >= 6
    assert worst < 1e-4


def test_the_self_test_finds_this_vllm_exact(decoder):
    assert self_test(decoder.engine, decoder.runner) < 1e-4
    assert all_is_free(decoder)


def test_what_is_cancelled_is_free_at_once(decoder):
    scheduler = under_way(decoder, steps=25)
    for index in range(8):
        scheduler.cancel(index)
    while decoder.engine.engine.has_unfinished_requests():
        decoder.engine.poll()
    assert all_is_free(decoder)


def test_sampled_documents_keep_to_the_grammar(decoder):
    for options in ({"temperature": 1.5}, {"temperature": 1.0, "top_p": 0.9}):
        for output in decoder.generate(questions(8), max_new_tokens=200, **options):
            assert aspd_cli.parse(output.markup) == output.document
    assert all_is_free(decoder)


@pytest.mark.parametrize(
    "arguments",
    [
        {"enable_prefix_caching": False},
        {"enable_chunked_prefill": True, "max_num_batched_tokens": 16, "max_num_seqs": 16},
        {"num_gpu_blocks_override": 40, "max_num_seqs": 64},  # many are preempted and lose theirs
    ],
    ids=["no prefix cache", "prefill in chunks of 16", "a small cache"],
)
def test_answers_are_the_same_under(arguments, start, own, monkeypatch):
    lost, lose = [], Planner._lose
    monkeypatch.setattr(Planner, "_lose", lambda self, plan: [lost.append(plan), lose(self, plan)])
    decoder, prompts = start(**arguments), questions(24)
    found = decoder.generate(prompts, batch_size=16)
    assert bool(lost) == ("num_gpu_blocks_override" in arguments)
    assert same(own.generate(prompts, batch_size=16, draft=False), found) == [True] * len(prompts)
    assert all_is_free(decoder)


def test_a_quantised_cache_is_refused(start):
    with pytest.raises(ModelError, match="the key-value cache is quantised"):
        start(kv_cache_dtype="fp8")


def test_a_release_that_was_not_tested_is_refused(monkeypatch):
    import vllm

    from aspd_cli.vllm.connector import refusal

    monkeypatch.setattr(vllm, "__version__", "0.99.1")
    assert "vLLM 0.99.1 was not tested with aspd, only 0.32" in refusal(None)
