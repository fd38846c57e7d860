"""Records of prompt and completion, read from a file, the Hub or `synth`.

A record is TRL's prompt-completion, conversational as `aspd transform` writes it or two texts;
`synth` makes the same records. One with an empty prompt is a plain text to learn from its first
token on.
"""

import gzip
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset, load_dataset
from datasets.utils import logging as reporting

from aspd_cli.core.markup import render
from aspd_cli.errors import DataError
from aspd_cli.files import content_digest
from aspd_cli.recipe.sections import DataSection
from aspd_cli.sources import dataset_name, open_dataset, opened
from aspd_cli.synth import MIX, Split, examples
from aspd_cli.synth.exercises import exercise

SYNTH = "synth"
COLUMNS = ["prompt", "completion"]
_HELD_OUT = 400
"""Generated records in an evaluation."""


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
        for number, (_, at) in enumerate(_lines(Path(source))):
            if number == row:
                return f"{source}:{at}"
    return f"{source}, record {row + 1}"


def _read(source: str) -> Dataset:
    path = Path(source)
    try:
        with _unsaid():
            return _loaded(source, path)
    except DataError:
        raise
    except Exception as error:  # datasets raises whatever its readers do
        if path.is_file() and (fault := _first_fault(path)):
            raise DataError(fault) from error
        if path.is_file() and not path.stat().st_size:
            raise DataError(f"{source} contains no records") from error
        reason = (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"cannot read the training data {source}: {reason}") from error


def _loaded(source: str, path: Path) -> Dataset:
    if path.is_file():
        return _loaded_file(path)
    name = dataset_name(path)
    if name is None:
        raise DataError(no_file(source))
    return open_dataset(name)


def _loaded_file(path: Path) -> Dataset:
    kind, file = opened(path)
    is_packed = isinstance(file, gzip.GzipFile)
    has_rows = kind in ("parquet", "arrow")
    with file, TemporaryDirectory() as folder:
        # datasets unpacks what is called .gz, and nothing but lines and arrays.
        under = Path(folder) / "records"
        if is_packed and has_rows:
            with under.open("wb") as unpacked:
                shutil.copyfileobj(file, unpacked)
        elif path.suffix == ".gz" and not is_packed:
            under.symlink_to(path.resolve())
        else:
            under = path
        return load_dataset(kind if has_rows else "json", data_files=str(under), split="train")


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


def _first_fault(path: Path) -> str | None:
    """Line and reason of the first line that is no record."""
    try:
        for line, at in _lines(path):
            try:
                found = json.loads(line)
                if not isinstance(found, dict) or not found.keys() >= set(COLUMNS):
                    return f"{path}:{at}: not a JSON object with `prompt` and `completion`"
            except ValueError as error:
                return f"{path}:{at}: not JSON: {error}"
    except (OSError, EOFError) as error:
        return f"{path} cannot be read: {error}"
    return None


def _lines(path: Path) -> Iterator[tuple[bytes, int]]:
    """Every line that is not blank, and its number from 1; none of a file of another kind."""
    kind, file = opened(path)
    with file:
        if kind == "lines":
            yield from ((line, at) for at, line in enumerate(file, start=1) if line.strip())


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
