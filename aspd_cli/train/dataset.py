"""Training data: records of prompt and completion, and what they are as tokens.

A record is TRL's conversational prompt-completion, as `aspd transform` writes it; `synth` makes the
same records. A record with an empty prompt is a plain text to learn from the first token on.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

from datasets import Dataset, load_dataset

from aspd_cli.core.chat import encode_prompt, end_of_turn
from aspd_cli.core.layout import Positions, lay_out, tokenize
from aspd_cli.core.markup import Document, parse, plain, render
from aspd_cli.core.tokens import Codec
from aspd_cli.errors import DataError
from aspd_cli.recipe_sections import DataSection
from aspd_cli.synth import MIX, Split, examples
from aspd_cli.synth.exercises import exercise

SYNTH = "synth"
IGNORE = -100
"""The label of a token that takes no loss."""
_HELD_OUT = 400
"""Generated records in an evaluation."""


def records(data: DataSection, source: str, split: Split = "train") -> Dataset:
    """The records of `source`: a JSONL file, or generated ones of a split.

    Raises:
        DataError: the file cannot be read or lacks the columns `prompt` and `completion`.
    """
    if source == SYNTH:
        return Dataset.from_list(list(_synth_records(data, split)))
    try:
        found = load_dataset("json", data_files=source, split="train")
    except Exception as error:  # datasets raises whatever its readers do
        raise DataError(f"the training data {source} cannot be read: {error}") from error
    if missing := {"prompt", "completion"} - set(found.column_names):
        raise DataError(
            f"{source} has no column {' and no column '.join(sorted(missing))}: make training data "
            "with `aspd transform`"
        )
    return found.select_columns(["prompt", "completion"])


def encoded(
    found: Dataset, codec: Codec, data: DataSection, positions: Positions, loss_on_prompt: bool
) -> Dataset:
    """The records as tokens, see `features`; those longer than `data.max_length` are left out."""
    end_ids = end_of_turn(codec)
    out = found.map(
        lambda record: features(record, codec, end_ids, data.style, positions, loss_on_prompt),
        remove_columns=found.column_names,
        desc="encoding",
    )
    if data.max_length is not None:
        out = out.select([i for i, n in enumerate(out["length"]) if n <= data.max_length])
    if not len(out):
        raise DataError("no record is left to train on: raise data.max_length or check the file")
    return out


def features(
    record: dict[str, Any],
    codec: Codec,
    end_ids: list[int],
    style: str = "parallel",
    positions: Positions = "same-seq",
    loss_on_prompt: bool = False,
) -> dict[str, Any]:
    """One record as tokens.

    Returns:
        `input_ids`, `position_ids`, `labels` (not shifted) and `lanes`, all of T entries; `sees`,
        (L, L) which lanes see each other; `length`, T.
    """
    document = parse(record["completion"][-1]["content"])
    if style == "serial":
        document = Document((plain(document),))
    found = lay_out(
        tokenize(document, codec),
        codec,
        prompt_ids=encode_prompt(codec, record["prompt"]) if record["prompt"] else (),
        end_ids=end_ids,
        positions=positions,
    )
    labels = found.labels(IGNORE)
    if loss_on_prompt:
        answer = int(found.sampled.argmax())
        labels[:answer] = found.input_ids[:answer]
    return {
        "input_ids": found.input_ids,
        "position_ids": found.position_ids,
        "labels": labels,
        "lanes": found.lanes,
        "sees": found.sees,
        "length": len(found),
    }


def _synth_records(data: DataSection, split: Split) -> Iterator[dict[str, Any]]:
    number = data.examples if split == "train" else min(data.examples, _HELD_OUT)
    for example in examples(number, split, data.seed, mix=data.mix or MIX):
        yield _record([{"role": "user", "content": example.question}], render(example.answer))
    if split == "test":
        return
    rng = Random(f"exercises {data.seed}")
    for _ in range(data.exercises):
        yield _record([], exercise(rng))


def _record(prompt: list[dict[str, str]], answer: str) -> dict[str, Any]:
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": answer}]}
