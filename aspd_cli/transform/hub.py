"""Values of a dataset of the Hub, or of a directory laid out like one, streamed by `datasets`.

A dataset is named `ORG/NAME`, `ORG/NAME:SPLIT`, or `ORG/NAME/CONFIG:SPLIT`; the split is `train`
unless it is named.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aspd_cli.errors import DataError

SPLIT = "train"
_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:/([\w.-]+))?(?::([\w.\[\]%:-]+))?")
_FILES = frozenset(".json .jsonl .ndjson .parquet .gz .csv .tsv .txt .zip .arrow .yaml".split())


@dataclass(frozen=True, slots=True)
class DatasetName:
    """Which part of which dataset."""

    path: str
    """Hub id, or a local directory."""
    config: str | None = None
    split: str = SPLIT

    def __str__(self) -> str:
        return f"{self.path}{f'/{self.config}' if self.config else ''}:{self.split}"


def dataset_name(path: Path) -> DatasetName | None:
    """The dataset that a path means; None when it means a file, which may be missing."""
    text = path.as_posix()
    place, colon, split = text.partition(":")
    if Path(place).is_dir():
        return DatasetName(place, None, split if colon else SPLIT)
    found = _NAME.fullmatch(text)
    # Where its directory is there, or its ending is that of a file, a file was meant.
    if path.exists() or not found or path.parent.is_dir() or Path(place).suffix in _FILES:
        return None
    return DatasetName(found[1], found[2], found[3] or SPLIT)


def read_dataset(name: DatasetName) -> Iterator[Any]:
    """All values of a dataset in order, one in memory at a time.

    Raises:
        DataError: there is no such dataset, config or split, or the Hub cannot be reached.
    """
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    # What it tells of its retries would hide the one sentence that matters.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        rows = load_dataset(name.path, name.config, split=name.split, streaming=True)
        yield from rows
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(". ")
        where = "" if Path(name.path).is_dir() else " from the Hub (is there a network?)"
        raise DataError(f"cannot read the dataset {name}{where}: {reason}") from error
