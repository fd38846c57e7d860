"""Adapters are merged as PEFT would merge them, whatever kind they are."""

import copy
import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from aspd_cli.engine import lora as engine_adapter
from aspd_cli.engine.lora import merge_adapter
from aspd_cli.errors import ModelError
from tests.engine.families import tiny_model

CONTROL = [494, 497, 498, 499, 500, 501]
VOCABULARY = 503
ATTENTION = ["q_proj", "v_proj"]


def train(model, folder, **settings):
    """Saves an adapter with random weights for a copy of `model`."""
    from peft import LoraConfig, get_peft_model

    settings = {"r": 4, "lora_alpha": 12, "target_modules": ATTENTION, **settings}
    wrapped = get_peft_model(copy.deepcopy(model), LoraConfig(**settings))
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in wrapped.parameters():
            if weight.requires_grad:
                weight += 0.3 * torch.randn_like(weight)
    wrapped.save_pretrained(folder)
    return folder


def merged_by_peft(model, folder):
    from peft import PeftModel

    return PeftModel.from_pretrained(copy.deepcopy(model), folder).merge_and_unload()


def assert_same_model(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=1e-6, rtol=0, msg=name)


BOTH = {"embed_tokens": CONTROL, "lm_head": CONTROL}
PLAIN = {
    "attention only": (False, {}),
    "all linear layers": (False, {"target_modules": "all-linear"}),
    "some layers": (False, {"layers_to_transform": [1]}),
    "token rows, tied": (True, {"trainable_token_indices": CONTROL}),
    "token rows by name, tied": (True, {"trainable_token_indices": {"embed_tokens": CONTROL}}),
    "token rows, untied": (False, {"trainable_token_indices": BOTH}),
    "token rows of the embedding alone": (False, {"trainable_token_indices": CONTROL}),
    "token rows by long name": (False, {"trainable_token_indices": {"model.embed_tokens": [3, 9]}}),
    "gaussian start, dropout": (False, {"init_lora_weights": "gaussian", "lora_dropout": 0.3}),
}
OTHER = {
    "rank pattern": (False, {"rank_pattern": {"q_proj": 2}}),
    "alpha pattern": (False, {"alpha_pattern": {"layers.1.v_proj": 40}}),
    "rank-stabilised": (False, {"use_rslora": True}),
    "DoRA": (False, {"use_dora": True}),
    "modules to save": (False, {"modules_to_save": ["lm_head"]}),
    "modules to save, tied": (True, {"modules_to_save": ["embed_tokens"]}),
    "biases": (False, {"bias": "lora_only"}),
    "bias of B": (False, {"lora_bias": True}),
    "embedding": (False, {"target_modules": ["embed_tokens", "q_proj"]}),
    "PiSSA, which changes the base": (False, {"init_lora_weights": "pissa"}),
    "rank-stabilised with token rows": (True, {"use_rslora": True, "trainable_token_indices": [5]}),
}


@pytest.mark.parametrize("kind", [*PLAIN, *OTHER])
def test_the_merge_is_that_of_peft(kind, tmp_path, monkeypatch):
    tied, settings = {**PLAIN, **OTHER}[kind]
    model = tiny_model("qwen2", VOCABULARY, tie_word_embeddings=tied)
    folder = train(model, tmp_path, **settings)
    expected = merged_by_peft(model, folder)
    before = copy.deepcopy(model)
    if kind in PLAIN:  # the quick way is taken, which a step of loading depends on
        monkeypatch.delattr(engine_adapter, "_merge_with_peft")
    found = merge_adapter(model, folder)
    assert_same_model(found, expected)
    ids = torch.tensor([[5, 494, 7, 501, 3]])
    with torch.inference_mode():
        found.eval(), expected.eval()
        assert torch.allclose(found(ids).logits, expected(ids).logits, atol=1e-5)
        assert not torch.allclose(found(ids).logits, before(ids).logits, atol=1e-2)
    if kind in PLAIN and tied:
        assert found.lm_head.weight is found.model.embed_tokens.weight


def test_only_the_trained_rows_change(tmp_path):
    model = tiny_model("llama", VOCABULARY)
    before = model.model.embed_tokens.weight.clone()
    folder = train(model, tmp_path, trainable_token_indices=BOTH)
    merge_adapter(model, folder)
    changed = (model.model.embed_tokens.weight != before).any(dim=-1)
    assert changed.nonzero()[:, 0].tolist() == CONTROL


