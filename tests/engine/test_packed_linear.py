"""Prepacked weights compute what the stock layers compute, wherever they are put."""

import copy
from itertools import chain, count
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from aspd_cli.core.visibility import MAIN
from aspd_cli.engine import packed_linear
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.kv_cache import Feed, LaneCache
from aspd_cli.engine.loading import load
from aspd_cli.engine.packed_linear import LinearKernels, PackedLinear, PackedPart, pack_linears
from tests.engine.families import FAMILIES, make_models_fork, tiny_model

can_pack = pytest.mark.skipif(not packed_linear._can_pack(), reason="this torch has no oneDNN")
NESTED = {"max_depth": 2, "max_branches": 4, "max_title_tokens": 3, "max_new_tokens": 700}


@pytest.fixture
def pack_all(monkeypatch):
    """Every layer is prepacked, small as it is."""
    monkeypatch.setattr(packed_linear, "_SIZE", 0)
    monkeypatch.setattr(packed_linear, "_MARGIN", 1e9)


@can_pack
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("least", [1, 4])
@pytest.mark.parametrize("tokens", [(1,), (1, 1), (1, 3), (2, 2), (7,), (1, 8), (1, 33), (1, 300)])
def test_a_packed_layer_equals_its_stock_layer(tokens, least, bias):
    torch.manual_seed(0)
    stock = nn.Linear(96, 160, bias=bias)
    packed = PackedLinear(stock, least=least)
    with torch.inference_mode():
        x = torch.randn(*tokens, 96)
        before = x.clone()
        torch.testing.assert_close(packed(x), stock(x), atol=1e-5, rtol=1e-5)
        strided = torch.randn(*tokens, 192)[..., ::2]
        torch.testing.assert_close(packed(strided), stock(strided), atol=1e-5, rtol=1e-5)
    assert torch.equal(x, before)


@can_pack
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_keeps_its_logits(family, pack_all):
    model = tiny_model(family, 503)
    packed = copy.deepcopy(model)
    kernels = pack_linears(packed)
    assert kernels.packed == kernels.total > 8
    ids = torch.randint(0, 503, (1, 19))
    with torch.inference_mode():
        torch.testing.assert_close(packed(ids).logits, model(ids).logits, atol=1e-4, rtol=1e-4)


@can_pack
@pytest.mark.parametrize("family", FAMILIES)
def test_layers_that_are_fed_the_same_share_a_product(family, pack_all, tokenizer):
    decoder = Decoder(tiny_model(family, len(tokenizer)), tokenizer)
    ids = list(range(20, 39))

    def logits():
        cache = LaneCache(decoder.runner.layers, 1, decoder.device)
        return decoder.runner.forward(range(19), cache, cache.prepare([Feed(0, MAIN, ids, 0)]))

    expected = logits()
    kernels = pack_linears(decoder.model, decoder.runner.probe)
    assert kernels.packed == kernels.total
    joint = {part.product for part in decoder.model.modules() if isinstance(part, PackedPart)}
    has_joint_weights = {"gpt_neox": 0, "phi3": 0, "phi3-window": 0, "starcoder2": 2}
    assert len(joint) == has_joint_weights.get(family, 4), "two layers: q, k, v and gate, up"
    torch.testing.assert_close(logits(), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits(), expected, atol=1e-4, rtol=1e-4)


class Twice(nn.Module):
    """Two layers that are fed the same tensor, as `between` leaves it."""

    def __init__(self, between):
        super().__init__()
        self.one, self.other, self.between = nn.Linear(8, 4), nn.Linear(8, 6), between

    def forward(self, x):
        one = self.one(x)
        return one, self.other(self.between(x))


