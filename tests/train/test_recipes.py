"""Every recipe that ships is complete, and trains a small random model of the family it names."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from aspd_cli.core.markup import render
from aspd_cli.recipe import load_recipe
from aspd_cli.synth import QUESTION_FAMILIES, examples
from tests import make
from tests.cli.conftest import Cli, cli
from tests.engine.families import tiny_model

FOLDER = Path(__file__).parents[2] / "recipes"
SHIPPED = sorted(path.name for path in FOLDER.glob("*.yaml"))
PRETRAINED = {
    "qwen.yaml": "Qwen/Qwen2.5-7B-Instruct",
    "qwen-full.yaml": "Qwen/Qwen2.5-7B-Instruct",
    "qwen3.yaml": "Qwen/Qwen3-8B",
    "llama.yaml": "meta-llama/Llama-3.1-8B-Instruct",
    "smollm2.yaml": "SmolLM2-135M-Instruct.Q4_1.gguf",
}
"""Recipes on models of others, and which."""

__all__ = ["cli"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_has_no_problem_and_says_how_to_run_it(name: str) -> None:
    recipe = load_recipe(FOLDER / name)
    assert recipe.model.path == PRETRAINED.get(name, recipe.model.path)
    head = (FOLDER / name).read_text(encoding="utf-8").partition("model:")[0]
    assert f"train {name.removesuffix('.yaml')}\n" in head or f"train recipes/{name}\n" in head
    assert all(line.startswith("#") for line in head.splitlines() if line)


@pytest.mark.parametrize("name", PRETRAINED)
def test_one_override_makes_the_seq_twin(name: str) -> None:
    parallel = load_recipe(FOLDER / name).model_dump()
    serial = load_recipe(FOLDER / name, ["data.style=serial"]).model_dump()
    assert parallel["data"].pop("style") == "parallel"
    assert serial["data"].pop("style") == "serial"
    assert serial == parallel


@pytest.mark.parametrize("name", PRETRAINED)
def test_four_records_make_a_step_on_a_laptop_and_sixteen_elsewhere(name: str) -> None:
    training = load_recipe(FOLDER / name).training
    processes = 8 if name == "qwen-full.yaml" else 1
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps
    assert batch * processes == (4 if name == "smollm2.yaml" else 16)


def test_the_full_recipe_has_the_settings_of_the_paper() -> None:
    recipe = load_recipe(FOLDER / "qwen-full.yaml")
    assert recipe.lora is None
    assert recipe.training.num_train_epochs == 3
    assert recipe.training.lr_scheduler_type == "cosine"
    assert recipe.training.warmup_ratio == 0.1
    assert recipe.data.max_length == 8192


_QWEN25 = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are a helpful assistant."
    "<|im_end|>\n{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SMOLLM2 = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_LLAMA31 = (
    "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\nToday is 26 July 2024.\n\n"
    "{% if messages[0].role == 'system' %}{{ messages[0].content | trim }}"
    "{% set messages = messages[1:] %}{% endif %}<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
FAMILY: dict[str, dict[str, Any]] = {
    # Room for 387 more tokens in the embedding, a system message that nobody wrote, an untied head.
    "qwen": {"family": "qwen2", "words": ("qwen", "chatml"), "chat": _QWEN25, "spare": 387},
    # The small models of the family tie embedding and head.
    "qwen-small": {
        "family": "qwen2",
        "words": ("qwen", "chatml"),
        "chat": _QWEN25,
        "spare": 271,
        "tied": True,
    },
    # Writes an empty thinking part into answers that it renders, but not into prompts.
    "qwen3": {"family": "qwen3", "words": ("qwen", "chatml"), "chat": _QWEN3, "spare": 267},
    # A beginning of text, a date in the system turn, and not one row to spare.
    "llama": {"family": "llama", "words": ("llama3", "llama3"), "chat": _LLAMA31, "spare": 0},
    "llama-small": {
        "family": "llama",
        "words": ("llama3", "llama3"),
        "chat": _LLAMA31,
        "spare": 0,
        "tied": True,
    },
    # A small Llama with the words of a Qwen.
    "smollm2": {
        "family": "llama",
        "words": ("qwen", "chatml"),
        "chat": _SMOLLM2,
        "spare": 0,
        "tied": True,
    },
}
"""What sets the real models of a family apart, on models of 20 thousand parameters."""

RUNS = {
    ("qwen.yaml", "qwen"): [],
    ("qwen.yaml", "qwen-small"): [],
    ("qwen-full.yaml", "qwen"): ["training.save_dtype=float32"],
    ("qwen3.yaml", "qwen3"): [],
    ("llama.yaml", "llama"): [],
    ("llama.yaml", "llama-small"): [],
    ("smollm2.yaml", "smollm2"): [],
}
"""Recipe and model -> further overrides."""


def test_every_recipe_on_a_model_of_others_is_run() -> None:
    assert {name for name, _ in RUNS} == set(PRETRAINED)
    assert {name for name in SHIPPED if not name.startswith("tiny")} == set(PRETRAINED)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records as `aspd transform` writes them, with a system message and an earlier turn."""
    path = tmp_path_factory.mktemp("data") / "train.jsonl"
    lines = []
    for at, example in enumerate(examples(12, families=QUESTION_FAMILIES)):
        prompt = [{"role": "user", "content": example.question}]
        if at % 3 == 1:
            prompt.insert(0, {"role": "system", "content": "Answer briefly."})
        if at % 3 == 2:
            prompt = [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello."},
                *prompt,
            ]
        answer = {"role": "assistant", "content": render(example.answer)}
        status = "parallel" if example.branches else "serial"
        lines.append({"prompt": prompt, "completion": [answer], "aspd": {"status": status}})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A directory for each of `FAMILY`."""
    made = {}
    for name, about in FAMILY.items():
        path = made[name] = tmp_path_factory.mktemp(name)
        tokenizer = make.tokenizer(*about["words"], control=False)
        tokenizer.chat_template = about["chat"]
        model = tiny_model(
            about["family"],
            len(tokenizer) + about["spare"],
            initializer_range=0.02,
            tie_word_embeddings=about.get("tied", False),
            eos_token_id=tokenizer.eos_token_id,
        )
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
    return made


_FAST = {("qwen.yaml", "serial"), *((name, "parallel") for name in PRETRAINED)}


def _runs() -> Iterator[Any]:
    """Each recipe, model and style; one style of each recipe is quick enough for every change."""
    for name, model in RUNS:
        for style in ("parallel", "serial"):
            quick = (name, style) in _FAST and "small" not in model
            yield pytest.param(name, model, style, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(("name", "model", "style"), _runs())
def test_a_recipe_trains_its_family_and_the_result_decodes(
    name: str,
    model: str,
    style: str,
    models: dict[str, Path],
    data: Path,
    cli: Cli,
    tmp_path: Path,
) -> None:
    base, run = models[model], tmp_path / "run"
    overrides = [
        f"model.path={base}",
        f"data.train={data}",
        f"data.style={style}",
        f"training.output_dir={run}",
        "training.max_steps=2",
        "training.gradient_accumulation_steps=2",
        "training.logging_steps=1",
        *RUNS[name, model],
    ]
    trained = cli("train", FOLDER / name, *(arg for o in overrides for arg in ("--set", o)))
    assert trained.exit_code == 0, trained.stderr
    saved = yaml.safe_load((run / "recipe.yaml").read_text())
    assert saved["data"]["style"] == style
    history = json.loads((run / "trainer_state.json").read_text())["log_history"]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    assert len(losses) == 2
    assert all(0 < loss < 10 for loss in losses)

    where = ["--model", base, "--adapter", run] if "full" not in name else ["--model", run]
    mode = "--parallel" if style == "parallel" else "--plain"
    answer = cli("generate", *where, mode, "--max-new-tokens", "5", "--json", "Compare the two.")
    assert answer.exit_code == 0, answer.stderr
    assert json.loads(answer.stdout)
    assert _moved(run, base)


def _moved(run: Path, base: Path) -> bool:
    """Whether training changed what it was to change."""
    if (run / "adapter_model.safetensors").is_file():
        weights = load_file(run / "adapter_model.safetensors")
        return any(tensor.any() for name, tensor in weights.items() if "lora_B" in name)
    before, after = (load_file(path / "model.safetensors") for path in (base, run))
    return any(not before[name].equal(after[name]) for name in before)
