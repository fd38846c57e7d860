"""A random model that likes to fork, decoded by our engine and by the planner."""

import copy
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import torch

from aspd_cli.engine.decoder import Decoder
from aspd_cli.vllm.decoder import VllmDecoder
from aspd_cli.vllm.model import Rows
from tests import make
from tests.engine.families import tiny_model

TILT = {"title": 5.0, "title_end": 7.0, "para": 6.0, "branch_end": 4.5, "branch": 4.0}
"""What is added to the logits of control tokens, so that the model forks and leaves the grammar."""


@pytest.fixture(scope="session")
def forking():
    """(our engine's decoder, the same model as transformers has it)."""
    tokenizer = make.tokenizer("qwen", "chatml")
    model = tiny_model("qwen2", len(tokenizer))
    head = torch.nn.Linear(model.lm_head.in_features, model.lm_head.out_features)
    head.weight, head.bias.data = model.lm_head.weight, torch.zeros(model.lm_head.out_features)
    model.lm_head = head
    stock = copy.deepcopy(model)
    decoder = Decoder(model, tokenizer, max_depth=2)
    for each in (model, stock):
        for name, value in TILT.items():
            each.lm_head.bias.data[getattr(decoder.codec.control, name)] = value
        each.lm_head.bias.data[decoder.ends[0]] = 4.0
    return decoder, stock


@pytest.fixture(scope="session")
def folder(forking, tmp_path_factory):
    """The directory of that model."""
    decoder, stock = forking
    target = tmp_path_factory.mktemp("vllm") / "forking"
    stock.save_pretrained(target)
    decoder.codec.tokenizer.save_pretrained(target)
    (target / "aspd.json").write_text('{"positions": "same-seq", "max_depth": 2, "format": 2}')
    return str(target)


@pytest.fixture
def on_vllm(forking):
    """Makes a decoder whose steps an engine takes."""
    decoder, _ = forking
    model = SimpleNamespace(
        codec=decoder.codec,
        ends=decoder.ends,
        unnamed_ids=decoder.runner.unnamed_ids,
        unpenalised_ids=decoder.runner.unpenalised_ids,
        vocabulary=decoder.runner.vocabulary,
        known_ids=decoder.runner.known_ids,
        device=decoder.device,
        context=decoder.context,
        settings={"max_depth": 2},
        take_cache=lambda rows: Rows(rows),
        give_back=lambda cache: None,
        reserve=lambda cache, entries: None,
    )

    def make_decoder(engine):
        return VllmDecoder(model, engine, ExitStack())

    return make_decoder
