"""What most tests of the engine decode with: one tiny random model and its tokenizer."""

import pytest

from aspd_cli.engine.decoder import Decoder
from tests import make
from tests.engine.families import tiny_model


@pytest.fixture(scope="session")
def tokenizer():
    return make.tokenizer("qwen", "chatml")


@pytest.fixture(scope="session")
def decoder(tokenizer):
    return Decoder(tiny_model("qwen2", len(tokenizer), num_hidden_layers=1), tokenizer)
