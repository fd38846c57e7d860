"""Training data as tokens: one record, and all records of a file.

`features` lays one record out: ids, positions, labels, lanes, and which lanes see each other.
`encode` does so for a file in several processes and tells what became of records that do not fit.
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
import numpy as np
import tokenizers
import transformers
from datasets import Dataset

from aspd_cli import core
from aspd_cli.core.chat import encode_prompt, end_of_turn
from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import Layout, Positions, lay_out, tokenize
from aspd_cli.core.markup import Block, Document, plain
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError, MarkupError
from aspd_cli.files import content_digest
from aspd_cli.recipe.training import DataSection
from aspd_cli.train.data import digest, place, records

IGNORE = -100
"""The label of a token that takes no loss."""

__all__ = ["Encoded", "encode", "records"]

_A_WORKER = 1000
"""Records that are worth a process of their own."""
_SHOWN = 5
"""Problems that an error lists one by one."""


def features(
    record: dict[str, Any],
    codec: Codec,
    end_ids: list[int],
    style: str = "parallel",
    positions: Positions = "same-seq",
    loss_on_prompt: bool = False,
    max_length: int | None = None,
    too_long: str = "drop",
) -> dict[str, Any]:
    """One record as tokens.

    Returns:
        `input_ids`, `position_ids`, `labels` (not shifted) and `lanes`, all of T entries; `sees`,
        (L, L) which lanes see each other; `length`, T; `whole`, what T is with all blocks;
        `learnt`, how many tokens take loss; `depth` of its blocks; `made_serial`, whether it lost
        them for being too long.

    Raises:
        MarkupError: the completion is not in the grammar.
        DataError: the prompt or the completion is no text and no list of messages.
    """
    document = parse(_answer(record["completion"]))
    if misread := next(filter(None, (block.misread for block in document.blocks())), None):
        raise DataError(
            f"the title {misread!r} looks like a label, but its block has no form: transform the "
            "answer again, or change the title"
        )
    prompt_ids = encode_prompt(codec, record["prompt"]) if record["prompt"] else []

    def laid_out(document: Document) -> Layout:
        tree = tokenize(document, codec)
        return lay_out(tree, codec, prompt_ids=prompt_ids, end_ids=end_ids, positions=positions)

    depth = _depth(document)
    if depth and style == "serial":
        document, depth = Document((plain(document),)), 0
    found = laid_out(document)
    whole = len(found)
    made_serial = bool(
        depth and too_long == "serial" and max_length is not None and whole > max_length
    )
    if made_serial:
        found, depth = laid_out(Document((plain(document),))), 0
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
        "whole": whole,
        "learnt": int((labels[1:] != IGNORE).sum()),
        "depth": depth,
        "made_serial": made_serial,
    }


def _answer(completion: Any) -> str:
    """The markup of a completion: a text, or the last of its messages."""
    if isinstance(completion, list) and completion:
        completion = completion[-1].get("content") if isinstance(completion[-1], dict) else None
    if not isinstance(completion, str) or not completion:
        raise DataError("the completion is empty, or is neither a string nor a list of messages")
    return completion


def _depth(document: Document) -> int:
    return max(
        (
            1 + max(_depth(branch.content) for branch in part.branches)
            for part in document.parts
            if isinstance(part, Block)
        ),
        default=0,
    )


_NOTHING = np.zeros(0, dtype=np.int64)
UNREADABLE: dict[str, Any] = {
    "input_ids": _NOTHING,
    "position_ids": _NOTHING,
    "labels": _NOTHING,
    "lanes": _NOTHING,
    "sees": np.ones((1, 1), dtype=bool),
    "length": 0,
    "whole": 0,
    "learnt": 0,
    "depth": 0,
    "made_serial": False,
}
"""In place of the features of a record that has none."""


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
    return "".join(path.read_text(encoding="utf-8") for path in (*sources, Path(__file__)))
