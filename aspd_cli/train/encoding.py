"""All records of a file as tokens, in several processes, and what became of those that do not fit.

The result is kept in the cache of `datasets` under a hash of all that it depends on: the records,
the tokenizer with its special tokens and chat template, the settings, the libraries and this code.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import tokenizers
import transformers
from datasets import Dataset

from aspd_cli import core
from aspd_cli.core.chat import end_of_turn
from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import Positions
from aspd_cli.errors import DataError, MarkupError
from aspd_cli.files import content_digest
from aspd_cli.recipe.training import DataSection
from aspd_cli.train.data import digest, place
from aspd_cli.train.features import UNREADABLE, features

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
    lost: int
    """With blocks, but left out or made serial for being too long."""
    shortest_lost: int
    """Tokens of the shortest of these, with its blocks; 0 without any."""
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
            f"no record in {source} is short enough to train on: the shortest has {shortest} "
            f"tokens, but data.max_length is {data.max_length}"
        )
    depths = values(kept, "depth")
    lost = _lost(rows, data)
    return Encoded(
        kept.remove_columns("problem").with_format("numpy"),
        records=len(rows),
        dropped=len(rows) - len(kept),
        made_serial=sum(values(kept, "made_serial")),
        parallel=sum(depth > 0 for depth in depths),
        lost=len(lost),
        shortest_lost=min(lost, default=0),
        depth=max(depths),
        digest=content,
    )


def _lost(rows: Dataset, data: DataSection) -> list[int]:
    """Tokens of each record with blocks that is too long to train on with them."""
    columns = (values(rows, name) for name in ("depth", "made_serial", "whole"))
    return [
        whole
        for depth, made_serial, whole in zip(*columns, strict=True)
        if (depth or made_serial) and data.max_length is not None and whole > data.max_length
    ]


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
    end_ids = end_of_turn(codec)
    parts = [content, json.dumps(settings), *_identity(codec), json.dumps(end_ids), _code()]
    key = content_digest(*parts).hex()
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "aspd" / key
    if datasets.is_caching_enabled() and folder.is_dir():
        return datasets.load_from_disk(str(folder))

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


def _identity(codec: Codec) -> list[str]:
    """Everything about a tokenizer that decides how text becomes ids."""
    tokenizer = codec.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else _files(tokenizer)
    tokens = tokenizer.convert_ids_to_tokens(sorted(codec.special))
    named = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    before_and_after = tokenizer.encode("a", add_special_tokens=True)
    decisive = [
        *(sorted(codec.special), tokens, named, before_and_after),
        *(tokenizer.chat_template, codec.chat_template_kwargs),
        *(transformers.__version__, tokenizers.__version__),
    ]
    return [type(tokenizer).__name__, rules, json.dumps(decisive, sort_keys=True, default=str)]


def _files(tokenizer: Any) -> str:
    """A tokenizer that is not a Rust object, as a hash of the files that it would be saved in."""
    found = hashlib.blake2b(digest_size=16)
    with TemporaryDirectory() as folder:
        for file in sorted(tokenizer.save_vocabulary(folder)):
            found.update(Path(file).read_bytes())
    return found.hexdigest() + json.dumps(tokenizer.init_kwargs, sort_keys=True, default=str)


def _code() -> str:
    """The code that lays records out, all of `core`: another version of it makes other tokens."""
    sources = sorted(Path(core.__path__[0]).glob("*.py"))
    sources += [Path(__file__).with_name("features.py"), Path(__file__)]
    return "".join(path.read_text(encoding="utf-8") for path in sources)
