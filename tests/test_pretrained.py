"""Code of a model directory never runs unless it is allowed, whatever standard input says."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import aspd_cli as aspd
from aspd_cli.cli.main import app
from aspd_cli.errors import ModelError
from aspd_cli.pretrained import from_config, from_pretrained, names_code
from tests import make
from tests.engine.families import tiny_model

PACKAGE = Path(aspd.__file__).parent
YES = "y\n" * 50

CODE = {
    "configuration_odd.py": "from transformers import Qwen2Config\n"
    "class OddConfig(Qwen2Config):\n    model_type = 'odd'\n",
    "modeling_odd.py": "from transformers import Qwen2ForCausalLM\n"
    "from .configuration_odd import OddConfig\n"
    "class OddForCausalLM(Qwen2ForCausalLM):\n    config_class = OddConfig\n",
    "tokenization_odd.py": "from transformers import PreTrainedTokenizerFast\n"
    "class OddTokenizer(PreTrainedTokenizerFast):\n    pass\n",
}


@pytest.fixture(scope="module", autouse=True)
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Code that ran is copied where the tests end with it."""
    from transformers import dynamic_module_utils

    before = dynamic_module_utils.HF_MODULES_CACHE
    dynamic_module_utils.HF_MODULES_CACHE = str(tmp_path_factory.mktemp("modules"))
    yield
    dynamic_module_utils.HF_MODULES_CACHE = before


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that is there once code of a model has run; its path makes each test's code new."""
    return tmp_path / "ran"


@pytest.fixture
def odd(tmp_path: Path, marker: Path) -> Path:
    """A model whose configuration, model and tokenizer are classes of its own."""
    return with_code(saved(tmp_path / "odd"), marker, "odd")


def saved(folder: Path) -> Path:
    tokenizer = make.tokenizer("qwen", "chatml")
    tiny_model("qwen2", len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def with_code(folder: Path, marker: Path, model_type: str) -> Path:
    for name, code in CODE.items():
        (folder / name).write_text(f"open({str(marker)!r}, 'w').close()\n{code}")
    names = {
        "AutoConfig": "configuration_odd.OddConfig",
        "AutoModelForCausalLM": "modeling_odd.OddForCausalLM",
    }
    edit(folder / "config.json", model_type=model_type, auto_map=names)
    auto_map = {"AutoTokenizer": [None, "tokenization_odd.OddTokenizer"]}
    edit(folder / "tokenizer_config.json", tokenizer_class="OddTokenizer", auto_map=auto_map)
    return folder


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def adapter_of(base: Path, folder: Path) -> Path:
    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "base_model_name_or_path": str(base)}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def recipe(odd: Path, **fields: object) -> Path:
    path = odd.parent / "recipe.yaml"
    settings = {"model": {"path": str(odd)}, "data": {"examples": 4}, "lora": {"r": 1}}
    training = {"output_dir": str(odd.parent / "run"), "max_steps": 1}
    path.write_text(json.dumps({**settings, "training": training, **fields}))
    return path


def data(odd: Path) -> Path:
    path = odd.parent / "in.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n')
    return path


