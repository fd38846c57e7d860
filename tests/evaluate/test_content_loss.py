"""Losses on content: the tokens that both layouts hold, and what a model says of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import Layout, lay_out, tokenize
from aspd_cli.core.markup import plain, render
from aspd_cli.core.parser import parse
from aspd_cli.engine.decoder import Decoder
from aspd_cli.errors import DataError, UsageError
from aspd_cli.evaluate.content_loss import Common, check, common, measure
from aspd_cli.evaluate.processes import Processes
from aspd_cli.evaluate.replay import Replayed
from aspd_cli.evaluate.systems import Engine, make_runner
from aspd_cli.synth import examples
from tests import make
from tests.engine.families import tiny_model
from tests.engine.test_decoder_equivalence import teacher_forced
from tests.evaluate.test_replay import record

ANSWER = (
    "Apples and bananas, 你好:\n\n"
    "<|title|>1. **Apples**:<|/title|><|title|>Bananas<|/title|><|para|>"
    "<|branch|>1. **Apples**: They are red, round and sweet.\n<|/branch|>"
    "<|branch|>2. **Bananas**: They grow in hot countries.\n<|/branch|><|/para|>\nThe end."
)
FEW: dict[str, Any] = {"expect": lambda _: None, "advance": lambda _: None}


def both(text: str, codec: Codec) -> Common:
    return common(Replayed(1, "Compare the two fruits.", parse(text)), codec, [0], "same-seq")


def words(layout: Layout, chosen: Any, codec: Codec) -> list[str]:
    return [codec.decode([int(i)]) for i in layout.input_ids[chosen]]


@pytest.mark.parametrize("kind", list(make.KINDS))
def test_common_tokens_are_predicted_content_at_equal_places_of_the_text(kind: str) -> None:
    codec = Codec(make.tokenizer(kind))
    found = both(ANSWER, codec)
    ids = found.parallel.input_ids[found.in_parallel]
    assert (ids == found.plain.input_ids[found.in_plain]).all()
    assert found.parallel.sampled[found.in_parallel].all()
    assert found.parallel.useful[found.in_parallel].all()
    assert (np.diff(found.in_parallel) > 0).all()
    assert (np.diff(found.in_plain) > 0).all()
    inside = "".join(words(found.parallel, found.in_parallel[found.in_branches], codec))
    assert "round and sweet" in inside
    assert "hot countries" in inside
    assert "**" not in inside, "leads are forced"
    outside = "".join(words(found.parallel, found.in_parallel[~found.in_branches], codec))
    assert "The end" in outside
    content = (found.parallel.sampled & found.parallel.useful).sum()
    assert len(ids) >= 0.8 * content, "only seams may differ"


def test_without_a_block_every_token_is_common() -> None:
    codec = Codec(make.tokenizer())
    found = both("Apples are red, round and sweet. 你好，世界。", codec)
    assert len(found.in_plain) == found.plain.useful.sum()
    assert not found.in_branches.any()


@pytest.fixture(scope="module")
def runners() -> list[Engine]:
    """A model in both layouts, and another one."""
    tokenizer = make.tokenizer("qwen", "chatml")
    pair = [Decoder(tiny_model("qwen2", len(tokenizer) + 8), tokenizer)]
    torch.manual_seed(1)
    other = tiny_model("qwen2", len(tokenizer) + 8)
    with torch.no_grad():
        other.get_output_embeddings().weight.mul_(1.5)
    pair.append(Decoder(other, tokenizer))
    made = [make_runner(name, pair[0], "a", None) for name in ("parallel", "plain")]
    made.append(make_runner("seq", pair[1], "b", None, own=True))
    return [runner for runner in made if isinstance(runner, Engine)]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six answers with blocks and two without."""
    path = tmp_path_factory.mktemp("documents") / "held.jsonl"
    drawn = examples(8, split="test", families=("general", "rag", "math", "chain"))
    lines = [json.dumps(record(each.question, render(each.answer))) for each in drawn]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_losses_are_those_of_a_teacher_forced_pass_and_ratios_those_of_their_sums(
    runners: list[Engine], documents: Path
) -> None:
    found = measure(documents, runners, "seq", Processes(), **FEW)
    stock = tiny_model("qwen2", len(make.tokenizer("qwen", "chatml")) + 8)
    codec = runners[0].decoder.codec
    rows = found.documents["losses"]
    assert len(rows) == 6
    lines = documents.read_text().splitlines()
    for row in rows[:3]:
        given = json.loads(lines[row["line"] - 1])
        document = parse(given["completion"][0]["content"])
        shared = common(
            Replayed(row["line"], given["prompt"], document),
            codec,
            runners[0].decoder.ends,
            "same-seq",
        )
        for name, layout, chosen in (
            ("parallel", shared.parallel, shared.in_parallel),
            ("plain", shared.plain, shared.in_plain),
        ):
            logits = teacher_forced(stock, layout).log_softmax(-1)
            want = -logits[chosen - 1, layout.input_ids[chosen]].sum().item()
            assert sum(row["loss"][name].values()) == pytest.approx(want, rel=1e-4)
    values = {(score.system, score.task, score.category): score for score in found.scores}
    tokens = sum(sum(row["tokens"].values()) for row in rows)
    lost = {
        name: sum(sum(row["loss"][name].values()) for row in rows)
        for name in ("parallel", "plain", "seq")
    }
    for name, value in lost.items():
        assert values[name, "documents", "all"].value[0] == pytest.approx(value / tokens)
        over = values[name, "documents, over seq", "all"].value
        assert over[0] == pytest.approx(value / lost["seq"])
        assert over[1] <= over[0] <= over[2]
    assert values["seq", "documents, over seq", "branches"].value == (1, 1, 1)
    assert any("2 without a block" in note for note in found.notes)


def test_documents_are_taken_evenly_and_long_ones_left_out(
    runners: list[Engine], documents: Path
) -> None:
    two = measure(documents, runners[:1], "parallel", Processes(), limit=2, **FEW)
    assert len({row["line"] for row in two.documents["losses"]}) == 2
    with pytest.raises(DataError, match="2 without a block, 6 too long"):
        measure(documents, runners[:1], "parallel", Processes(), max_length=20, **FEW)


def test_another_tokenizer_is_refused(runners: list[Engine], documents: Path) -> None:
    tokenizer = make.tokenizer("llama3", "llama3")
    decoder = Decoder(tiny_model("qwen2", len(tokenizer)), tokenizer)
    other = make_runner("seq", decoder, "c", None, own=True)
    assert isinstance(other, Engine)
    with pytest.raises(UsageError, match="seq has another tokenizer"):
        measure(documents, [*runners[:1], other], "seq", Processes(), **FEW)


@pytest.mark.parametrize(
    ("words_", "says"),
    [
        ([("parallel", None), ("hf", None)], "hf has the loss of plain, by construction"),
        ([("parallel", None), ("serial", None)], "serial has the loss of parallel"),
        ([("parallel", None), ("far", "http://x")], "leave out far"),
        ([("plain", None)], "add parallel to --compare"),
    ],
)
def test_systems_without_a_loss_of_their_own_are_refused(words_: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check(words_)


def test_the_layout_of_a_document_is_that_of_training() -> None:
    codec = Codec(make.tokenizer())
    document = parse(ANSWER)
    found = both(ANSWER, codec)
    want = lay_out(tokenize(document, codec), codec)
    answer = found.parallel.input_ids[-len(want) - 1 : -1]
    assert (answer == want.input_ids).all()
    assert codec.decode(found.plain.input_ids[found.plain.useful].tolist()) == plain(document)
