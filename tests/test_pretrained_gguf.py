"""A GGUF file is a model like any other: the one it was made of, in every command."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import aspd_cli as aspd
from aspd_cli.core.markup import render
from aspd_cli.errors import ModelError
from aspd_cli.pretrained import from_pretrained, gguf_file
from aspd_cli.synth import QUESTION_FAMILIES, examples
from tests import make
from tests.cli.conftest import Cli, cli
from tests.engine.families import tiny_model
from tests.gguf_files import write_gguf

pytest.importorskip("gguf")

__all__ = ["cli"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as transformers writes it."""
    folder = tmp_path_factory.mktemp("original")
    tokenizer = make.tokenizer("qwen", "chatml", control=False)
    tiny_model("llama", len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def file(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model in one file, which is all that is in its directory."""
    model, tokenizer = (
        from_pretrained(kind, original, trust_remote_code=False, place="it")
        for kind in ("AutoModelForCausalLM", "AutoTokenizer")
    )
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", model, tokenizer)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "train.jsonl"
    with path.open("w", encoding="utf-8") as lines:
        for example in examples(8, families=QUESTION_FAMILIES):
            prompt = [{"role": "user", "content": example.question}]
            answer = [{"role": "assistant", "content": render(example.answer)}]
            lines.write(json.dumps({"prompt": prompt, "completion": answer}) + "\n")
    return path


def test_its_weights_and_tokens_are_those_it_was_made_of(original: Path, file: Path) -> None:
    for where in (file, file.parent):
        one, other = aspd.load(original), aspd.load(where)
        before, after = one.model.state_dict(), other.model.state_dict()
        assert before.keys() == after.keys()
        assert all(before[name].equal(after[name]) for name in before)
        text = "Compare tea (3.14) and 你好:\n\n1. **Red**, <|im_end|>"
        assert one.codec.encode(text) == other.codec.encode(text)
        prompt, options = "Who was Ada?", {"mode": "plain", "max_new_tokens": 12}
        [expected], [found] = one.generate([prompt], **options), other.generate([prompt], **options)
        assert found.token_ids == expected.token_ids


def test_what_is_loaded_is_saved_as_an_ordinary_model(file: Path, tmp_path: Path) -> None:
    model = from_pretrained("AutoModelForCausalLM", file, trust_remote_code=False, place="it")
    assert model.name_or_path == str(file)
    model.save_pretrained(tmp_path)
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    again = from_pretrained("AutoModelForCausalLM", tmp_path, trust_remote_code=False, place="it")
    assert all(
        torch.equal(one, other)
        for one, other in zip(model.parameters(), again.parameters(), strict=True)
    )


COMMANDS: dict[str, Callable[[Path, Path], list[object]]] = {
    "generate": lambda file, _: ["generate", "--plain", "--max-new-tokens", "2", "-m", file, "hi"],
    "eval": lambda file, _: [
        *("eval", "--latency", "--limit", "1", "--compare", "plain", "-m", file),
        *("--set", "generation.max_new_tokens=2"),
    ],
    "random weights": lambda file, data: [
        *("eval", "--replay", data, "--limit", "1", "--random-weights", "-m", file)
    ],
    "transform": lambda file, data: [
        *("transform", data, data.with_name("out.jsonl"), "--set", f"model.tokenizer={file}"),
        "--fresh",
    ],
    "validate": lambda file, data: ["validate", data, "--tokenizer", file],
    "env": lambda file, _: ["env", "-m", file],
    "dry run": lambda file, data: [
        *("train", "qwen", "--dry-run", "--set", f"model.path={file}"),
        *("--set", f"data.train={data}"),
    ],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_the_file(name: str, file: Path, data: Path, cli: Cli) -> None:
    done = cli(*(str(word) for word in COMMANDS[name](file, data)))
    assert done.exit_code in (0, 3), done.output  # 3: records that are no raw answers
    assert "cannot load" not in done.output
    assert "de-quantizing" not in done.output


def test_an_adapter_names_the_file_and_merges_into_it(
    file: Path, data: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copy(file, tmp_path / "base.gguf")
    monkeypatch.chdir(tmp_path)
    fields = {
        "model.path": "base.gguf",
        "data.train": data,
        "training.output_dir": run,
        "training.max_steps": 2,
        "training.gradient_accumulation_steps": 1,
        "training.gradient_checkpointing": "false",
        "data.eval_share": 0,
        "training.learning_rate": 1e-2,
    }
    overrides = [word for name, value in fields.items() for word in ("--set", f"{name}={value}")]
    done = cli("train", "qwen", *overrides, "--merge")
    assert done.exit_code == 0, done.output
    config = json.loads((run / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tmp_path / "base.gguf")
    assert "base.gguf" in (run / "README.md").read_text()
    assert str(tmp_path) not in (run / "README.md").read_text()

    monkeypatch.chdir(file.parent)
    options = {"mode": "plain", "max_new_tokens": 12}
    found, merged, apart = (
        decoder.generate(["Who was Ada?"], **options)[0].token_ids
        for decoder in (aspd.load(run), aspd.load(run / "merged"), aspd.load(file, run))
    )
    assert found == merged == apart

    (tmp_path / "base.gguf").unlink()
    with pytest.raises(ModelError, match=r"there is no .*base\.gguf, here or beside the adapter"):
        aspd.load(run)


def test_settings_beside_the_file_are_read(file: Path, tmp_path: Path) -> None:
    copy = shutil.copy(file, tmp_path)
    (tmp_path / "aspd.json").write_text('{"positions": "same-max"}')
    assert aspd.load(copy).positions == "same-max"
    assert aspd.load(tmp_path).positions == "same-max"


def test_a_directory_means_its_own_model_first(original: Path, file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "one.gguf")
    assert gguf_file(tmp_path) == tmp_path / "one.gguf"
    (tmp_path / "adapter_config.json").touch()
    assert gguf_file(tmp_path) is None
    shutil.copytree(original, tmp_path / "both")
    shutil.copy(file, tmp_path / "both")
    assert gguf_file(tmp_path / "both") is None


def test_what_cannot_be_read_says_what_to_do(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.gguf", "b.gguf", "x-00001-of-00003.gguf"):
        (tmp_path / name).write_bytes(file.read_bytes()[:5000])
    wrong = {
        tmp_path / "nowhere.gguf": r"there is no file .*nowhere\.gguf",
        tmp_path: r"contains 3 GGUF files: name one of them, as in .*/a\.gguf",
        tmp_path / "x-00001-of-00003.gguf": "is one of 3 parts: join them to one file",
        tmp_path / "a.gguf": "cannot load a model from",
    }
    for where, words in wrong.items():
        with pytest.raises(ModelError, match=words):
            aspd.load(where)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(
        ModelError, match=r'need the package gguf: run `pip install "aspd\[gguf\]"`'
    ):
        aspd.load(file)


def test_training_says_so_before_it_starts(file: Path, data: Path, cli: Cli) -> None:
    words = ["train", "qwen", "--dry-run", "--set", f"data.train={data}", "--set"]
    done = cli(*words, f"model.path={file.parent}/nowhere.gguf")
    assert done.exit_code == 1
    assert "nowhere.gguf to train it: there is no such file" in " ".join(done.output.split())
    done = cli(*words, f"model.path={file}", "--set", "lora.quantization=4bit")
    assert done.exit_code == 2
    assert "a GGUF file are unpacked" in " ".join(done.output.split())
