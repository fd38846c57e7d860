"""Compiled steps: the same answers with prepacked and quantised weights; given up where they fail.

That every family's logits stay what they were is shown in test_decoder_equivalence (slow).
"""

import shutil

import pytest
import torch

from aspd_cli.engine import compiled_steps
from aspd_cli.engine.compiled_steps import CompiledSteps, check_compile
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.loading import finish
from aspd_cli.errors import ModelError
from tests.engine.families import make_models_fork, tiny_model

PROMPTS = ["Compare the two fruits.", "Hi", "Who was Ada?"]
OPTIONS = {"max_depth": 2, "max_branches": 4, "max_title_tokens": 3, "max_new_tokens": 700}

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")


def decoder_of(tokenizer, seed=1, **changes):
    """Wide enough that its layers are prepacked."""
    changes = {"hidden_size": 256, "intermediate_size": 512} | changes
    return Decoder(tiny_model("qwen2", len(tokenizer), seed=seed, **changes), tokenizer)


def ids(decoder, **options):
    outputs = decoder.generate(PROMPTS, temperature=1.0, seed=4, **OPTIONS, **options)
    assert sum(output.stats.blocks for output in outputs)
    return [output.token_ids for output in outputs]


@needs_compiler
@pytest.mark.parametrize("quantize", [None, "int8"])
def test_answers_are_the_same_in_parallel_serially_and_in_batches(quantize, tokenizer, monkeypatch):
    make_models_fork(monkeypatch)
    decoder = finish(decoder_of(tokenizer), quantize=quantize)
    assert decoder.kernels.packed
    expected = ids(decoder)
    decoder.runner.compile()
    for options in ({}, {"mode": "serial"}, {"batch_size": 1}):
        assert ids(decoder, **options) == expected
    compiled = decoder.runner.compiled
    assert compiled.refusal is None
    assert compiled.steps > 100
    assert str(decoder.runner) == "compiled steps of the forward pass of the model"


@needs_compiler
def test_each_model_has_a_graph_of_its_own(tokenizer, monkeypatch):
    make_models_fork(monkeypatch)
    decoders = [decoder_of(tokenizer, seed) for seed in (1, 2)]
    expected = [ids(decoder) for decoder in decoders]
    for decoder in decoders:
        decoder.runner.compile()
    assert [ids(decoder) for decoder in decoders] == expected
    assert [decoder.runner.compiled.refusal for decoder in decoders] == [None, None]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda logits: logits + 1, "logits are off by"),
        (lambda logits: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_what_computes_something_else_or_fails_is_given_up(
    wrong, reason, tokenizer, monkeypatch, caplog
):
    make_models_fork(monkeypatch)
    decoder = decoder_of(tokenizer)
    expected = ids(decoder)
    monkeypatch.setattr(
        compiled_steps.torch, "compile", lambda forward, **options: lambda fed: wrong(forward(fed))
    )
    monkeypatch.setattr(CompiledSteps, "_run", lambda self, fed, last, *rest: wrong(fed.float()))
    decoder.runner.compile()
    assert reason in decoder.runner.compiled.refusal
    assert ids(decoder) == expected
    [said] = caplog.messages
    assert said.startswith("aspd: compiled steps are off for this model, decoding is slower: ")


def test_only_narrow_steps_whose_tokens_sample_are_compiled(tokenizer):
    decoder = decoder_of(tokenizer)
    steps = CompiledSteps(decoder.model, decoder.runner.layers, "cache")

    class Plan:
        def __init__(self, size):
            self.fed = torch.zeros(2, size)

    suits = {
        (size, sampled): steps._suits(range(sampled), None, Plan(size))
        for size, sampled in [(1, 1), (64, 64), (65, 65), (20, 12), (20, 11), (3, 0), (2, 1)]
    }
    assert [pair for pair, does in suits.items() if does] == [(1, 1), (64, 64), (20, 12), (2, 1)]


def test_without_a_compiler_or_on_a_gpu_it_is_told_before_the_model_is_loaded(monkeypatch):
    check_compile(False, torch.device("cuda"))
    with pytest.raises(ModelError, match="--compile is for a CPU: leave it out on cuda"):
        check_compile(True, torch.device("cuda"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ModelError, match="--compile needs a C\\+\\+ compiler, such as g"):
        check_compile(True, torch.device("cpu"))
