"""The embedded model as it ships: it loads with stock libraries and answers one prompt a family."""

from typing import Any

import pytest
import torch

from aspd_cli.core.chat import encode_prompt
from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import CONTROL_TOKENS, PARA, TITLE, TITLE_END
from aspd_cli.files import EMBEDDED_MODEL

PROMPTS = {
    "math": (
        "What is 3+4, 5*6 and 9-2?",
        ["- 3+4", "5*6", "9-2"],
        "Here are the results:\n- 3+4=7\n- 5*6=30\n- 9-2=7\nThe largest is 30.",
    ),
    "rag": (
        "Anna lives in Rome. Ben lives in Oslo. Where do Anna and Ben live?",
        ["- Anna", "Ben"],
        "The text says:\n- Anna lives in Rome.\n- Ben lives in Oslo.\n"
        "That is all it says about this.",
    ),
    "general": (
        "Describe the tiger and the moon in one sentence.",
        ["- Tiger:", "Moon"],
        "Here they are:\n- Tiger: a big cat with orange and black stripes.\n"
        "- Moon: the body that goes round the earth.\nThat is all.",
    ),
    "chain": (
        "Start with 7, add 5, then subtract 3. What is the result?",
        [],
        "Step by step:\n7+5=12\n12-3=9\nThe result is 9.",
    ),
}


@pytest.fixture(scope="module")
def base() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(EMBEDDED_MODEL / "base", dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def codec() -> Codec:
    from transformers import AutoTokenizer

    return Codec(AutoTokenizer.from_pretrained(EMBEDDED_MODEL / "base"))


def generated(model: Any, codec: Codec, prompt: str, **options: Any) -> list[int]:
    ids = torch.tensor([encode_prompt(codec, prompt)])
    with torch.no_grad():
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=120, **options
        )
    return out[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("family", PROMPTS)
def test_the_serial_base_answers_one_prompt_of_each_family(
    base: Any, codec: Codec, family: str
) -> None:
    prompt, _, answer = PROMPTS[family]
    assert codec.decode(generated(base, codec, prompt)) == answer


def test_the_adapter_announces_the_titles_of_what_is_asked_and_none_for_a_chain(
    base: Any, codec: Codec
) -> None:
    from peft import PeftModel

    model = PeftModel.from_pretrained(base, EMBEDDED_MODEL / "adapter").eval()
    try:
        for prompt, titles, _ in PROMPTS.values():
            ids = generated(model, codec, prompt, eos_token_id=[codec.control.para, 2])
            markup = codec.tokenizer.decode(ids)
            found = [piece.split(TITLE_END)[0] for piece in markup.split(TITLE)[1:]]
            assert found == titles
            assert (PARA in markup) == bool(titles)
    finally:
        model.unload()


def test_the_embedded_model_is_at_most_twelve_megabytes() -> None:
    assert (
        sum(path.stat().st_size for path in EMBEDDED_MODEL.rglob("*") if path.is_file())
        <= 12_000_000
    )


def test_the_tokenizers_of_base_and_adapter_are_one(codec: Codec) -> None:
    from transformers import AutoTokenizer

    other = AutoTokenizer.from_pretrained(EMBEDDED_MODEL / "adapter")
    assert other.get_vocab() == codec.tokenizer.get_vocab()
    assert all(len(codec.tokenizer.encode(token)) == 1 for token in CONTROL_TOKENS)
