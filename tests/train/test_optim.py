"""Muon: what its update is, and that it checkpoints like any optimizer."""

import copy
from typing import Any

import torch

from aspd_cli.train.optim import MuonAdamW, orthogonal


def test_singular_values_of_an_update_are_about_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 16, 16), (2, 8, 24), (2, 24, 8)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert values.min() > 0.3
        assert values.max() < 1.3


def test_linear_weights_take_muon_and_tied_embeddings_and_vectors_adamw(model: Any) -> None:
    optimizer = MuonAdamW.of(model, lr=1e-3, weight_decay=0.1)
    hidden, tables, vectors = optimizer.param_groups
    assert len(hidden["params"]) == 7 * model.config.num_hidden_layers
    assert [p is model.get_input_embeddings().weight for p in tables["params"]] == [True]
    assert all(p.ndim == 1 for p in vectors["params"])
    assert vectors["weight_decay"] == 0


def test_a_saved_and_restored_optimizer_goes_on_as_if_uninterrupted(model: Any) -> None:
    ids = torch.randint(10, 500, (2, 12))

    def steps(optimizer: MuonAdamW, number: int) -> None:
        for _ in range(number):
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    steps(first := MuonAdamW.of(model, lr=1e-2), 2)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    saved = copy.deepcopy(first.state_dict())
    second = MuonAdamW.of(model, lr=1e-2)
    second.load_state_dict(saved)
    steps(first, 2)
    want = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(weights)
    steps(second, 2)
    assert all(torch.equal(v, want[k]) for k, v in model.state_dict().items())