def test_the_merge_is_right_for_half_precision(tmp_path):
    model = tiny_model("llama", VOCABULARY)
    folder = train(model, tmp_path, trainable_token_indices=BOTH)
    expected = merged_by_peft(model, folder).bfloat16()
    found = merge_adapter(model.bfloat16(), folder)
    for name, weight in found.state_dict().items():
        assert weight.dtype == torch.bfloat16
        torch.testing.assert_close(weight, expected.state_dict()[name], atol=2e-2, rtol=2e-2)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """An adapter of a Qwen2 model with two layers."""
    model = tiny_model("qwen2", VOCABULARY)
    return train(model, tmp_path_factory.mktemp("adapter"), trainable_token_indices=BOTH)


@pytest.fixture(scope="module")
def saved_dora(tmp_path_factory):
    return train(tiny_model("qwen2", VOCABULARY), tmp_path_factory.mktemp("dora"), use_dora=True)


OTHER_MODELS = {
    "other names": lambda: tiny_model("gpt_neox", VOCABULARY),
    "other sizes": lambda: tiny_model("qwen2", VOCABULARY, hidden_size=64, head_dim=16),
    "fewer layers": lambda: tiny_model("qwen2", VOCABULARY, num_hidden_layers=1),
    "fewer tokens": lambda: tiny_model("qwen2", 400),
}


@pytest.mark.parametrize("other", OTHER_MODELS)
def test_an_adapter_of_another_architecture_is_one_sentence(other, saved):
    model = OTHER_MODELS[other]()
    with pytest.raises(ModelError, match=f"does not fit {type(model).__name__}: .") as caught:
        merge_adapter(model, saved)
    assert str(saved) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("other", ["other names", "other sizes", "fewer layers"])
def test_so_is_one_that_goes_through_peft(other, saved_dora):
    model = OTHER_MODELS[other]()
    with pytest.raises(ModelError, match=f"does not fit {type(model).__name__}: .") as caught:
        merge_adapter(model, saved_dora)
    assert "\n" not in str(caught.value)


def damaged(saved, folder, config=None, weights=None):
    """A copy of an adapter with its configuration, or the bytes of its weights, replaced."""
    original = (saved / "adapter_config.json").read_text()
    (folder / "adapter_config.json").write_text(original if config is None else config)
    if weights is not False:
        content = (saved / "adapter_model.safetensors").read_bytes()
        (folder / "adapter_model.safetensors").write_bytes(content if weights is None else weights)
    return folder


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"config": "{"}, "not an adapter directory"),
        ({"config": "[]"}, "not an adapter configuration"),
        ({"config": "{}"}, "not an adapter configuration"),
        ({"config": '{"peft_type": "LORA"}'}, "does not fit"),
        ({"config": '{"peft_type": "NOPE"}'}, "does not fit"),
        ({"weights": False}, "contains no adapter_model.safetensors"),
        ({"weights": b""}, "does not fit"),
        ({"weights": b"\0" * 100}, "does not fit"),
    ],
    ids=str,
)
def test_a_damaged_adapter_is_one_sentence(damage, reason, saved, tmp_path):
    with pytest.raises(ModelError, match=reason) as caught:
        merge_adapter(tiny_model("qwen2", VOCABULARY), damaged(saved, tmp_path, **damage))
    assert "\n" not in str(caught.value)


def test_settings_that_a_later_peft_invents_go_through_peft(saved, tmp_path, monkeypatch):
    """An unknown setting may change what the tensors mean, so the quick way is not for it."""
    config = json.loads((saved / "adapter_config.json").read_text())
    taken = []
    monkeypatch.setattr(engine_adapter, "_merge_with_peft", lambda *args: taken.append(args))
    quiet = damaged(saved, tmp_path, config=json.dumps({**config, "use_nova": False}))
    merge_adapter(tiny_model("qwen2", VOCABULARY), quiet)
    assert not taken
    loud = damaged(saved, tmp_path, config=json.dumps({**config, "use_nova": True}))
    merge_adapter(tiny_model("qwen2", VOCABULARY), loud)
    assert taken


def test_tensors_of_another_kind_go_through_peft(saved, tmp_path, monkeypatch):
    folder = damaged(saved, tmp_path)
    file = folder / "adapter_model.safetensors"
    save_file({**load_file(file), "base_model.model.x.gate": torch.ones(1)}, file)
    taken = []
    monkeypatch.setattr(engine_adapter, "_merge_with_peft", lambda *args: taken.append(args))
    merge_adapter(tiny_model("qwen2", VOCABULARY), folder)
    assert taken


def test_a_plain_merge_does_not_import_peft(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)  # an import of it would raise
    model = tiny_model("qwen2", VOCABULARY)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    merge_adapter(model, saved)
    assert any(not torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_tensors_of_another_rank_than_the_configuration_says_are_refused(tmp_path):
    """Their scale would be wrong, and nothing else would tell."""
    model = tiny_model("qwen2", VOCABULARY)
    folder = train(model, tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "r": 3}))
    with pytest.raises(ModelError, match=r"has the rank 4, and adapter_config.json says r = 3"):
        merge_adapter(model, folder)
