"""What cannot be decoded exactly is refused by name, before any token."""

import functools

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, T5Config
from transformers.models.t5.modeling_t5 import T5ForConditionalGeneration

from aspd_cli.core.codec import Codec
from aspd_cli.engine import kv_cache
from aspd_cli.engine.attention import step_plan
from aspd_cli.engine.compatibility import context_length, self_test
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.model_runner import ModelRunner
from aspd_cli.errors import ModelError
from tests import make
from tests.engine.families import tiny_model

CODEC = Codec(make.tokenizer("qwen", "chatml"))

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 503}
MIXED = ["linear_attention", "full_attention"]
NO_ENDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}

REFUSED = {
    "gpt2": ({}, "rotary"),
    "opt": ({"ffn_dim": 32, "word_embed_proj_dim": 32}, "rotary"),
    "bloom": ({}, "rotary"),
    "mpt": ({"d_model": 32, "n_heads": 4, "n_layers": 2}, "rotary"),
    "falcon": ({"alibi": True}, "ALiBi"),
    "mamba": ({"state_size": 4}, "kept apart"),
    "qwen3_next": ({"layer_types": MIXED, "head_dim": 8}, "linear_attention"),
    "lfm2": ({"layer_types": ["conv", "full_attention"], "intermediate_size": 32}, "conv"),
    "gpt_oss": (
        {"head_dim": 8, "num_key_value_heads": 2, "num_local_experts": 4, "intermediate_size": 32},
        "attention sinks",
    ),
}
"""Family -> what its configuration needs, and a word of the reason."""


def random_model(family, **settings):
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**SIZES, **NO_ENDS, **settings})
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


@pytest.mark.parametrize("family", REFUSED)
def test_a_family_that_cannot_keep_branches_apart_is_refused_by_name(family, tokenizer):
    settings, reason = REFUSED[family]
    with pytest.raises(ModelError) as caught:
        Decoder(random_model(family, **settings), tokenizer)
    message = str(caught.value)
    assert family.replace("_", "") in message.lower().replace("_", "")
    assert reason in message
    assert "\n" not in message


def test_an_encoder_decoder_model_is_refused_by_name(tokenizer):
    config = T5Config(d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4, vocab_size=503)
    with pytest.raises(ModelError, match="t5 is an encoder-decoder"):
        Decoder(T5ForConditionalGeneration(config), tokenizer)


def test_jamba_is_refused_although_some_of_its_layers_attend(tokenizer):
    sizes = {"intermediate_size": 32, "num_key_value_heads": 2, "num_experts": 2}
    settings = {**sizes, "mamba_d_state": 4, "mamba_dt_rank": 4, "use_mamba_kernels": False}
    model = random_model("jamba", attn_layer_period=2, attn_layer_offset=1, **settings)
    with pytest.raises(ModelError, match="jamba"):
        Decoder(model, tokenizer)


def test_rotary_falcon_is_refused_because_it_ignores_the_engines_attention(tokenizer):
    with pytest.raises(ModelError, match="Falcon"):
        Decoder(random_model("falcon", alibi=False), tokenizer)


def test_a_window_that_does_not_reach_the_attention_is_refused(tokenizer):
    settings = {"intermediate_size": 32, "num_key_value_heads": 2, "moe_intermediate_size": 16}
    settings |= {"shared_expert_intermediate_size": 16, "num_experts": 2, "num_experts_per_tok": 1}
    windowed = {"use_sliding_window": True, "sliding_window": 50, "max_window_layers": 2}
    with pytest.raises(ModelError, match=r"Qwen2Moe.*sliding window of 50"):
        Decoder(random_model("qwen2_moe", **settings, **windowed), tokenizer)
    wide = {**windowed, "sliding_window": 64, "max_position_embeddings": 64}
    Decoder(random_model("qwen2_moe", **settings, **wide), tokenizer)
    Decoder(random_model("qwen2_moe", **settings), tokenizer)


