"""From a name to a decoder, or to one sentence that says why not."""

import json
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from aspd_cli.engine import loading
from aspd_cli.engine.loading import load
from aspd_cli.engine.lora import base_of
from aspd_cli.errors import ModelError
from tests import make
from tests.engine.families import tiny_model
from tests.engine.test_lora import train


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A directory with a model whose tokenizer lacks the control tokens."""
    folder = tmp_path_factory.mktemp("models") / "base"
    tokenizer = make.tokenizer("qwen", "chatml", control=False)
    tiny_model("qwen2", len(tokenizer) + 6).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    """What `aspd train` leaves: an adapter that names its base, a tokenizer, the settings."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("adapter")
    tokenizer = make.tokenizer("qwen", "chatml")
    control = [i for i, t in tokenizer.added_tokens_decoder.items() if "|" in t.content][2:]
    model = AutoModelForCausalLM.from_pretrained(base)
    rows = {"embed_tokens": control, "lm_head": control}
    train(model, folder, trainable_token_indices=rows)
    tokenizer.save_pretrained(folder)
    settings = {"positions": "same-max", "max_depth": 2, "base": str(base)}
    (folder / "aspd.json").write_text(json.dumps(settings))
    return folder


def answer(decoder, mode="parallel"):
    return decoder.generate("Who?", mode=mode, max_new_tokens=12)[0].token_ids


def test_a_model_directory_is_loaded(base):
    decoder = load(base)
    assert decoder.device == torch.device("cpu")
    assert next(decoder.model.parameters()).dtype == torch.float32
    assert (decoder.positions, decoder.max_depth) == ("same-seq", 1)
    assert len(answer(decoder, "plain")) == 12
    with pytest.raises(ModelError, match="control tokens"):
        answer(decoder)


def test_an_adapter_directory_alone_finds_its_base(base, adapter):
    alone, both = load(adapter), load(base, adapter)
    assert answer(alone) == answer(both)
    assert answer(alone, "plain") != answer(load(base), "plain")


def test_the_tokenizer_and_the_settings_of_an_adapter_are_used(base, adapter):
    decoder = load(str(base), str(adapter))
    assert "<|para|>" in decoder.codec.tokenizer.get_vocab()
    assert (decoder.positions, decoder.max_depth) == ("same-max", 2)


def test_the_settings_of_a_whole_model_are_used(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "model")
    settings = '{"positions": "same-max", "chat_template_kwargs": {"enable_thinking": false}}'
    (folder / "aspd.json").write_text(settings)
    decoder = load(folder)
    assert (decoder.positions, decoder.max_depth) == ("same-max", 1)
    assert decoder.codec.chat_template_kwargs == {"enable_thinking": False}
    assert load(folder, chat_template_kwargs={"x": 1}).codec.chat_template_kwargs == {"x": 1}


def test_a_base_grows_to_hold_the_control_tokens_and_never_shrinks(base, adapter, tmp_path):
    small = tmp_path / "small"
    tokenizer = make.tokenizer("qwen", "chatml", control=False)
    tiny_model("qwen2", len(tokenizer)).save_pretrained(small)
    tokenizer.save_pretrained(small)
    decoder = load(small, adapter)
    assert decoder.runner.known_ids == len(tokenizer) + 6
    large = tmp_path / "large"
    tiny_model("qwen2", len(tokenizer) + 64).save_pretrained(large)
    tokenizer.save_pretrained(large)
    assert load(large, adapter).runner.known_ids == len(tokenizer) + 64


def test_the_dtype_is_as_asked(base):
    decoder = load(base, dtype="bfloat16")
    assert next(decoder.model.parameters()).dtype == torch.bfloat16
    assert len(answer(decoder, "plain")) == 12


def test_a_hub_id_is_loaded_from_the_cache_with_its_settings(base, adapter, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name, source in {"model": base, "adapter": adapter}.items():
        repository = tmp_path / f"models--acme--{name}"
        shutil.copytree(source, repository / "snapshots" / "abc")
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("abc")
    settings = tmp_path / "models--acme--model" / "snapshots" / "abc" / "aspd.json"
    settings.write_text('{"positions": "same-max"}')
    assert answer(load("acme/model"), "plain") == answer(load(base), "plain")
    assert load("acme/model").positions == "same-max"
    assert answer(load("acme/model", "acme/adapter")) == answer(load(adapter))
    settings.unlink()
    assert load("acme/model").positions == "same-seq"


def edit(file, **changes):
    def change(folder):
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**content, **changes}))

    return change


def write(file, content):
    return lambda folder: (folder / file).write_bytes(content)


def remove(file):
    return lambda folder: (folder / file).unlink()


def drop_tensors(folder):
    file = folder / "model.safetensors"
    tensors = {n: t for n, t in load_file(file).items() if "layers.1.mlp" not in n}
    save_file(tensors, file, metadata={"format": "pt"})


def truncate_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


