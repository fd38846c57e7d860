"""The decoder computes what training teaches: on random documents, for every family.

Shapes: T tokens, V vocabulary.
"""

import copy

import pytest
import torch

from aspd_cli.core.layout import lay_out
from aspd_cli.core.visibility import pad_sees
from aspd_cli.engine.cuda_graph import GraphSteps
from aspd_cli.engine.decoder import Decoder
from aspd_cli.train.branch_mask import masks
from tests import make
from tests.engine.families import FAMILIES, lane_paths, make_models_fork, tiny_model
from tests.engine.scripted import fork, scripted

PROMPTS = ["Compare the two fruits.", "Who was Ada?", "1 + 2 = ", "Banana", "What is it?", "end"]


NESTED = {"max_depth": 2, "max_branches": 4, "max_title_tokens": 3, "max_new_tokens": 700}


@pytest.fixture(scope="module")
def tokenizer():
    return make.tokenizer("qwen", "chatml")


def teacher_forced(model, layout):
    """(T, V) logits of one stock pass over the whole document with the training layout."""
    lanes = torch.from_numpy(layout.lanes)[None]
    sees = torch.from_numpy(pad_sees([layout.sees]))
    positions = torch.from_numpy(layout.position_ids)[None]
    mask = masks(model.config, lanes, sees, positions, torch.float32)
    ids = torch.from_numpy(layout.input_ids)[None]
    with torch.inference_mode():
        return model(ids, attention_mask=mask, position_ids=positions).logits[0]


@pytest.mark.parametrize(
    "steps",
    ["as they come", "in fixed shapes", pytest.param("compiled", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("positions", ["same-seq", "same-max"])
@pytest.mark.parametrize("family", FAMILIES)
def test_sampled_logits_equal_one_teacher_forced_pass(
    family, positions, steps, tokenizer, monkeypatch
):
    if positions == "same-max" and family not in ("qwen2", "gemma3_text"):
        pytest.skip("the rule of positions does not depend on the family")
    model = tiny_model(family, len(tokenizer))
    stock = copy.deepcopy(model)
    decoder = Decoder(model, tokenizer, positions=positions)
    if steps == "in fixed shapes":
        decoder.runner.graphs = GraphSteps(decoder.runner._forward)
    if steps == "compiled":
        decoder.runner.compile()
    recorder = make_models_fork(monkeypatch)
    decoder.generate(PROMPTS[:4], temperature=1.0, seed=5, **NESTED)
    blocks = nested = 0
    for index, prompt in enumerate(PROMPTS[:4]):
        answer = recorder.answers[index]
        tree = answer.main.tree()
        prompt_ids = decoder.encode(prompt, answer.options)
        layout = lay_out(
            tree, decoder.codec, prompt_ids=prompt_ids, end_ids=answer.end_ids, positions=positions
        )
        expected = teacher_forced(stock, layout)
        for lane, path in enumerate(lane_paths(tree)):
            sampled = ((layout.lanes == lane) & layout.sampled).nonzero()[0]
            found = recorder.logits[index, path]
            assert len(found) == len(sampled)
            for at, logits in zip(sampled, found, strict=True):
                torch.testing.assert_close(logits, expected[at - 1], atol=1e-4, rtol=1e-4)
            nested += len(path) > 1
            blocks += len(path) == 1
    assert blocks >= 8, "the documents must hold blocks for this to show anything"
    assert nested
    if faster := decoder.runner.graphs or decoder.runner.compiled:
        assert faster.refusal is None
        assert faster.steps > 80


@pytest.mark.parametrize("family", FAMILIES)
def test_parallel_equals_serial_token_for_token(family, tokenizer, monkeypatch):
    decoder = Decoder(tiny_model(family, len(tokenizer), seed=1), tokenizer)
    make_models_fork(monkeypatch)
    compared = 0
    for temperature in (0.0, 1.0):
        options = {"temperature": temperature, "seed": 2, **NESTED}
        parallel = decoder.generate(PROMPTS[:4], mode="parallel", **options)
        serial = decoder.generate(PROMPTS[:4], mode="serial", **options)
        for one, other in zip(parallel, serial, strict=True):
            assert one.finish_reason == other.finish_reason == "stop"
            assert one.token_ids == other.token_ids
            assert one.document == other.document
            assert other.stats.max_lanes == 1
            compared += one.stats.blocks
    assert compared >= 4, "answers with blocks must be among them"


def test_a_batch_equals_single_runs(tokenizer, monkeypatch):
    decoder = Decoder(tiny_model("qwen2-window", len(tokenizer)), tokenizer)
    make_models_fork(monkeypatch)
    for temperature in (0.0, 0.8):
        options = {"temperature": temperature, "seed": 3, **NESTED}
        batch = decoder.generate(PROMPTS, batch_size=3, **options)
        single = [decoder.generate(prompt, **options)[0] for prompt in PROMPTS]
        assert [o.token_ids for o in batch] == [o.token_ids for o in single]
        assert [o.text for o in batch] == [o.text for o in single]
        assert sum(o.stats.blocks for o in batch) >= 3


def test_no_token_is_computed_twice(tokenizer, monkeypatch):
    decoder = Decoder(tiny_model("llama", len(tokenizer)), tokenizer)
    recorder = make_models_fork(monkeypatch)
    for seed, mode in enumerate(["parallel", "serial", "parallel", "plain"]):
        recorder.caches.clear()
        options = {"temperature": 1.0, "seed": seed, "draft": False, **NESTED}
        [out] = decoder.generate("Who?", mode=mode, **options)
        assert out.finish_reason == "stop"
        [cache] = recorder.caches
        # Everything but the end of turn, which nobody reads, is written once.
        assert cache.writes == out.stats.prompt_tokens + out.stats.tokens - 1
        assert cache.used == [cache.writes]
        assert cache.forwards == out.stats.steps
        if mode == "parallel":
            assert out.stats.blocks
            assert out.stats.steps < out.stats.tokens / 2
        if mode == "plain":
            assert out.stats.steps == out.stats.tokens == out.stats.useful_tokens + 1


def test_fork_and_merge_cost_no_step_of_their_own(tokenizer):
    """Titles, then the longest branch, then the rest: nothing else takes a step."""
    decoder = Decoder(tiny_model("qwen2", len(tokenizer)), tokenizer)
    codec, control = decoder.codec, decoder.codec.control
    first, second = codec.encode("red and round"), codec.encode("yellow")
    script = {
        (): [*fork(codec, "A", "B"), *codec.encode("end"), decoder.ends[0]],
        ((0, 0),): [*first, control.branch_end],
        ((0, 1),): [*second, control.branch_end],
    }
    out = scripted(decoder, script, draft=False)
    assert out.text == "red and roundyellowend"
    longest = max(len(first), len(second)) + 1
    assert out.stats.steps == len(script[()]) + longest
    assert out.stats.max_lanes == 2
