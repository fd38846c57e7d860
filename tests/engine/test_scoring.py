"""Scores of given tokens are those of the decode that wrote them."""

import pytest
import torch

import aspd_cli
from aspd_cli.core.layout import lay_out
from aspd_cli.engine import scoring
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.scoring import score
from tests.engine.families import tiny_model


@pytest.mark.parametrize("at_once", [7, 256])
def test_a_plain_text_scores_as_transformers_says(at_once, tokenizer, monkeypatch):
    monkeypatch.setattr(scoring, "_AT_ONCE", at_once)
    stock, ours = (tiny_model("qwen2", len(tokenizer)) for _ in range(2))
    decoder = Decoder(ours, tokenizer)
    ids = decoder.codec.encode("Who was Ada, and what did she write about engines?")
    found = score(decoder, lay_out((), decoder.codec, prompt_ids=ids), top=3)
    with torch.inference_mode():
        expected = stock(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    assert [s.token for s in found] == ids
    assert found[0].logprob is None
    for at in range(1, len(ids)):
        assert found[at].logprob == pytest.approx(expected[at - 1, ids[at]].item(), abs=1e-4)
        values, best = expected[at - 1].topk(3)
        assert list(found[at].top) == best.tolist()
        assert list(found[at].top.values()) == pytest.approx(values.tolist(), abs=1e-4)


@pytest.mark.parametrize("at_once", [5, 256])
def test_what_was_decoded_greedily_scores_best(at_once, monkeypatch):
    """In branches and after them: each token is scored with what its lane saw."""
    monkeypatch.setattr(scoring, "_AT_ONCE", at_once)
    decoder = aspd_cli.load()
    prompt = "What is 9 + 16 and 7 * 2 and 5 + 5?"
    [output] = decoder.generate(prompt)
    ids = decoder.encode(prompt, GenerationOptions())
    layout = lay_out(output.tree, decoder.codec, prompt_ids=ids, positions=decoder.positions)
    found = score(decoder, layout, top=1)
    assert [s.token for s in found] == layout.input_ids.tolist()
    assert output.stats.branches == 3
    for scored, sampled in zip(found, layout.sampled, strict=True):
        assert not sampled or list(scored.top) == [scored.token]
        assert not sampled or scored.top[scored.token] == scored.logprob