@can_pack
@pytest.mark.parametrize(
    ("between", "products"),
    [(lambda x: x, 1), (lambda x: x.mul_(2), 2), (lambda x: x * 2, 2), (lambda x: x.clone(), 2)],
)
def test_only_layers_fed_one_unchanged_tensor_share(between, products, pack_all):
    torch.manual_seed(0)
    model = Twice(between)
    x = torch.randn(3, 8)
    with torch.inference_mode():
        expected = model(x.clone())
        kernels = pack_linears(model, lambda: model(x.clone()))
        assert (kernels.packed, kernels.products) == (2, products)
        for found, wanted in zip(model(x.clone()), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@can_pack
def test_layers_that_share_compute_anew_for_another_tensor(pack_all):
    torch.manual_seed(0)
    model = Twice(lambda x: x)
    stock = copy.deepcopy(model)
    with torch.inference_mode():
        pack_linears(model, lambda: model(torch.randn(3, 8)))
        one, other = torch.randn(3, 8), torch.randn(3, 8)
        for layer, x in [("other", one), ("one", one), ("other", other), ("one", other)]:
            found, wanted = getattr(model, layer)(x), getattr(stock, layer)(x)
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        model(one)
    assert model.one._joint._latest == (None, ()), "states are not kept after the last layer"


@can_pack
def test_lanes_and_batches_write_the_same_with_packed_layers(tokenizer, pack_all, monkeypatch):
    decoder = Decoder(tiny_model("qwen2", len(tokenizer), seed=1), tokenizer)
    make_models_fork(monkeypatch)
    prompts = ["Compare the two fruits.", "Hi", "Who was Ada?"]
    expected = decoder.generate(prompts, **NESTED)
    assert pack_linears(decoder.model).packed
    for options in ({}, {"mode": "serial"}, {"batch_size": 1}):
        found = decoder.generate(prompts, **NESTED, **options)
        assert [o.token_ids for o in found] == [o.token_ids for o in expected]
    assert sum(o.stats.blocks for o in expected)


@can_pack
def test_a_tied_head_is_packed_and_the_embedding_stays(pack_all):
    model = tiny_model("qwen2", 503, tie_word_embeddings=True)
    before = model.get_input_embeddings().weight.clone()
    pack_linears(model)
    assert isinstance(model.get_output_embeddings(), PackedLinear)
    assert torch.equal(model.get_input_embeddings().weight, before)


@can_pack
def test_the_embedded_model_says_what_was_chosen():
    decoder = load(device="cpu")
    kernels = decoder.kernels
    packed = [m for m in decoder.model.modules() if isinstance(m, PackedLinear)]
    assert kernels.products == len(packed)
    assert str(kernels) in (
        f"{kernels.packed} of 29 prepacked by oneDNN, in {len(packed)} products",
        str(LinearKernels()),
    )


@can_pack
def test_a_kernel_that_computes_something_else_is_left_alone(pack_all, monkeypatch):
    right = PackedLinear._product
    monkeypatch.setattr(PackedLinear, "_product", lambda self, x: right(self, x) * (1 + 1e-3))
    model = tiny_model("qwen2", 503)
    assert pack_linears(model).packed == 0
    assert all(type(m) is not PackedLinear for m in model.modules())


@can_pack
def test_a_machine_on_which_packing_is_slow_keeps_stock_layers(monkeypatch):
    monkeypatch.setattr(packed_linear, "_SIZE", 0)
    slow = PackedLinear._product

    def forty_times(self, x):
        products = [slow(self, x) for _ in range(40)]
        return products[-1]

    monkeypatch.setattr(PackedLinear, "_product", forty_times)
    assert pack_linears(tiny_model("qwen2", 503)).packed == 0


@pytest.mark.parametrize("why", ["no oneDNN", "half precision", "small"])
def test_where_packing_is_no_use_nothing_changes(why, monkeypatch):
    model = tiny_model("llama", 503)
    if why == "no oneDNN":
        monkeypatch.setattr(packed_linear, "_can_pack", lambda: False)
    if why == "half precision":
        model = model.bfloat16()
    before = list(map(type, model.modules()))
    assert str(pack_linears(model)) == "stock"
    assert list(map(type, model.modules())) == before


@can_pack
def test_layers_that_something_hooks_or_subclasses_are_left_alone(pack_all):
    class Other(nn.Linear):
        pass

    hooked = nn.Linear(8, 8)
    hooked.register_forward_hook(lambda *args: None)
    model = nn.Sequential(nn.Linear(8, 8), hooked, Other(8, 8))
    assert pack_linears(model) == LinearKernels(1, 1, 1)
    assert [type(m) for m in model] == [PackedLinear, nn.Linear, Other]


def test_a_clock_that_stands_still_for_a_call_decides_nothing(monkeypatch):
    times = chain([0, 0], count(0))
    monkeypatch.setattr(packed_linear, "time", SimpleNamespace(process_time=lambda: next(times)))
    trial = packed_linear._Trial("stock", (8, 8), (nn.Linear(8, 8),), is_head=False)
    [seconds] = packed_linear._measure([trial]).values()
    assert set(seconds.values()) == {1}
