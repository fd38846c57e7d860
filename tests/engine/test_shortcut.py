"""Steps without the model's modules: they compute the same, or are not taken.

That every family's logits stay what they were is shown in test_equivalence.
"""

import itertools

import pytest
import torch

from aspd_cli.cli.decoding import compare
from aspd_cli.engine import fusing, graph, shortcut
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.linear import PackedLinear, pack_linears
from aspd_cli.engine.loading import load
from tests import make
from tests.engine.families import FAMILIES, make_models_fork, tiny_model

PROMPTS = ["Compare the two fruits.", "Hi", "Who was Ada?", "What is it?"]
OPTIONS = {"max_depth": 2, "max_branches": 4, "max_title_tokens": 3, "max_new_tokens": 700}


@pytest.fixture
def decoder(tokenizer):
    return Decoder(tiny_model("qwen2", len(tokenizer), seed=1), tokenizer)


def texts(decoder):
    return [output.token_ids for output in decoder.generate(PROMPTS, **OPTIONS)]


@pytest.mark.parametrize("packed", [None, 1, 4])
def test_answers_are_the_same_either_way(decoder, packed, monkeypatch):
    """`packed`: fewest tokens that prepacked layers are fed; loading chooses 1 or 4."""
    make_models_fork(monkeypatch)
    if packed:
        monkeypatch.setattr("aspd_cli.engine.linear._SIZE", 0)
        monkeypatch.setattr("aspd_cli.engine.linear._MARGIN", 1e9)
        decoder.kernels = pack_linears(decoder.model)
        layers = [m for m in decoder.model.modules() if isinstance(m, PackedLinear)]
        assert len(layers) == decoder.kernels.total
        for layer in layers:
            layer.least = packed
    expected = texts(decoder)
    assert not decoder.shortcut.is_taken
    decoder.shortcut = shortcut.Shortcut(decoder.model, after=3)
    called = []
    decoder.model.register_forward_hook(lambda *args: called.append(1))
    assert texts(decoder) == expected
    assert decoder.shortcut.is_taken
    assert decoder.shortcut.steps > 40
    assert len(called) <= 3 + 2 + decoder.shortcut.steps.bit_length(), "the rest had no modules"


def test_the_embedded_model_comes_to_it_by_itself():
    decoder = load(device="cpu")
    prompt = "Name three colours and three animals."
    [expected] = decoder.generate(prompt, mode="plain", max_new_tokens=24)
    while decoder.shortcut.steps <= decoder.shortcut.after:
        decoder.generate(prompt, mode="plain", max_new_tokens=200)
    [found] = decoder.generate(prompt, mode="plain", max_new_tokens=24)
    assert found.token_ids == expected.token_ids
    assert decoder.shortcut.is_taken, decoder.shortcut.refusal


def test_a_comparison_does_not_time_the_start(decoder, monkeypatch):
    make_models_fork(monkeypatch)
    noted, timed = [], []
    note, generate = shortcut.note, Decoder.generate
    monkeypatch.setattr(shortcut, "note", lambda *args: (noted.append(len(timed)), note(*args))[1])
    monkeypatch.setattr(
        Decoder, "generate", lambda self, *a, **k: (timed.append(1), generate(self, *a, **k))[1]
    )
    compare(decoder, PROMPTS[0], OPTIONS)
    assert noted == [1], "in the first of three, which is not timed"
    assert len(timed) == 3


def operations(family):
    """What a noted step of a family calls, by name."""
    model = tiny_model(family, 503)
    Decoder(model, make.tokenizer("qwen", "chatml"))
    step = graph.note(model, lambda *args: None)
    return [getattr(n.target, "__name__", "") for n in step.__self__.graph.nodes]


@pytest.mark.parametrize(
    ("family", "norms", "rotations"),
    [("qwen2", 5, 4), ("qwen3", 9, 4), ("llama", 5, 4), ("gemma2", 9, 4), ("gpt_neox", 0, 4)],
)
def test_norms_and_rotations_are_found(family, norms, rotations):
    """Two layers: a norm before attention, one before the rest, one at the end; q and k turn."""
    names = operations(family)
    assert (names.count("rms_norm"), names.count("_rotate")) == (norms, rotations)


def test_a_step_that_computes_something_else_is_given_up(decoder, monkeypatch):
    make_models_fork(monkeypatch)
    expected = texts(decoder)
    monkeypatch.setattr(fusing, "_rotate", lambda x, cos, sin, half: x)
    decoder.shortcut = shortcut.Shortcut(decoder.model, after=0)
    assert texts(decoder) == expected
    assert not decoder.shortcut.is_taken
    assert "logits are off by" in str(decoder.shortcut.refusal)


def test_a_model_that_looks_at_its_data_is_not_noted(tokenizer, monkeypatch):
    """Dynamic frequencies are chosen by the longest position."""
    make_models_fork(monkeypatch)
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    model = tiny_model("llama", len(tokenizer), rope_parameters=rope)
    decoder = Decoder(model, tokenizer)
    expected = texts(decoder)
    decoder.shortcut = shortcut.Shortcut(model, after=0)
    assert texts(decoder) == expected
    assert decoder.shortcut.refusal
    assert not decoder.shortcut.is_taken


def test_a_step_that_fails_later_is_done_by_the_modules(decoder, monkeypatch):
    make_models_fork(monkeypatch)
    expected = texts(decoder)
    decoder.shortcut = shortcut.Shortcut(decoder.model, after=0)
    calls = itertools.count()
    run = shortcut.Shortcut._run

    def fails(self, *args):
        if next(calls) == 9:
            raise RuntimeError("view size is not compatible")
        return run(self, *args)

    monkeypatch.setattr(shortcut.Shortcut, "_run", fails)
    assert texts(decoder) == expected
    assert decoder.shortcut.refusal == "RuntimeError: view size is not compatible"


@pytest.mark.parametrize("family", FAMILIES)
def test_noting_leaves_a_model_as_it_was(family, tokenizer):
    model = tiny_model(family, len(tokenizer))
    decoder = Decoder(model, tokenizer)
    [before] = decoder.generate("Hi", max_new_tokens=20)
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    graph.note(model, lambda *args: None)
    assert all(torch.equal(weights[name], weight) for name, weight in model.state_dict().items())
    [after] = decoder.generate("Hi", max_new_tokens=20)
    assert after.token_ids == before.token_ids
