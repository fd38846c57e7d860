"""Held-out questions of one family, as lm-eval takes a data set."""

from itertools import islice
from typing import Any

from aspd_cli.synth import examples

SEED = 0


def family(family: str, documents: int, **_: Any) -> dict[str, Any]:
    """{split: records} of `documents` test questions. lm-eval calls it with the task's settings."""
    from datasets import Dataset

    drawn = islice(examples(documents, split="test", seed=SEED, families=(family,)), documents)
    records = [
        {"question": each.question, "answer": each.text, "category": family} for each in drawn
    ]
    return {"test": Dataset.from_list(records)}
