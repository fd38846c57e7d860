"""Attention in slices of queries is attention."""

import copy

import numpy as np
import pytest
import torch

from aspd_cli.core.layout import lay_out
from aspd_cli.core.tokens import Codec
from aspd_cli.train import mask, sliced
from aspd_cli.train.collator import BranchCollator
from tests import make
from tests.bench.branched import document, row
from tests.engine.families import tiny_model


@pytest.fixture(scope="module")
def batch():
    """Two documents of several slices, of unequal length."""
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
def test_slices_compute_what_one_call_computes(family, batch, monkeypatch):
    whole = tiny_model(family, 503)
    cut = copy.deepcopy(whole)
    assert whole.config._attn_implementation == "sdpa"
    cut.set_attn_implementation(mask.implementation(cut.config))
    assert cut.config.get_text_config()._attn_implementation == sliced.NAME
    widths = []
    stock = sliced.scaled_dot_product_attention

    def counting(query, key, *args, **kwargs):
        widths.append((query.shape[2], key.shape[2]))
        return stock(query, key, *args, **kwargs)

    monkeypatch.setattr(sliced, "scaled_dot_product_attention", counting)
    expected, want = loss_and_gradients(whole, batch)
    assert not widths
    found, got = loss_and_gradients(cut, batch)
    slices = {(sliced.SLICE, end) for end in range(sliced.SLICE, 1300, sliced.SLICE)}
    assert set(widths) == slices | {(1300 % sliced.SLICE, 1300)}
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    assert got.keys() == want.keys()
    for name, gradient in want.items():
        torch.testing.assert_close(got[name], gradient, atol=1e-6, rtol=1e-4)
    assert np.isfinite(float(found))


def test_only_a_cpu_takes_slices():
    config = tiny_model("qwen2", 503).config
    assert mask.implementation(config, "sdpa", "cpu") == sliced.NAME
    assert mask.implementation(config, "sdpa", "cuda") == "sdpa"
    assert mask.implementation(config, "eager", "cpu") == "eager"
