"""Losses by kind of token: exact means over tokens, however records fall into batches."""

from typing import Any

import pytest
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from trl import SFTConfig

from aspd_cli.core.chat import end_of_turn
from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import BRANCH_END, PARA, TITLE, TITLE_END, render
from aspd_cli.synth import QUESTION_FAMILIES, examples
from aspd_cli.train import branch_mask
from aspd_cli.train.batching import BranchCollator
from aspd_cli.train.features import IGNORE, features
from aspd_cli.train.losses import KINDS, kinds_of, loss_sums
from aspd_cli.train.trainer import BranchTrainer


@pytest.fixture(scope="module")
def rows(codec: Codec) -> list[dict[str, Any]]:
    records = (
        {
            "prompt": [{"role": "user", "content": example.question}],
            "completion": [{"role": "assistant", "content": render(example.answer)}],
        }
        for example in examples(10, families=QUESTION_FAMILIES)
    )
    return [features(record, codec, end_of_turn(codec)) for record in records]


def named(row: dict[str, Any], codec: Codec) -> list[str]:
    """The kind of each token, read off the markup token by token."""
    out, title = [], False
    names = codec.tokenizer.convert_ids_to_tokens([int(i) for i in row["input_ids"]])
    for name, lane in zip(names, row["lanes"], strict=True):
        title = title or name == TITLE
        out.append("title" if title or name == PARA else "branch" if lane else "serial")
        title = title and name != TITLE_END
    return out


def test_kinds_are_those_of_the_markup(rows: list[dict[str, Any]], codec: Codec) -> None:
    batch = BranchCollator(0)(rows)
    found = kinds_of(batch["input_ids"], batch["lanes"], codec.control)
    for row, kind in zip(rows, found.tolist(), strict=True):
        assert [KINDS[k] for k in kind[: len(row["lanes"])]] == named(row, codec)
    ends = batch["input_ids"] == codec.tokenizer.convert_tokens_to_ids(BRANCH_END)
    assert (found[ends] == KINDS.index("branch")).all()


@pytest.mark.parametrize("packing", [False, True])
def test_losses_of_a_batch_are_those_of_its_records(
    rows: list[dict[str, Any]], codec: Codec, packing: bool
) -> None:
    draw = torch.Generator().manual_seed(0)
    batch = BranchCollator(0, packing)(rows)
    sizes = [len(row["lanes"]) for row in rows]
    drawn = [-torch.rand(size, generator=draw) for size in sizes]
    if packing:
        whole = torch.cat(drawn)[None]
    else:
        whole = torch.nn.utils.rnn.pad_sequence(drawn, batch_first=True)
    found = loss_sums(whole[:, 1:], batch, codec.control)
    for row, values, sums in zip(rows, drawn, found, strict=True):
        alone = loss_sums(values[None, 1:], BranchCollator(0)([row]), codec.control)
        torch.testing.assert_close(sums, alone[0])
        assert sums[:, 1].sum() == row["learnt"]


@pytest.mark.parametrize("packing", [False, True])
def test_an_evaluation_gives_the_mean_over_all_tokens_of_a_kind(
    rows: list[dict[str, Any]], codec: Codec, model: Any, tmp_path: Any, packing: bool
) -> None:
    branch_mask.install(model)
    total: dict[str, list[float]] = {name: [] for name in KINDS}
    for row in rows:
        batch = BranchCollator(0)([row])
        labels = batch.pop("labels")[0, 1:]
        with torch.no_grad():
            logits = model(**batch, use_cache=False).logits[0, :-1]
        each = cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
        for loss, label, kind in zip(each, labels, named(row, codec)[1:], strict=True):
            if label != IGNORE:
                total[kind].append(float(loss))
    data = Dataset.from_list([{k: v for k, v in row.items() if k != "made_serial"} for row in rows])
    trainer = BranchTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(tmp_path),
            per_device_eval_batch_size=3,  # the last batch is smaller
            report_to="none",
            bf16=False,
            gradient_checkpointing=False,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            disable_tqdm=True,
        ),
        train_dataset=data,
        eval_dataset=data,
        processing_class=codec.tokenizer,
        data_collator=BranchCollator(0, packing),
        control=codec.control,
    )
    found = trainer.evaluate()
    everything = [loss for losses in total.values() for loss in losses]
    assert found["eval_loss"] == pytest.approx(sum(everything) / len(everything), abs=1e-5)
    for name, losses in total.items():
        want = sum(losses) / len(losses)
        assert found[f"eval_loss_{name}"] == pytest.approx(want, abs=1e-5), name
