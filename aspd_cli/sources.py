"""What a path of records means: a file of one of seven kinds, a dataset that was saved, or the Hub.

A file's kind is read off its first bytes, never off its name. A dataset is named `ORG/NAME`,
`ORG/NAME:SPLIT` or `ORG/NAME/CONFIG:SPLIT`, the split `train` unless it is named; a directory laid
out like one will do, and so will one that `save_to_disk` of `datasets` has written.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["gzip", "zstd", "parquet", "arrow", "array", "table", "lines"]
"""`array` is one JSON array; `table` is CSV, with commas, semicolons or tabs, and begins with the
names of its columns; `lines` is a JSON value a line, and whatever is nothing else."""

HEAD = 1024
"""Bytes that tell the kind of a file."""
SPLIT = "train"
_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:/([\w.-]+))?(?::([\w.\[\]%:-]+))?")
_FILES = frozenset(
    ".json .jsonl .ndjson .parquet .gz .zst .csv .tsv .txt .zip .arrow .yaml".split()
)
_COLUMN = rb"(?:\w[\w.-]*|\"\w[\w. -]*\")"
_HEADER = re.compile(
    rb"%b(?P<delimiter>[,;\t])%b(?:(?P=delimiter)%b)*\r?\n" % (_COLUMN, _COLUMN, _COLUMN)
)


def kind_of(head: bytes) -> Kind:
    """The kind of a file by its first `HEAD` bytes."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):  # a file, a stream
        return "arrow"
    head = head.removeprefix(b"\xef\xbb\xbf")
    if head.lstrip().startswith(b"["):
        return "array"
    return "table" if delimiter_of(head) else "lines"


def delimiter_of(head: bytes) -> str | None:
    """What stands between the columns of a table; None where no names of columns begin it."""
    found = _HEADER.match(head.removeprefix(b"\xef\xbb\xbf"))
    return found["delimiter"].decode() if found else None


@dataclass(frozen=True, slots=True)
class DatasetName:
    """Which part of which dataset."""

    path: str
    """Hub id, or a local directory."""
    config: str | None = None
    split: str = SPLIT

    def __str__(self) -> str:
        return f"{self.path}{f'/{self.config}' if self.config else ''}:{self.split}"

    @property
    def is_local(self) -> bool:
        """Whether it is a directory."""
        return Path(self.path).is_dir()


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


def open_dataset(name: DatasetName, *, streaming: bool = False) -> Any:
    """The rows of a dataset, by the library `datasets`, whose errors it raises.

    Args:
        streaming: read a dataset of the Hub row by row, and keep nothing of it.
    """
    from datasets import Dataset, load_dataset, load_from_disk

    folder = Path(name.path)
    if not any((folder / marker).is_file() for marker in ("state.json", "dataset_dict.json")):
        return load_dataset(name.path, name.config, split=name.split, streaming=streaming)
    found = load_from_disk(name.path)
    splits = {SPLIT: found} if isinstance(found, Dataset) else found
    if name.split not in splits:
        raise ValueError(f"it has no split {name.split}, but {', '.join(splits)}")
    return splits[name.split]


def hub_answers(repository: str, kind: Literal["model", "dataset"] = "model") -> bool:
    """Whether the hub can be asked: without a network each of its files would be tried for long."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().repo_info(repository, repo_type=kind, timeout=10)
    except HfHubHTTPError:
        return True  # it said no; what, the libraries tell better
    except Exception:  # no network, no name, or told to be offline
        return False
    return True
