"""Attention in tiles is attention."""

import copy

import numpy as np
import pytest
import torch

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import lay_out
from aspd_cli.core.visibility import LaneTree, batch_mask
from aspd_cli.train import branch_mask as mask
from aspd_cli.train import tiled_attention
from aspd_cli.train.batching import BranchCollator
from tests import make
from tests.bench.branched import document, row
from tests.engine.families import tiny_model


@pytest.fixture(scope="module")
def batch():
    """Two documents of several tiles, of unequal length."""
    codec = Codec(make.tokenizer("qwen", "chatml"))
    trees = [document(codec, tokens, seed=tokens) for tokens in (700, 1300)]
    return BranchCollator(0)([row(lay_out(tree, codec)) for tree in trees])


def loss_and_gradients(model, batch, autocast=False):
    """As TRL calls a model: without a cache."""
    mask.install(model)
    inputs = {k: v for k, v in batch.items() if k not in ("attention_mask", "labels")}
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = model(**inputs, use_cache=False)
    real = batch["attention_mask"].bool()
    loss = torch.nn.functional.cross_entropy(
        out.logits[:, :-1][real[:, 1:]].float(), batch["input_ids"][:, 1:][real[:, 1:]]
    )
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", ["qwen2", "mistral-window", "gemma3_text"])
@pytest.mark.parametrize("tile", [512, 1024])
def test_tiles_compute_what_one_call_computes(family, tile, batch, monkeypatch):
    whole = tiny_model(family, 503)
    cut = copy.deepcopy(whole)
    assert whole.config._attn_implementation == "sdpa"
    cut.set_attn_implementation(mask.implementation(cut.config))
    assert cut.config.get_text_config()._attn_implementation == tiled_attention.NAME
    monkeypatch.setattr(tiled_attention, "TILE", tile)
    computed = []
    forward = tiled_attention._forward

    def counting(query, key, value, **rest):
        computed.append(query.shape[2] * key.shape[2])
        return forward(query, key, value, **rest)

    monkeypatch.setattr(tiled_attention, "_forward", counting)
    expected, want = loss_and_gradients(whole, batch)
    assert not computed
    found, got = loss_and_gradients(cut, batch)
    assert computed
    assert sum(computed) < 0.75 * 2 * 1300**2, "two layers, each little more than half of it"
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    assert got.keys() == want.keys()
    for name, gradient in want.items():
        torch.testing.assert_close(got[name], gradient, atol=1e-6, rtol=1e-4)
    assert np.isfinite(float(found))


def coverage(allowed):
    """(B, 1, T, T) how often the parts of a mask compute each pair."""
    covered = torch.zeros_like(allowed, dtype=torch.int)
    for part in tiled_attention.parts(allowed, torch.float32):
        covered[..., part.first : part.last, part.start : part.stop] += (
            1 if part.mask is None else (part.mask == 0).int()
        )
    return covered


def test_parts_cover_what_is_seen_once_and_masks_are_small(batch):
    allowed = batch_mask(batch["lanes"], batch["sees"], batch["position_ids"])
    real = batch["attention_mask"].bool()[:, None, :, None]
    assert torch.equal(coverage(allowed) * real, allowed.int() * real)
    masks = [
        part.mask for part in tiled_attention.parts(allowed, torch.float32) if part.mask is not None
    ]
    assert sum(mask[0].numel() for mask in masks) < 0.6 * 1300**2


@pytest.mark.parametrize(
    ("dtype", "autocast"),
    [(torch.bfloat16, False), (torch.float32, True)],
    ids=["bf16", "autocast"],
)
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text"])
def test_half_precision_is_as_near_to_float32_as_torchs_own(family, dtype, autocast, batch):
    def distance(implementation):
        model = tiny_model(family, 503, initializer_range=0.1).to(dtype)
        model.set_attn_implementation(implementation)
        loss, gradients = loss_and_gradients(model, batch, autocast)
        assert all(gradient.dtype == dtype for gradient in gradients.values())
        off = [(gradients[n].float() - exact[n]).norm() / exact[n].norm() for n in exact]
        return abs(float(loss) - float(best)), float(torch.stack(off).mean())

    best, exact = loss_and_gradients(tiny_model(family, 503, initializer_range=0.1), batch)
    (loss, gradients), (stock_loss, stock_gradients) = (
        distance(tiled_attention.NAME),
        distance("sdpa"),
    )
    assert loss <= stock_loss + 5e-3
    assert gradients <= 1.2 * stock_gradients


def test_a_token_that_sees_only_itself_is_no_padding_when_others_see_it():
    """The first token after a block that is wider than the sliding window, last of its tile."""
    tree = LaneTree()
    lanes, positions = [0] * 103, [*range(103)]
    for branch in tree.fork(0, 8):
        lanes += [branch] * 243
        positions += range(103, 346)
    after = 103 + 8 * 243
    lanes += [0] * 200
    positions += range(after, after + 200)
    sees = torch.from_numpy(tree.sees.copy())[None]
    allowed = batch_mask(torch.tensor([lanes]), sees, torch.tensor([positions]), 512)
    assert int(allowed[0, 0, after].sum()) == 1
    assert (after + 1) % tiled_attention.TILE == 0
    assert torch.equal(coverage(allowed), allowed.int())


@pytest.mark.parametrize("changed", ["value size", "additive mask"])
def test_what_the_kernel_does_not_take_goes_to_torchs_own(changed):
    query, key = torch.randn(1, 4, 300, 8), torch.randn(1, 2, 300, 8)
    value = torch.randn(1, 2, 300, 6 if changed == "value size" else 8)
    allowed = torch.ones(1, 1, 300, 300, dtype=torch.bool).tril()
    given = allowed
    if changed == "additive mask":
        given = torch.zeros(allowed.shape).masked_fill_(~allowed, torch.finfo(torch.float32).min)
    module = torch.nn.Module()
    module.num_key_value_groups = 2
    found, _ = tiled_attention.tiled_attention(module, query, key, value, given)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=allowed, enable_gqa=True
    )
    torch.testing.assert_close(found, expected.transpose(1, 2), atol=1e-6, rtol=1e-5)


def test_only_a_cpu_takes_tiles():
    config = tiny_model("qwen2", 503).config
    assert mask.implementation(config, "sdpa", "cpu") == tiled_attention.NAME
    assert mask.implementation(config, "sdpa", "cuda") == "sdpa"
    assert mask.implementation(config, "eager", "cpu") == "eager"
