"""Quantised weights come near the stock layers, and no token depends on those beside it."""

import copy

import pytest
import torch
from torch import nn

from aspd_cli.engine import quantized_linear
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.loading import finish, load
from aspd_cli.engine.packed_linear import pack_linears
from aspd_cli.engine.quantized_linear import Int8Linear, check_quantize
from aspd_cli.errors import ModelError
from tests.engine.families import FAMILIES, make_models_fork, tiny_model

pytestmark = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="this torch has no FBGEMM"
)
NESTED = {"max_depth": 2, "max_branches": 4, "max_title_tokens": 3, "max_new_tokens": 700}


def layers(*outputs: int, bias: bool = True) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(96, size, bias=bias) for size in outputs]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tokens", [(1,), (1, 1), (1, 3), (2, 2), (1, 70), (1, 0)])
def test_a_quantised_layer_comes_near_its_stock_layers(bias, tokens):
    stock = layers(64, 32, bias=bias)
    quantised = Int8Linear(*stock)
    with torch.inference_mode():
        x = torch.randn(*tokens, 96)
        before = x.clone()
        found, expected = quantised(x), torch.cat([layer(x) for layer in stock], dim=-1)
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    assert float((found - expected).norm()) <= 0.01 * float(expected.norm())
    assert torch.equal(x, before)


def test_a_token_gets_the_same_bits_whatever_is_beside_it():
    quantised = Int8Linear(*layers(64, 32))
    with torch.inference_mode():
        x = torch.randn(70, 96) * 10 ** torch.linspace(-6, 6, 70)[:, None]
        together = quantised(x)
        alone = torch.cat([quantised(row[None]) for row in x])
        parts = torch.cat([quantised(part) for part in x.split([1, 2, 3, 5, 8, 16, 35])])
    assert torch.equal(together, alone)
    assert torch.equal(together, parts)


def test_zeros_stay_zeros():
    stock = layers(64)[0]
    with torch.inference_mode():
        assert torch.allclose(
            Int8Linear(stock)(torch.zeros(2, 96)), stock.bias.expand(2, -1), atol=1e-6
        )
        stock.weight.zero_()
        assert torch.allclose(
            Int8Linear(stock)(torch.randn(2, 96)), stock.bias.expand(2, -1), atol=1e-6
        )


def test_lanes_and_batches_write_the_same_with_quantised_weights(tokenizer, monkeypatch):
    decoder = Decoder(tiny_model("qwen2", len(tokenizer), seed=1), tokenizer)
    finish(decoder, quantize="int8")
    make_models_fork(monkeypatch)
    prompts = ["Compare the two fruits.", "Hi", "Who was Ada?"]
    expected = decoder.generate(prompts, **NESTED)
    for options in ({"mode": "serial"}, {"batch_size": 1}):
        found = decoder.generate(prompts, **NESTED, **options)
        assert [o.token_ids for o in found] == [o.token_ids for o in expected]
    assert sum(o.stats.blocks for o in expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_comes_near_its_logits(family):
    model = tiny_model(family, 503)
    quantised = copy.deepcopy(model)
    kernels = pack_linears(quantised, quantize="int8")
    assert kernels.packed == kernels.total > 8
    ids = torch.randint(0, 503, (1, 19))
    with torch.inference_mode():
        found, expected = quantised(ids).logits, model(ids).logits
    assert float((found - expected).norm()) <= 0.2 * float(expected.norm())


def test_the_embedded_model_says_that_it_is_quantised():
    decoder = load(device="cpu", quantize="int8")
    kernels = decoder.kernels
    assert type(decoder.model.get_output_embeddings()) is Int8Linear
    assert str(kernels) == f"29 of 29 in int8, in {kernels.products} products"
    assert decoder.runner.parameters > 3_000_000, "packed layers count"


def test_a_processor_that_overflows_gets_seven_bits(monkeypatch):
    right = quantized_linear._product

    def overflows(x, packed, levels):
        return right(x, packed, levels) * (0.5 if levels > 63 else 1)

    quantized_linear._levels.cache_clear()
    monkeypatch.setattr(quantized_linear, "_product", overflows)
    try:
        stock = layers(64)[0]
        quantised = Int8Linear(stock)
        assert quantised.base == 2 * 63
        with torch.inference_mode():
            x = torch.randn(5, 96)
            assert float((quantised(x) - stock(x)).norm()) <= 0.02 * float(stock(x).norm())
    finally:
        quantized_linear._levels.cache_clear()


CPU, FLOAT = torch.device("cpu"), torch.float32


@pytest.mark.parametrize(
    ("name", "device", "dtype", "reason"),
    [
        ("int4", CPU, FLOAT, "'int4' is no way to quantize: use int8"),
        ("int8", torch.device("cuda"), FLOAT, "leave it out on cuda, where .* bitsandbytes"),
        ("int8", CPU, torch.bfloat16, "needs float32 .* leave out --dtype"),
    ],
)
def test_what_cannot_be_quantised_is_one_sentence(name, device, dtype, reason):
    with pytest.raises(ModelError, match=reason):
        check_quantize(name, device, dtype)


def test_a_machine_without_the_kernels_is_told(monkeypatch):
    monkeypatch.setattr(quantized_linear, "_ENGINE", "none")
    with pytest.raises(ModelError, match="FBGEMM"):
        check_quantize("int8", CPU, FLOAT)


def test_a_model_without_plain_layers_is_told(tokenizer):
    decoder = Decoder(tiny_model("llama", len(tokenizer)), tokenizer)
    pack_linears(decoder.model, quantize="int8")
    with pytest.raises(ModelError, match="no plain linear layers"):
        finish(decoder, quantize="int8")
