"""Training data as tokens: all records of a file, and what became of those that do not fit.

Encoding runs in several processes and is kept in the cache of `datasets` under a hash of what it
depends on: the records, the tokenizer, the settings and this code.
"""

import hashlib
import inspect
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset

from aspd_cli.core import chat, layout, markup, tokens
from aspd_cli.core.chat import end_of_turn
from aspd_cli.core.layout import Positions
from aspd_cli.core.tokens import Codec
from aspd_cli.errors import DataError, MarkupError
from aspd_cli.recipe_sections import DataSection
from aspd_cli.train.features import UNREADABLE, features
from aspd_cli.train.records import digest, place, records

__all__ = ["Encoded", "encode", "records"]

_A_WORKER = 1000
"""Records that are worth a process of their own."""
_SHOWN = 5
"""Problems that an error lists one by one."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Records as tokens, and what became of the others."""

    data: Dataset
    """Columns as `features` names them."""
    records: int
    """Before anything was left out."""
    dropped: int
    """Left out because they are longer than `data.max_length`."""
    made_serial: int
    """Trained as plain text because their blocks made them too long."""
    parallel: int
    """Trained with at least one block."""
    depth: int
    """How deep the blocks nest; 0 without any."""
    digest: str
    """Hash of the records."""

    @property
    def lengths(self) -> list[int]:
        """Tokens of each record."""
        return values(self.data, "length")


def values(data: Dataset, column: str) -> list[Any]:
    """A whole column, read at once: `data[column]` would fetch and format row by row."""
    found: list[Any] = data.with_format(None).select_columns(column)[:][column]
    return found


def encode(
    found: Dataset,
    codec: Codec,
    data: DataSection,
    positions: Positions,
    loss_on_prompt: bool,
    source: str,
) -> Encoded:
    """The records as tokens with counts.

    Args:
        source: the file's name, for errors.

    Raises:
        DataError: records that are not in the grammar, each with its line; or none is left.
    """
    content = digest(found)
    rows = _cached(found, codec, data, positions, loss_on_prompt, content)
    problems = [(at, text) for at, text in enumerate(values(rows, "problem")) if text]
    if problems:
        shown = [f"{place(source, at)}: {text}" for at, text in problems[:_SHOWN]]
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        head = [f"{len(problems)} records cannot be trained on:"] if len(problems) > 1 else []
        raise DataError("\n  ".join([*head, *shown, *more]))
    kept = rows
    if data.max_length is not None:
        lengths = values(rows, "length")
        kept = rows.select([i for i, n in enumerate(lengths) if n <= data.max_length])
    if not len(kept):
        shortest = min(values(rows, "length"))
        raise DataError(
            f"no record of {source} is left to train on: the shortest has {shortest} tokens and "
            f"data.max_length is {data.max_length}"
        )
    depths = values(kept, "depth")
    return Encoded(
        kept.remove_columns("problem").with_format("numpy"),
        records=len(rows),
        dropped=len(rows) - len(kept),
        made_serial=sum(values(kept, "made_serial")),
        parallel=sum(depth > 0 for depth in depths),
        depth=max(depths),
        digest=content,
    )


def _cached(
    found: Dataset,
    codec: Codec,
    data: DataSection,
    positions: Positions,
    loss_on_prompt: bool,
    content: str,
) -> Dataset:
    """All records as `features` with a column `problem`, from the cache where they are there."""
    settings: dict[str, Any] = {
        "style": data.style,
        "positions": positions,
        "loss_on_prompt": loss_on_prompt,
        "max_length": data.max_length,
        "too_long": data.too_long,
    }
    parts = [content, json.dumps(settings), _identity(codec.tokenizer), _code()]
    key = hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "aspd" / key
    if datasets.is_caching_enabled() and folder.is_dir():
        return datasets.load_from_disk(str(folder))
    end_ids = end_of_turn(codec)

    def one(record: dict[str, Any]) -> dict[str, Any]:
        # Errors go into a column: raised in a worker they would arrive without their record.
        try:
            return {**features(record, codec, end_ids, **settings), "problem": ""}
        except (MarkupError, DataError) as error:
            return {**UNREADABLE, "problem": str(error)}

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the processes are parallel
    rows = found.map(
        one,
        remove_columns=found.column_names,
        num_proc=_workers(data.workers, len(found)),
        new_fingerprint=key,
        load_from_cache_file=False,
    )
    if datasets.is_caching_enabled():
        _keep(rows, folder)
    return rows


def _workers(wanted: int | None, number: int) -> int | None:
    """Processes for `number` records; None encodes in this one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(wanted or min(number // _A_WORKER, cores or 1), number)
    return workers if workers > 1 else None


def _keep(rows: Dataset, folder: Path) -> None:
    """Writes the cache entry whole or not at all; a full disk costs only the cache."""
    begun = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        rows.save_to_disk(str(begun))
        begun.rename(folder)
    except OSError:
        shutil.rmtree(begun, ignore_errors=True)


def _identity(tokenizer: Any) -> str:
    """Everything about a tokenizer that decides how text becomes ids."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else json.dumps(sorted(tokenizer.get_vocab()))
    return "\0".join([type(tokenizer).__name__, rules, str(tokenizer.chat_template)])


def _code() -> str:
    """The code that lays records out: another version of it makes other tokens."""
    sources = [inspect.getsource(module) for module in (chat, layout, markup, tokens)]
    return "".join([*sources, inspect.getsource(features)])
