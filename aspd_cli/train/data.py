"""Records of prompt and completion, read from a file, the Hub or `synth`.

A record is TRL's prompt-completion, conversational as `aspd transform` writes it or two texts;
`synth` makes the same records. One with an empty prompt is a plain text to learn from its first
token on.
"""

import io
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset, load_dataset
from datasets.utils import logging as reporting

from aspd_cli.core.markup import render
from aspd_cli.errors import DataError, reason
from aspd_cli.files import content_digest
from aspd_cli.recipe.training import DataSection
from aspd_cli.safe_text import shown
from aspd_cli.sources import HEAD, dataset_name, delimiter_of, kind_of, open_dataset
from aspd_cli.synth import MIX, Split, examples
from aspd_cli.synth.exercises import exercise
from aspd_cli.train.lines import read_lines
from aspd_cli.unzipped import unpacked

SYNTH = "synth"
COLUMNS = ["prompt", "completion"]
_HELD_OUT = 400
"""Generated records in an evaluation."""
_SHOWN = 5
"""Lines left out of a file that are told one by one."""
_LOG = logging.getLogger(__name__)


def records(data: DataSection, source: str, split: Split = "train") -> Dataset:
    """The records of `source`: a file, a dataset of the Hub, or generated ones of a split.

    Raises:
        DataError: it cannot be read or lacks the columns `prompt` and `completion`.
    """
    if source == SYNTH:
        return Dataset.from_list(list(_synth_records(data, split)))
    found = _read(source)
    if missing := set(COLUMNS) - set(found.column_names):
        raise DataError(
            f"{source} has no column {' and no column '.join(sorted(missing))}: create training "
            "data with `aspd transform`"
        )
    if not len(found):
        raise DataError(f"{source} contains no records")
    return found.select_columns(COLUMNS)


def held_out(found: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Records to train on and records to evaluate on; those with equal prompts stay together."""
    ranks = [content_digest(f"{seed} {json.dumps(prompt)}", size=8) for prompt in found["prompt"]]
    number = max(1, round(share * len(ranks)))
    last = sorted(ranks)[number - 1]
    kept = [i for i, rank in enumerate(ranks) if rank > last]
    if not kept:
        raise DataError("no records left to train on: lower data.eval_share")
    return found.select(kept), found.select([i for i, rank in enumerate(ranks) if rank <= last])


def digest(found: Dataset) -> str:
    """A hash of what the records say, whatever file they stand in."""
    lines = (content_digest(json.dumps(record, sort_keys=True)) for record in found)
    return content_digest(*lines).hex()


def place(source: str, row: int) -> str:
    """Where record `row` (from 0) stands: file and line where the file has lines."""
    if Path(source).is_file():
        kept = (line.number for line in read_lines(Path(source)) if not line.problem)
        if number := next(islice(kept, row, None), None):
            return f"{source}:{number}"
    return f"{source}, record {row + 1}"


def _read(source: str) -> Dataset:
    path = Path(source)
    try:
        with _unsaid():
            return _loaded(source, path)
    except DataError:
        raise
    except Exception as error:  # datasets raises whatever its readers do
        if path.is_file() and (found := _readable(path)) is not None:
            return found
        if path.is_file() and not path.read_bytes().strip():
            raise DataError(f"{source} contains no records") from error
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise DataError(f"cannot read the training data {source}: {reason(cause)}") from error


def _loaded(source: str, path: Path) -> Dataset:
    if path.is_file():
        return _loaded_file(path)
    name = dataset_name(path)
    if name is None:
        raise DataError(no_file(source))
    return open_dataset(name)


def _loaded_file(path: Path) -> Dataset:
    with path.open("rb") as raw, TemporaryDirectory() as folder:
        packing = kind = kind_of(raw.peek(HEAD)[:HEAD])
        # datasets unpacks what is called .gz, and nothing but lines and arrays.
        under = Path(folder) / "records"
        if packing in ("gzip", "zstd"):
            head = io.BufferedReader(unpacked(raw, packing)).peek(HEAD)[:HEAD]
            kind = kind_of(head)
            raw.seek(0)
        if packing == "zstd" or (packing == "gzip" and kind not in ("lines", "array")):
            packed = unpacked(raw, packing)
            with under.open("wb") as file:
                shutil.copyfileobj(packed, file)
            if packed.broken:
                raise OSError(packed.broken)
        elif path.suffix in (".gz", ".zst") and packing != "gzip":
            under.symlink_to(path.resolve())
        else:
            under = path
        builder = _BUILDERS.get(kind, "json")
        options = {"sep": delimiter_of(_head(under))} if kind == "table" else {}
        return load_dataset(builder, data_files=str(under), split="train", **options)


_BUILDERS = {"parquet": "parquet", "arrow": "arrow", "table": "csv"}
"""The kind of a file -> what `datasets` calls its reader of it; JSON is the rest."""


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def no_file(source: str) -> str:
    """The sentence about a source that is nothing."""
    return f"no file {source}; give a JSONL file, a Hub id or `synth`"


@contextmanager
def _unsaid() -> Iterator[None]:
    """Keeps datasets from logging an error that we raise as a sentence of our own."""
    level = reporting.get_verbosity()
    reporting.set_verbosity(reporting.CRITICAL)
    try:
        yield
    finally:
        reporting.set_verbosity(level)


def _readable(path: Path) -> Dataset | None:
    """The records of a file some of whose lines are none; each of those is told.

    None when every line seems to be one.

    Raises:
        DataError: no line is a record, or the file cannot be read.
    """
    try:
        lines = list(read_lines(path))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    faults = [f"{path}:{line.number}: {line.problem}" for line in lines if line.problem]
    kept = [line.value or {} for line in lines if not line.problem]
    if not faults:
        return None
    if not kept:
        raise DataError(faults[0])
    for fault in faults[:_SHOWN]:
        _LOG.warning("left out: %s", shown(fault))
    if len(faults) > _SHOWN:
        _LOG.warning("left out: %d more lines of %s", len(faults) - _SHOWN, path)
    columns = [name for name in COLUMNS if any(name in record for record in kept)]
    return Dataset.from_list([{name: record.get(name) for name in columns} for record in kept])


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
