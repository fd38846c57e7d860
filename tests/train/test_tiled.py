"""Attention in tiles is attention."""

import copy

import numpy as np
import pytest
import torch

from aspd_cli.core.layout import lay_out
from aspd_cli.core.tokens import Codec
from aspd_cli.core.visibility import batch_mask
from aspd_cli.train import mask, tiled
from aspd_cli.train.collator import BranchCollator
from tests import make
from tests.bench.branched import document, row
from tests.engine.families import tiny_model


@pytest.fixture(scope="module")
def batch():
    """Two documents of several tiles, of unequal length."""
    codec = Codec(make.tokenizer("qwen", "chatml"))
    trees = [document(codec, tokens, seed=tokens) for tokens in (700, 1300)]
    return BranchCollator(0)([row(lay_out(tree, codec)) for tree in trees])


def loss_and_gradients(model, batch):
    mask.install(model)
    out = model(**{k: v for k, v in batch.items() if k not in ("attention_mask", "labels")})
    real = batch["attention_mask"].bool()
    loss = torch.nn.functional.cross_entropy(
        out.logits[:, :-1][real[:, 1:]], batch["input_ids"][:, 1:][real[:, 1:]]
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
    assert cut.config.get_text_config()._attn_implementation == tiled.NAME
    monkeypatch.setattr(tiled, "TILE", tile)
    computed = []
    forward = tiled._forward

    def counting(query, key, value, **rest):
        computed.append(query.shape[2] * key.shape[2])
        return forward(query, key, value, **rest)

    monkeypatch.setattr(tiled, "_forward", counting)
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


def test_parts_cover_what_is_seen_once_and_masks_are_small(batch):
    allowed = batch_mask(batch["lanes"], batch["sees"], batch["position_ids"])
    real = batch["attention_mask"].bool()[:, None, :, None]
    covered = torch.zeros_like(allowed, dtype=torch.int)
    masked = 0
    for part in tiled.parts(allowed, torch.float32):
        covered[..., part.first : part.last, part.start : part.stop] += (
            1 if part.mask is None else (part.mask == 0).int()
        )
        masked += 0 if part.mask is None else part.mask[0].numel()
    assert torch.equal(covered * real, allowed.int() * real)
    assert masked < 0.6 * 1300**2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_types_are_kept(dtype, batch):
    model = tiny_model("llama", 503).to(dtype)
    model.set_attn_implementation(tiled.NAME)
    loss, gradients = loss_and_gradients(model, batch)
    assert all(gradient.dtype == dtype for gradient in gradients.values())
    assert np.isfinite(float(loss))


def test_only_a_cpu_takes_tiles():
    config = tiny_model("qwen2", 503).config
    assert mask.implementation(config, "sdpa", "cpu") == tiled.NAME
    assert mask.implementation(config, "sdpa", "cuda") == "sdpa"
    assert mask.implementation(config, "eager", "cpu") == "eager"