@pytest.mark.parametrize("spread", [0.4, 0.02])
@pytest.mark.parametrize("family", ["qwen2", "gemma3_text", "mistral-window"])
class TestTheSelfTest:
    """Catches attention that is wrong by little, with the weights of a fresh model as well."""

    def broken(self, family, spread):
        model = tiny_model(family, 503, initializer_range=spread)
        with pytest.raises(ModelError, match=f"{type(model).__name__} does not honour"):
            self_test(ModelRunner(model, CODEC))

    def test_passes_what_is_right(self, family, spread):
        self_test(ModelRunner(tiny_model(family, 503, initializer_range=spread), CODEC))

    def test_catches_branches_that_see_each_other(self, family, spread, monkeypatch):
        def by_index(self, span, keys):
            slots = span.slot + torch.arange(span.stop - span.start)[:, None].numpy()
            return torch.arange(keys).numpy() <= slots

        monkeypatch.setattr(kv_cache.LaneCache, "_allowed", by_index)
        self.broken(family, spread)

    def test_catches_branches_that_do_not_see_the_prompt(self, family, spread, monkeypatch):
        right = kv_cache.LaneCache._allowed

        def forgetful(self, span, keys):
            allowed = right(self, span, keys).copy()
            allowed[:, 0] = False
            return allowed

        monkeypatch.setattr(kv_cache.LaneCache, "_allowed", forgetful)
        self.broken(family, spread)

    def test_catches_positions_that_are_ignored(self, family, spread, monkeypatch):
        model = tiny_model(family, 503, initializer_range=spread)
        right = type(model).forward

        @functools.wraps(right)
        def counting(self, input_ids, position_ids=None, **kwargs):
            lanes = kwargs.get("cache", kwargs.get("past_key_values"))
            if lanes is not None:
                start = lanes.used[0] - input_ids.shape[1]
                position_ids = torch.arange(input_ids.shape[1])[None] + start
            return right(self, input_ids, position_ids=position_ids, **kwargs)

        monkeypatch.setattr(type(model), "forward", counting)
        self.broken(family, spread)


def test_modeling_code_that_fails_is_one_sentence(tokenizer, monkeypatch):
    model = tiny_model("llama", len(tokenizer))

    def failing(*args, **kwargs):
        raise RuntimeError("shapes do not fit\nand more")

    monkeypatch.setattr(type(model), "forward", failing)
    with pytest.raises(ModelError, match=r"LlamaForCausalLM fails.*shapes do not fit$"):
        Decoder(model, tokenizer)


def test_a_model_that_a_decoder_took_over_says_so_when_it_is_called(tokenizer):
    model = tiny_model("llama", len(tokenizer))
    Decoder(model, tokenizer)
    with pytest.raises(ModelError, match="belongs to an aspd decoder"):
        model(torch.tensor([[1, 2, 3]]))
    assert step_plan.current() is None


ROPES = {
    "dynamic": ("llama", {"rope_type": "dynamic", "factor": 4.0}, {}),
    "longrope": (
        "phi3",
        {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4},
        {"original_max_position_embeddings": 64},
    ),
}


@pytest.mark.parametrize("rope", ROPES)
def test_frequencies_that_depend_on_the_length_limit_the_context(rope, tokenizer):
    family, parameters, settings = ROPES[rope]
    parameters = {**parameters, "rope_theta": 10000.0, "original_max_position_embeddings": 64}
    model = tiny_model(
        family,
        len(tokenizer),
        rope_parameters=parameters,
        max_position_embeddings=256,
        **settings,
    )
    assert context_length(model.config) == 64
    decoder = Decoder(model, tokenizer)
    [out] = decoder.generate("Who?", mode="plain", max_new_tokens=1000)
    assert out.stats.prompt_tokens + out.stats.tokens <= 64
    with pytest.raises(ModelError, match="context is 64"):
        decoder.generate("x " * 80)


def test_plain_scaling_leaves_the_context_as_it_is():
    parameters = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
    model = tiny_model("llama", 503, rope_parameters=parameters, max_position_embeddings=256)
    assert context_length(model.config) == 256
    assert context_length(PretrainedConfig()) is None
