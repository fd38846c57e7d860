"""Plain mode is ordinary decoding: what `transformers` itself would write, token for token."""

import copy

import pytest
import torch

from aspd_cli.engine.decoder import Decoder
from aspd_cli.errors import ModelError
from tests import make
from tests.engine.families import tiny_model

PROMPTS = ["Compare the two fruits by colour, by taste and by price.", "Hi", "1 + 2 = "]


def generated(stock, decoder, prompt, count, **settings):
    """What `generate` writes; `decoder` only says how the prompt is encoded and what ends it."""
    from aspd_cli.engine.options import GenerationOptions

    ids = torch.tensor([decoder.encode(prompt, GenerationOptions(mode="plain"))])
    made = stock.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=list(decoder.ends),
        pad_token_id=decoder.ends[0],
        **settings,
    )
    return made[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize(
    "family", ["qwen2", "qwen2-window", "llama", "phi3-window", "gemma2", "gemma3_text", "gpt_neox"]
)
def test_greedy_plain_decoding_equals_generate(family):
    tokenizer = make.tokenizer("llama3", "llama3", control=False)
    model = tiny_model(family, len(tokenizer), seed=2)
    stock = copy.deepcopy(model)
    decoder = Decoder(model, tokenizer)
    for prompt, out in zip(
        PROMPTS,
        decoder.generate(PROMPTS, mode="plain", max_new_tokens=40, batch_size=2),
        strict=True,
    ):
        assert out.token_ids == generated(stock, decoder, prompt, 40)
        stats = out.stats
        assert stats.tokens == stats.steps + stats.accepted_tokens == len(out.token_ids)
        assert out.text == decoder.codec.decode(out.token_ids)
        assert out.markup == out.text


def test_control_tokens_are_suppressed_in_plain_mode(tokenizer):
    model = tiny_model("qwen2", len(tokenizer), seed=4)
    control = [tokenizer.convert_tokens_to_ids(t) for t in ("<|title|>", "<|para|>", "<|branch|>")]
    with torch.no_grad():
        model.lm_head.weight[control] *= 3  # so that they would often be the best
    stock = copy.deepcopy(model)
    decoder = Decoder(model, tokenizer)
    suppress = list(decoder.codec.control)
    unlike = 0
    for prompt in PROMPTS:
        [out] = decoder.generate(prompt, mode="plain", max_new_tokens=40)
        assert out.token_ids == generated(stock, decoder, prompt, 40, suppress_tokens=suppress)
        unlike += out.token_ids != generated(stock, decoder, prompt, 40)
    assert unlike


def test_the_end_of_turn_ends_a_plain_answer_too(tokenizer):
    model = tiny_model("llama", len(tokenizer), seed=5)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.convert_tokens_to_ids("<|im_end|>")] *= 3
    stock = copy.deepcopy(model)
    decoder = Decoder(model, tokenizer)
    suppress, ended = list(decoder.codec.control), 0
    for prompt in PROMPTS:
        [out] = decoder.generate(prompt, mode="plain", max_new_tokens=40)
        expected = generated(stock, decoder, prompt, 40, suppress_tokens=suppress)
        assert out.token_ids == expected
        assert out.finish_reason == ("stop" if expected[-1] in decoder.ends else "length")
        ended += out.finish_reason == "stop"
    assert ended


def test_every_end_that_the_model_names_ends_an_answer(tokenizer):
    model = tiny_model("llama", len(tokenizer), seed=5)
    options = {"mode": "plain", "max_new_tokens": 9}
    [words] = Decoder(copy.deepcopy(model), tokenizer).generate("Hi", **options)
    model.generation_config.eos_token_id = [words.token_ids[4], words.token_ids[6]]
    [out] = Decoder(model, tokenizer).generate("Hi", **options)
    first = min(words.token_ids.index(words.token_ids[at]) for at in (4, 6))
    assert out.token_ids == words.token_ids[: first + 1]
    assert out.finish_reason == "stop"


@pytest.mark.parametrize("kind", ["qwen", "llama2"])
def test_a_tokenizer_without_control_tokens_decodes_in_plain_mode_only(kind):
    tokenizer = make.tokenizer(kind, control=False)
    decoder = Decoder(tiny_model("llama", len(tokenizer)), tokenizer)
    [out] = decoder.generate("Hi", mode="plain", max_new_tokens=8)
    assert out.stats.tokens == 8
    for mode in ("parallel", "serial"):
        with pytest.raises(ModelError) as caught:
            decoder.generate("Hi", mode=mode)
        message = str(caught.value)
        assert "<|para|>" in message, "it names what is missing"
        assert all(way in message for way in ("aspd train", "--adapter", "--plain"))


def test_a_model_without_embeddings_for_the_control_tokens_decodes_in_plain_mode_only(tokenizer):
    size = len(tokenizer) - 6  # the end of turn is in, the control tokens are not
    decoder = Decoder(tiny_model("llama", size), tokenizer)
    [out] = decoder.generate("Hi", mode="plain", max_new_tokens=8)
    assert out.stats.tokens == 8
    for mode in ("parallel", "serial"):
        with pytest.raises(ModelError, match=rf"for only {size} tokens.*--adapter.*--plain"):
            next(decoder.stream("Hi", mode=mode))
