"""Replay: which answers are led through, and on what model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from aspd_cli.core.markup import render
from aspd_cli.engine.decoder import Decoder
from aspd_cli.errors import DataError, ModelError, UsageError
from aspd_cli.evaluate.interleave import interleave
from aspd_cli.evaluate.replay import random_decoder, replay_requests
from aspd_cli.evaluate.systems import make_runner
from aspd_cli.synth import examples

ROOT = Path(__file__).parents[2]
SHAPE = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 3000,
    "max_position_embeddings": 700,
    "rms_norm_eps": 1e-6,
}


def record(question: str, answer: str) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
        "aspd": {"status": "parallel"},
    }


@pytest.fixture(scope="module")
def transformed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six answers with blocks and two without, as `aspd transform` writes them."""
    path = tmp_path_factory.mktemp("replay") / "out.jsonl"
    drawn = examples(8, split="test", families=("general", "rag", "math", "chain"))
    lines = [json.dumps(record(each.question, render(each.answer))) for each in drawn]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_answers_without_a_block_and_long_ones_are_left_out(
    transformed: Path, decoder: Decoder
) -> None:
    found = replay_requests(transformed, decoder)
    assert (len(found.requests), found.serial, found.too_long) == (6, 2, 0)
    lengths = [request.options.max_new_tokens for request in found.requests]
    assert len(set(lengths)) == 1, "one budget for all, so that they can be decoded together"
    shorter = replay_requests(transformed, decoder, max_length=max(lengths) - 1)
    assert 0 < len(shorter.requests) < 6
    assert shorter.too_long == 6 - len(shorter.requests)
    with pytest.raises(DataError, match="2 without a block, 6 too long"):
        replay_requests(transformed, decoder, max_length=3)


def test_a_limit_takes_answers_from_the_whole_file(transformed: Path, decoder: Decoder) -> None:
    lines = [int(request.doc_id) for request in replay_requests(transformed, decoder).requests]
    some = [
        int(request.doc_id) for request in replay_requests(transformed, decoder, limit=3).requests
    ]
    assert some == lines[::2]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "out.jsonl:1 has no `prompt`"),
        ('{"prompt": "x"}', "out.jsonl:1 has no `prompt` and `completion`"),
        (json.dumps(record("x", "<|para|>")), "out.jsonl:1: markup is not well formed"),
        (json.dumps(record(" ", "x")), "out.jsonl:1 has no"),
    ],
)
def test_what_is_no_transform_output_is_refused(
    tmp_path: Path, decoder: Decoder, line: str, says: str
) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(line)
    with pytest.raises(DataError, match=says):
        replay_requests(path, decoder)
    with pytest.raises(DataError, match="cannot read"):
        replay_requests(tmp_path / "none", decoder)
    path.write_text("")
    with pytest.raises(DataError, match="contains no documents"):
        replay_requests(path, decoder)


def test_bad_lines_are_left_out_each_with_its_number_and_reason(
    transformed: Path, tmp_path: Path, decoder: Decoder
) -> None:
    good = transformed.read_text().splitlines()
    bad = ["nonsense", '{"prompt": "x"}', json.dumps(record("x", "<|para|>"))]
    path = tmp_path / "out.jsonl"
    path.write_text("\n".join([bad[0], *good[:4], bad[1], "", *good[4:], bad[2]]))
    found, whole = (replay_requests(each, decoder) for each in (path, transformed))
    assert [request.ids for request in found.requests] == [each.ids for each in whole.requests]
    assert whole.rejected == []
    places = [(1, "has no `prompt`"), (6, "has no `prompt`"), (12, "markup is not well formed")]
    for told, (line, reason) in zip(found.rejected, places, strict=True):
        assert told.startswith(f"{path}:{line}")
        assert reason in told


@pytest.mark.parametrize("form", ["json", "yaml", "directory"])
def test_a_configuration_is_enough(transformed: Path, tmp_path: Path, form: str) -> None:
    path = tmp_path / {"directory": "config.json"}.get(form, f"shape.{form}")
    path.write_text(
        "".join(f"{k}: {v}\n" for k, v in SHAPE.items()) if form == "yaml" else json.dumps(SHAPE)
    )
    source = tmp_path if form == "directory" else path
    decoder, tokenizer = random_decoder(str(source), None, "cpu", None, keep_stock=True)
    assert tokenizer == "the embedded model"
    assert decoder.context == 700
    requests = replay_requests(transformed, decoder, limit=2).requests
    names = ("parallel", "serial", "hf")
    runners = [make_runner(name, decoder, str(source), None) for name in names]
    answers = list(interleave(runners, dict.fromkeys(names, requests), concurrency=2))
    assert len(answers) == 6
    for parallel, serial, hf in zip(*(iter(answers),) * 3, strict=True):
        assert parallel.text == serial.text == hf.text
        assert parallel.markup == serial.markup
        assert parallel.stats.steps < serial.stats.steps
        assert parallel.finish_reason == "stop"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "no model_type"),
        ("{", "cannot read a configuration"),
        ('{"model_type": "nonsense"}', "cannot create a model"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "shape.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=says):
        random_decoder(str(path), None, "cpu", None)
    with pytest.raises(UsageError, match="--random-weights needs --model"):
        random_decoder(None, None, "cpu", None)


def test_the_shipped_shape_is_that_of_qwen() -> None:
    settings = json.loads((ROOT / "recipes/shapes/qwen2.5-0.5b.json").read_text())
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(settings.pop("model_type"), **settings)
        )
    assert model.num_parameters() == 494_032_768
