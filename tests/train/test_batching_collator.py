"""Batches: labels, padding and masks against the layout they come from."""

from typing import Any

import numpy as np
import pytest
import torch

from aspd_cli.core.chat import encode_prompt, end_of_turn
from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import Layout, lay_out, tokenize
from aspd_cli.core.markup import render
from aspd_cli.synth import QUESTION_FAMILIES, Example, examples
from aspd_cli.train import branch_mask
from aspd_cli.train.batching import BranchCollator
from aspd_cli.train.features import IGNORE, features

EXAMPLES = list(examples(8, families=QUESTION_FAMILIES))


def record(example: Example) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": example.question}],
        "completion": [{"role": "assistant", "content": render(example.answer)}],
    }


def rows(codec: Codec, **options: Any) -> list[dict[str, Any]]:
    return [features(record(e), codec, end_of_turn(codec), **options) for e in EXAMPLES]


def layouts(codec: Codec) -> list[Layout]:
    return [
        lay_out(
            tokenize(e.answer, codec),
            codec,
            prompt_ids=encode_prompt(codec, e.question),
            end_ids=end_of_turn(codec),
        )
        for e in EXAMPLES
    ]


def test_labels_are_exactly_the_sampled_tokens(codec: Codec) -> None:
    batch = BranchCollator(0)(rows(codec))
    for labels, ids, want in zip(batch["labels"], batch["input_ids"], layouts(codec), strict=True):
        taken = (labels != IGNORE).numpy()
        assert (taken[: len(want)] == want.sampled).all()
        assert not taken[len(want) :].any()
        assert torch.equal(labels[labels != IGNORE], ids[labels != IGNORE])


def test_loss_on_the_prompt_adds_the_prompt_and_nothing_forced(codec: Codec) -> None:
    batch = BranchCollator(0)(rows(codec, loss_on_prompt=True))
    for labels, want in zip(batch["labels"], layouts(codec), strict=True):
        taken = (labels != IGNORE).numpy()[: len(want)]
        answer = int(want.sampled.argmax())
        assert taken[:answer].all()
        assert (taken[answer:] == want.sampled[answer:]).all()


def test_serial_style_is_one_lane_of_plain_text(codec: Codec) -> None:
    for row, example in zip(rows(codec, style="serial"), EXAMPLES, strict=True):
        assert set(row["lanes"]) == {0}
        assert not set(codec.control) & set(row["input_ids"])
        answer = [label for label in row["labels"] if label != IGNORE]
        assert codec.decode(answer) == example.text


def test_the_token_mask_counts_the_tokens(codec: Codec) -> None:
    found = rows(codec)
    batch = BranchCollator(0)(found)
    assert batch["attention_mask"].sum(1).tolist() == [row["length"] for row in found]


def test_the_mask_of_a_batch_is_the_visibility_of_its_layouts(codec: Codec, model: Any) -> None:
    batch = BranchCollator(0)(rows(codec))
    made = branch_mask.masks(
        model.config, batch["lanes"], batch["sees"], batch["position_ids"], torch.float32
    )
    made = made["full_attention"] if isinstance(made, dict) else made
    for allowed, want in zip(made[:, 0].numpy(), layouts(codec), strict=True):
        size = len(want)
        assert (allowed[:size, :size] == want.visibility()).all()
        assert not allowed[:size, size:].any()


def test_a_row_of_records_is_the_records_one_after_another(codec: Codec) -> None:
    found = rows(codec, loss_on_prompt=True)
    batch = BranchCollator(0, packing=True)(found)
    sizes = [row["length"] for row in found]
    assert batch["records"][0].bincount().tolist() == sizes
    for name in ("input_ids", "position_ids", "lanes", "labels"):
        for part, row in zip(batch[name][0].split(sizes), found, strict=True):
            start = 1 if name == "labels" else 0
            assert part[start:].tolist() == list(row[name][start:]), name
            assert name != "labels" or part[0] == IGNORE, "nothing of it stands before"
    learnt = (batch["labels"][:, 1:] != IGNORE).sum()
    assert learnt == sum(row["learnt"] for row in found)
    assert batch["attention_mask"].all()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_branches_do_not_see_each_other_in_training(
    codec: Codec, model: Any, attention: str
) -> None:
    model.set_attn_implementation(attention)
    branch_mask.install(model)
    row = next(row for row in rows(codec) if np.max(row["lanes"]) >= 3)
    batch = BranchCollator(0)([row])
    changed = {**batch, "input_ids": batch["input_ids"].clone()}
    second = (batch["lanes"][0] == 2).nonzero()[4]  # in the content of the second branch
    changed["input_ids"][0, second] = (changed["input_ids"][0, second] + 1) % 100 + 20
    with torch.no_grad():
        before, after = (
            model(**{k: v for k, v in b.items() if k != "labels"}).logits[0]
            for b in (batch, changed)
        )
    moved = (before - after).abs().amax(-1) > 1e-6
    lanes = batch["lanes"][0]
    assert not moved[:second].any()
    assert not moved[(lanes == 1) | (lanes >= 3)].any()
    assert moved[int((lanes >= 1).nonzero()[-1]) + 1 :].all()  # the text after the block


def test_attention_that_would_ignore_the_mask_is_refused(model: Any) -> None:
    from aspd_cli.errors import ModelError

    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ModelError, match="flash_attention_2"):
        branch_mask.install(model)
