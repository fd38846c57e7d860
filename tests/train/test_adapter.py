"""Before a run, an adapter trains what PEFT will train in it, or is refused with what to write."""

import re
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from aspd_cli.core.codec import Codec
from aspd_cli.errors import RecipeError
from aspd_cli.recipe.training import LoraSection
from aspd_cli.train.adapter import lora_config, trained_parameters
from tests.train.conftest import TINY


def meta_model(codec: Codec, **changes: Any) -> Any:
    config = AutoConfig.for_model(**{**TINY, "vocab_size": len(codec.tokenizer), **changes})
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "targets",
    [
        "all-linear",
        "ALL-LINEAR",
        ["q_proj"],
        ["layers.1.self_attn.q_proj", "down_proj"],
        ".*(q|v)_proj",
        r"model\.layers\.0\.mlp\.up_proj",
    ],
)
def test_the_count_is_that_of_the_model_that_peft_makes(
    targets: Any, tied: bool, codec: Codec
) -> None:
    from peft import get_peft_model

    lora = LoraSection(r=2, target_modules=targets)
    found = trained_parameters(lora, meta_model(codec, tie_word_embeddings=tied), codec)
    model = meta_model(codec, tie_word_embeddings=tied).to_empty(device="cpu")
    model.tie_weights()
    made = get_peft_model(model, lora_config(lora, model, codec))
    assert found == made.get_nb_trainable_parameters()[0] > 0


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ("q_proj", "matches none; to name modules by their ends write a list: [q_proj]"),
        ("q_prj", "matches the regular expression q_prj (did you mean [q_proj]?)"),
        ("nothing", "regular expression nothing; the model has down_proj, "),
        ("*q", "'*q' is not a regular expression: nothing to repeat at position 0"),
        ("", "it is empty; name modules, or write all-linear"),
        ([], "it is empty; name modules, or write all-linear"),
        (["q_proj", ""], "no module ''; it has"),
        (["q_prj", "v_proj"], "no module q_prj (did you mean q_proj?); it has down_proj, "),
        (["layers.0.self_atn.q_proj"], "did you mean model.layers.0.self_attn.q_proj?"),
        (["all-linear"], "write all-linear without a list"),
        (["self_attn"], "model.layers.0.self_attn is no layer but holds q_proj, k_proj"),
        (".*", "lm_head and model.embed_tokens would be adapted"),
        ("lm_head", "lm_head would be adapted, but embedding and head are trained at the six"),
        (["embed_tokens"], "embed_tokens would be adapted"),
    ],
)
def test_what_peft_would_not_take_is_refused_with_what_to_write(
    targets: Any, words: str, codec: Codec
) -> None:
    with pytest.raises(RecipeError, match=re.escape(words)) as caught:
        trained_parameters(LoraSection(target_modules=targets), meta_model(codec), codec)
    assert str(caught.value).startswith("lora.target_modules: ")
    assert "\n" not in str(caught.value)


def test_a_layer_of_a_kind_that_peft_does_not_know_is_one_sentence(codec: Codec) -> None:
    lora = LoraSection(target_modules=["norm"])
    with pytest.raises(RecipeError, match=r"^lora: PEFT cannot .*RMSNorm.* is not supported$"):
        trained_parameters(lora, meta_model(codec), codec)
