"""A tokenizer and a random model small enough that a training step takes milliseconds."""

from typing import Any

import pytest
import torch

from aspd_cli.core.tokens import Codec
from aspd_cli.synth import examples
from aspd_cli.train.scratch import new_model, new_tokenizer

TINY = {
    "model_type": "qwen2",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": True,
}


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    made = list(examples(300))
    texts = [text for e in made for text in (e.question, e.text)]
    return new_tokenizer(texts + [str(n) for n in range(100)] * 50, 800)


@pytest.fixture(scope="session")
def codec(tokenizer: Any) -> Codec:
    return Codec(tokenizer)


@pytest.fixture
def model(tokenizer: Any) -> Any:
    torch.manual_seed(0)
    return new_model(TINY, tokenizer).eval()
