"""Budgets close what is open: never a token too many, and a well-formed document."""

import pytest

from aspd_cli.core.markup import parse, plain
from aspd_cli.engine.decoder import Decoder
from aspd_cli.errors import ModelError
from tests.engine.families import make_models_fork, tiny_model
from tests.engine.scripted import fork, scripted


@pytest.fixture
def wide(decoder):
    """Four branches, one of which forks while the others still write, then serial text."""
    codec = decoder.codec
    branches = {((0, i),): codec.encode("x") * 9 for i in range(1, 4)}
    return {
        (): [*fork(codec, *"ABCD"), *codec.encode("x")],
        ((0, 0),): fork(codec, "E", "F"),
        ((0, 0), (0, 0)): codec.encode("y"),
        ((0, 0), (0, 1)): codec.encode("xx"),
        **branches,
    }


@pytest.mark.parametrize("mode", ["parallel", "serial"])
def test_max_new_tokens_holds_for_every_number(mode, decoder, wide):
    full = scripted(decoder, wide, mode=mode, max_depth=2)
    assert full.finish_reason == "stop"
    assert full.stats.blocks == 2
    used = []
    assert full.stats.tokens + full.stats.max_lanes <= 90
    for budget in range(1, 91):
        out = scripted(decoder, wide, mode=mode, max_depth=2, strict=False, max_new_tokens=budget)
        assert out.stats.tokens == len(out.token_ids) <= budget
        assert parse(out.markup) == out.document
        assert out.text == plain(out.document)
        ended = bool(out.token_ids) and out.token_ids[-1] in decoder.ends
        assert out.finish_reason == ("stop" if ended else "length")
        # What just fits may still be cut: every lane could have gone on where it ended.
        if budget >= full.stats.tokens + full.stats.max_lanes:
            assert out.token_ids == full.token_ids
        used.append(out.stats.tokens / budget)
        if not out.stats.branches:
            assert out.stats.ideal_speedup == 1, "even where a list of titles was dropped"
        if mode == "parallel":
            assert 1 <= out.stats.ideal_speedup <= out.stats.max_lanes * 5
    assert sum(used) / len(used) > 0.5, "and a budget is used"


def test_max_new_tokens_holds_whatever_the_model_does(decoder, monkeypatch):
    make_models_fork(monkeypatch)
    options = {"temperature": 1.5, "max_depth": 3, "max_branches": 6, "max_title_tokens": 3}
    for budget in range(1, 91):
        prompts = ["Hi", "Who?"]
        for out in decoder.generate(prompts, max_new_tokens=budget, seed=budget, **options):
            assert out.stats.tokens <= budget
            assert parse(out.markup) == out.document
            ended = bool(out.token_ids) and out.token_ids[-1] in decoder.ends
            assert out.finish_reason == ("stop" if ended else "length")


@pytest.mark.parametrize("mode", ["parallel", "serial"])
def test_max_branch_tokens_closes_exactly_the_branches_that_reach_it(mode, decoder):
    codec = decoder.codec
    texts = ["xy", "xyxyxyxyxy", "xyxy", "yxyxyxyx"]
    script = {(): [*codec.encode("so "), *fork(codec, *"ABCD"), *codec.encode("and so on")]}
    script |= {((0, i),): codec.encode(text) for i, text in enumerate(texts)}
    limit = len(codec.encode("xyxyx"))
    out = scripted(decoder, script, mode=mode, max_branch_tokens=limit)
    [block] = out.document.blocks()
    assert [plain(branch.content) for branch in block.branches] == ["xy", "xyxyx", "xyxy", "yxyxy"]
    assert out.finish_reason == "length"
    assert out.text.endswith("and so on"), "the serial text has no such limit"
    roomy = scripted(decoder, script, mode=mode, max_branch_tokens=100)
    assert roomy.finish_reason == "stop"
    assert [plain(b.content) for block in roomy.document.blocks() for b in block.branches] == texts


def test_a_branch_that_forks_pays_only_its_own_text(decoder):
    codec = decoder.codec
    script = {
        (): fork(codec, "A", "B"),
        ((0, 0),): [*codec.encode("xy"), *fork(codec, "C", "D"), *codec.encode("x")],
        ((0, 1),): codec.encode("y"),
        ((0, 0), (0, 0)): codec.encode("xyx"),
        ((0, 0), (0, 1)): codec.encode("yxy"),
    }
    limit = len(codec.encode("xyxy"))
    out = scripted(decoder, script, max_depth=2, max_branch_tokens=limit)
    assert out.text == "xyxyxyxyxy"
    assert out.finish_reason == "stop"


@pytest.mark.parametrize("positions", ["same-seq", "same-max"])
def test_the_context_length_is_a_budget(positions, tokenizer, monkeypatch):
    context = 72
    model = tiny_model("qwen2", len(tokenizer), max_position_embeddings=context)
    decoder = Decoder(model, tokenizer, positions=positions)
    recorder = make_models_fork(monkeypatch)
    reasons = set()
    for seed in range(8):
        recorder.caches.clear()
        [out] = decoder.generate("Who?", temperature=1.5, seed=seed, max_new_tokens=1000)
        assert out.stats.prompt_tokens + out.stats.tokens <= context
        [cache] = recorder.caches
        assert cache.positions.max() < context
        reasons.add(out.finish_reason)
    assert "length" in reasons


def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers(tokenizer):
    model = tiny_model("qwen2", len(tokenizer), max_position_embeddings=40)
    decoder = Decoder(model, tokenizer)
    words = "x "
    while decoder.generate(words, max_new_tokens=1)[0].stats.prompt_tokens < 39:
        words += "x"
    [out] = decoder.generate(words, max_new_tokens=100)
    assert out.stats.tokens == 1, "one token of context is left"
    with pytest.raises(ModelError, match=r"40 tokens.* 40\b"):
        decoder.generate(words + "x")
    with pytest.raises(ModelError, match=r"has \d{4} tokens.* 40\b"):
        list(decoder.stream("x x " * 1000, mode="plain"))
