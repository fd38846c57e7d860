"""A tokenizer and a random model small enough that a training step takes milliseconds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from aspd_cli.core.codec import Codec
from aspd_cli.recipe import Recipe, load_recipe
from aspd_cli.synth import examples
from aspd_cli.train.from_scratch import new_model, new_tokenizer

TINY = {
    "model_type": "qwen2",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": True,
}


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Encoded records are cached where the tests end with them."""
    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("cache")
    datasets.disable_progress_bars()
    yield
    datasets.config.HF_DATASETS_CACHE = before


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


@pytest.fixture(scope="session")
def base(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a random model and its tokenizer."""
    path = tmp_path_factory.mktemp("random")
    torch.manual_seed(0)
    new_model(TINY, tokenizer).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def recipe(base: Path, run: Path, **fields: Any) -> Recipe:
    """A LoRA recipe of two quick steps; `training__max_steps=3` sets `training.max_steps`."""
    settings = {
        "model__path": str(base),
        "data__examples": 40,
        "training__output_dir": str(run),
        "training__learning_rate": 1e-2,
        "training__max_steps": 2,
        "training__per_device_train_batch_size": 4,
        "training__logging_steps": 1,
        "training__save_steps": 1,
        "lora__r": 2,
        "lora__alpha": 4,
        "generation__max_new_tokens": 20,
        **fields,
    }
    return load_recipe(None, (), {k.replace("__", "."): v for k, v in settings.items()})


def write(path: Path, *completions: str, question: str = "What?") -> Path:
    """A JSONL file of records with these answers, each with a prompt of its own."""
    with path.open("w", encoding="utf-8") as file:
        for number, completion in enumerate(completions):
            prompt = [{"role": "user", "content": f"{question} {number}"}]
            answer = [{"role": "assistant", "content": completion}]
            file.write(json.dumps({"prompt": prompt, "completion": answer}) + "\n")
    return path
