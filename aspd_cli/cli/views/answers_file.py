"""The answers file of `aspd generate --output`: what it holds, and that it is ours.

An answer is one appended line, so a run that is killed loses at most the line it was writing. A
line counts as done when the prompt at its index has the digest that the line carries. Of several
processes each writes a file of its own, and the first puts them together.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from aspd_cli.cli.views.prompts_file import PromptRecord
from aspd_cli.errors import DataError, UsageError
from aspd_cli.files import append_jsonl, complete_lines, write_jsonl
from aspd_cli.outputs import (
    RECIPE,
    REJECTED,
    STDOUT,
    beside,
    beside_in_0_1,
    check_apart,
    check_file,
    holds_something,
    same,
)
from aspd_cli.recipe import Recipe, load_recipe
from aspd_cli.resume import is_as_saved, refuse_changes, saved_facts, settings_of

COMMAND = "generate"

_HEAD = b'{"index": '
"""How every line begins."""


class Answers:
    """The answers file: appended to while a run goes on, put into input order at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[int, dict[str, Any]] = {}
        """Answers of the file by index."""

        self.stale = 0
        """How many answers of the file are to prompts that are no longer there."""
        self._torn_at: int | None = None

    def load(self, records: list[PromptRecord], *, known: bool) -> None:
        """Takes over what an earlier run has answered, but no stale answers and no torn last line.

        Args:
            known: whether the settings beside it say that `aspd generate` writes this file.

        Raises:
            DataError: the file holds something else than answers.
        """
        try:
            lines, end = complete_lines(self.path)
            torn = self.path.read_bytes()[end:] if self.path.exists() else b""
        except OSError as error:
            raise DataError(f"cannot read {self.path}: {error.strerror}") from error
        digests = {record.index: record.digest for record in records}
        for number, line in enumerate(lines, start=1):
            try:
                answer = json.loads(line)
                index, digest = answer["index"], answer["digest"]
                hash(index)
            except (ValueError, TypeError, KeyError, RecursionError):
                raise self._foreign(number) from None
            if digests.get(index) == digest:
                self.done[index] = answer
            else:
                self.stale += 1
        if torn and not (known and (lines or torn[: len(_HEAD)] == _HEAD[: len(torn)])):
            raise self._foreign(len(lines) + 1)
        self._torn_at = end if torn else None

    def cut(self) -> None:
        """Drops the last line that a kill has torn, if one did."""
        if self._torn_at is not None:
            os.truncate(self.path, self._torn_at)
            self._torn_at = None

    def _foreign(self, line: int) -> DataError:
        return DataError(
            f"{self.path}:{line} is not an answer of `aspd generate`: "
            "delete the file or choose another --output"
        )

    def append(self, answer: dict[str, Any]) -> None:
        """Adds one finished answer to the file.

        Raises:
            DataError: it cannot be written.
        """
        with told(self.path), self.path.open("ab") as file:
            append_jsonl(file, answer)
        self.done[answer["index"]] = answer

    def sort(self) -> None:
        """Puts the file into input order, at once or not at all.

        Raises:
            DataError: it cannot be written.
        """
        with told(self.path):
            write_jsonl(self.path, [self.done[index] for index in sorted(self.done)])


@contextmanager
def told(path: Path) -> Iterator[None]:
    """A file that cannot be written is one sentence."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror}; run the same command to resume"
        ) from error


def part_of(out: Path, process: int) -> Path:
    """Where a process writes; the first one writes the answers file itself."""
    return out if process == 0 else beside(out, f".part{process}")


def parts_of(out: Path) -> list[Path]:
    """What processes other than the first have left."""
    return sorted(
        path
        for path in out.parent.glob(f"{escape(out.name)}.part*")
        if path.name.removeprefix(f"{out.name}.part").isdecimal()
    )


def collect(answers: Answers, records: list[PromptRecord]) -> None:
    """Takes over what other processes have written, in this run or in one that was killed."""
    for path in parts_of(answers.path):
        found = Answers(path)
        found.load(records, known=True)
        for answer in found.done.values():
            answers.append(answer)
        path.unlink()


def check_places(recipe: Recipe, source: Path, out: Path, recipe_file: Path | None) -> None:
    """Refuses before anything is touched what would overwrite something else."""
    if out == STDOUT:
        raise UsageError(
            "--output cannot be standard output (-), for a run is resumed from its file; give the "
            "name of a file"
        )
    check_file("--output", out)
    settings = beside(out, RECIPE)
    own = recipe_file and same(recipe_file, settings) and is_as_saved(recipe_file)
    reads = {
        "--input": source,
        "--model": recipe.model.path,
        "--adapter": recipe.model.adapter,
        "--recipe": None if own else recipe_file,
    }
    check_apart(
        reads,
        {
            "--output": out,
            "the settings of --output": settings,
            "the rejected records of --output": beside(out, REJECTED),
            **{f"{path} of --output": path for path in parts_of(out)},
        },
    )


def check_settings(recipe: Recipe, out: Path) -> bool:
    """Whether `aspd generate` writes this file, which it does not with other settings."""
    path = beside(out, RECIPE)
    known = saved_facts(path, COMMAND) is not None
    if not known:
        for each in (path, beside(out, REJECTED)):
            if holds_something(each):
                raise UsageError(
                    f"{each} was not made by `aspd generate`, which would replace it; choose "
                    "another --output"
                )
        old = beside_in_0_1(out, RECIPE)
        known = old is not None and is_as_saved(old)
        path = old if old is not None and known else path
    if known and holds_something(out):
        refuse_changes(
            out,
            _decisive(load_recipe(path)),
            _decisive(recipe),
            "choose another --output, or delete the file to start over",
        )
    return known


def _decisive(recipe: Recipe) -> dict[str, Any]:
    """The fields that decide what an answer says; batch, drafts and device do not."""
    return settings_of(
        recipe.model_dump(mode="json"),
        only=(
            *("model.path", "model.adapter", "model.dtype", "model.quantize"),
            *("model.endpoint.model", "data.chat_template_kwargs", "generation"),
        ),
        free=("generation.batch_size", "generation.draft"),
    )