DAMAGE = {
    "no config": (remove("config.json"), "contains no config.json"),
    "config is no JSON": (write("config.json", b"{nope"), "not a valid JSON"),
    "config is a list": (write("config.json", b"[]"), "cannot load"),
    "config says nothing": (write("config.json", b"{}"), "model_type"),
    "unknown family": (edit("config.json", model_type="nope"), "`nope`"),
    "impossible value": (edit("config.json", hidden_size="wide"), "hidden_size.*expected int"),
    "division by zero": (edit("config.json", num_attention_heads=0), "cannot load"),
    "other sizes": (edit("config.json", intermediate_size=64), "do not fit.*another shape.*mlp"),
    "more layers": (
        edit("config.json", num_hidden_layers=3, layer_types=["full_attention"] * 3),
        r"12 tensors of Qwen2ForCausalLM are missing.*layers\.2",
    ),
    "missing tensors": (drop_tensors, r"3 tensors of .*missing.*layers\.1\.mlp"),
    "no weights": (remove("model.safetensors"), "model.safetensors"),
    "empty weights": (write("model.safetensors", b""), "header"),
    "garbage": (write("model.safetensors", b"\0" * 200), "header"),
    "cut weights": (truncate_weights, "cannot load"),
    "tokenizer is no JSON": (write("tokenizer.json", b"{nope"), "cannot load"),
    "settings are no JSON": (write("aspd.json", b"{"), r"cannot read .*aspd\.json"),
    "settings are a list": (write("aspd.json", b"[]"), "aspd.json must contain"),
    "unknown positions": (write("aspd.json", b'{"positions": "x"}'), "same-seq or same-max"),
    "no depth": (write("aspd.json", b'{"max_depth": 0}'), "max_depth must be"),
    "arguments are a list": (
        write("aspd.json", b'{"chat_template_kwargs": []}'),
        "chat_template_kwargs must be an object",
    ),
    "depth is no number": (write("aspd.json", b'{"max_depth": "two"}'), "not 'two'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_directory_is_one_sentence(damage, base, tmp_path):
    harm, reason = DAMAGE[damage]
    folder = shutil.copytree(base, tmp_path / "model")
    harm(folder)
    with pytest.raises(ModelError, match=reason) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", ["some/model", "gpt2", "/no/such/place", "../up", "a b", "a/b/c"])
def test_what_is_neither_a_directory_nor_on_the_hub_is_said_at_once(name):
    started = time.perf_counter()
    with pytest.raises(
        ModelError, match=r"no such directory, so it was looked up on the Hub"
    ) as caught:
        load(name)
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - started < 10, "it does not wait for a network"


def renamed(adapter, folder, base, **fields):
    """A copy of an adapter that names another base."""
    shutil.copytree(adapter, folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config |= {"base_model_name_or_path": base, **fields}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_a_relative_base_is_found_beside_the_adapter(base, adapter, tmp_path):
    shutil.copytree(base, tmp_path / "models" / "base")
    folder = renamed(adapter, tmp_path / "adapter", "models/base")
    assert answer(load(folder)) == answer(load(base, adapter=adapter))
    assert base_of(folder) == (str(tmp_path / "models" / "base"), None)
    inner = renamed(adapter, tmp_path / "models" / "adapter", "../base", revision="abc")
    assert base_of(inner) == (str(inner / "../base"), None)
    assert base_of(renamed(adapter, tmp_path / "hub", "org/x", revision="abc")) == ("org/x", "abc")


@pytest.mark.parametrize("named", ["/no/such/base", "./base", "a/b/base", "some/base"])
def test_a_missing_base_is_said_to_be_the_adapters(named, adapter, tmp_path):
    folder = renamed(adapter, tmp_path / "adapter", named)
    words = rf"base model of the adapter {folder}.*{named}.*pass --model BASE --adapter {folder}$"
    with pytest.raises(ModelError, match=words):
        load(folder)


def test_a_machine_without_a_network_does_not_wait_for_one(monkeypatch):
    """Offline mode is off, and every request to the hub fails as it does without a network."""
    from huggingface_hub import HfApi, constants

    def unreachable(*args, **kwargs):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "model_info", unreachable)
    assert not loading.hub_answers("some/model")
    with pytest.raises(ModelError, match="couldn't connect"):
        load("some/model")


@pytest.mark.parametrize("name", ["/no/such/place", "some/adapter"])
def test_an_adapter_that_is_nowhere_is_said_before_the_base_is_loaded(name, base, monkeypatch):
    monkeypatch.setattr(loading, "_load_base", lambda *args: pytest.fail("the base was loaded"))
    with pytest.raises(ModelError, match="adapter"):
        load(base, name)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("{", "not an adapter directory"),
        ("[]", "not an adapter configuration"),
        ('{"peft_type": "LORA"}', "does not name"),
    ],
)
def test_an_adapter_directory_that_names_no_base_says_how_to_give_it(config, reason, tmp_path):
    (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(ModelError, match=reason):
        load(tmp_path)


def test_a_damaged_tokenizer_of_an_adapter_is_one_sentence(base, adapter, tmp_path):
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    (folder / "tokenizer.json").write_text("{nope")
    with pytest.raises(ModelError, match="cannot load the tokenizer of the adapter") as caught:
        load(base, folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"device": "gpu"}, "'gpu' is not a device: use cpu, cuda"),
        ({"device": "xla"}, "cannot use the device xla"),
        ({"device": "hpu"}, "cannot use the device hpu"),
        ({"device": "cuda:99"}, "cannot use the device cuda:99"),
        ({"device": "meta"}, "."),
        ({"dtype": "int8"}, "'int8' is not a dtype: use float32"),
        ({"dtype": "fp32"}, "'fp32' is not a dtype"),
    ],
    ids=str,
)
def test_an_unknown_device_or_dtype_is_one_sentence(settings, reason, base):
    with pytest.raises(ModelError, match=reason) as caught:
        load(base, **settings)
    assert "\n" not in str(caught.value)