COMMANDS: dict[str, Callable[[Path], list[object]]] = {
    "generate": lambda odd: ["generate", "-m", odd, "hi"],
    "an adapter of such a base": lambda odd: [
        *("generate", "-m", adapter_of(odd, odd.parent / "adapter"), "hi")
    ],
    "an adapter with such a tokenizer": lambda odd: [
        *("generate", "-m", saved(odd.parent / "base"), "hi", "-a"),
        shutil.copytree(odd, adapter_of(odd, odd.parent / "adapter"), dirs_exist_ok=True),
    ],
    "eval": lambda odd: ["eval", "--latency", "-m", odd],
    "eval of another": lambda odd: ["eval", "--latency", "--compare", f"plain,seq={odd}"],
    "random weights": lambda odd: ["eval", "--replay", data(odd), "--random-weights", "-m", odd],
    "train": lambda odd: ["train", recipe(odd)],
    "dry run": lambda odd: ["train", recipe(odd), "--dry-run"],
    "another tokenizer": lambda odd: [
        *(
            "train",
            recipe(odd, model={"path": str(saved(odd.parent / "base")), "tokenizer": str(odd)}),
        )
    ],
    "transform": lambda odd: [
        *("transform", data(odd), odd.parent / "out.jsonl", "--set", f"model.tokenizer={odd}")
    ],
    "validate": lambda odd: ["validate", data(odd), "--tokenizer", odd],
    "env": lambda odd: ["env", "-m", odd],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_runs_it_and_each_says_how_to_allow_it(
    name: str, odd: Path, marker: Path
) -> None:
    done = CliRunner().invoke(app, [str(word) for word in COMMANDS[name](odd)], input=YES)
    assert not marker.exists()
    assert done.exit_code == 1, done.output
    said = " ".join(done.output.split())
    assert str(odd.parent) in said
    assert "comes with Python code of its own, which is not run" in said
    assert "--trust-remote-code, or set model.trust_remote_code: true in the recipe" in said
    assert "[y/N]" not in said
    assert not (odd.parent / "out.jsonl").exists()


def test_where_it_is_allowed_it_runs(odd: Path, marker: Path) -> None:
    decoder = aspd.load(odd, trust_remote_code=True)
    assert marker.exists()
    assert type(decoder.model).__name__ == "OddForCausalLM"
    [output] = decoder.generate(["Hi"], mode="plain", max_new_tokens=2)
    assert output.token_ids


def test_the_flag_and_the_recipe_allow_it(odd: Path, marker: Path) -> None:
    words = ["validate", str(data(odd)), "--tokenizer", str(odd)]
    assert CliRunner().invoke(app, [*words, "--trust-remote-code"]).exit_code in (0, 3)
    assert marker.exists()
    done = CliRunner().invoke(app, ["train", str(recipe(odd)), "--dry-run", "--trust-remote-code"])
    assert "odd" in done.stdout, done.output
    words = ["generate", "-m", str(odd), "--plain", "--max-new-tokens", "1", "hi"]
    done = CliRunner().invoke(app, [*words, "--set", "model.trust_remote_code=true"])
    assert done.exit_code == 0, done.output


def test_a_known_family_that_brings_code_is_loaded_without_it(tmp_path: Path, marker: Path) -> None:
    folder = with_code(saved(tmp_path / "known"), marker, "qwen2")
    edit(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    decoder = aspd.load(folder)
    assert type(decoder.model).__name__ == "Qwen2ForCausalLM"
    assert not marker.exists()
    assert names_code(folder)
    assert not names_code(saved(tmp_path / "plain"))
    assert not names_code(tmp_path / "nowhere")


def test_the_process_that_counts_tokens_does_not_run_it(odd: Path, marker: Path) -> None:
    command = [sys.executable, "-m", "aspd_cli.transform.token_counts", str(odd)]
    done = subprocess.run(
        command, input=YES.encode(), capture_output=True, env=os.environ, check=False
    )
    assert not marker.exists()
    assert done.returncode == 1
    assert b"Python code of its own" in done.stderr


def test_what_is_damaged_is_another_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{nope")
    with pytest.raises(ModelError, match="cannot load the model x: ") as caught:
        from_pretrained("AutoConfig", tmp_path, trust_remote_code=False, place="the model x")
    assert "trust" not in str(caught.value)


def test_nothing_else_calls_transformers_loaders() -> None:
    """PEFT's own loader takes a model that is there already, and runs no code of an adapter."""
    found = {
        (path.relative_to(PACKAGE).as_posix(), ast.unparse(node))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        if node.attr in ("from_pretrained", "from_config", "pipeline")
        if path.name != "pretrained.py"
    }
    others = {"PeftModel.from_pretrained", "transform.pipeline"}
    others |= {"GenerationConfig.from_pretrained"}  # a file of settings, which names no class
    assert {call for _, call in found} <= others


def test_a_crash_of_the_library_is_called_one(tmp_path: Path) -> None:
    """The words of a `KeyError` alone say nothing: `'zzz'`."""
    folder = saved(tmp_path / "odd")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "zzz"}))
    where = {"trust_remote_code": False, "place": "a model"}
    with pytest.raises(ModelError, match=r"reads it fails with KeyError: 'zzz'"):
        from_pretrained("AutoModelForCausalLM", folder, **where)
    found = from_pretrained("AutoConfig", folder, **where)
    with pytest.raises(ModelError, match=r"configuration cannot be used: .* KeyError: 'zzz'"):
        from_config(found, trust_remote_code=False)


def test_a_tokenizer_without_a_vocabulary_is_none(tmp_path: Path) -> None:
    folder = saved(tmp_path / "odd")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match=r"no vocabulary \(is tokenizer.json missing\?\)"):
        from_pretrained("AutoTokenizer", folder, trust_remote_code=False, place="a tokenizer")
