"""`aspd generate --input prompts.jsonl --output answers.jsonl`: many prompts, resumable.

An answer is one appended line, so a run that is killed loses at most the line it was writing. A
line counts as done when the prompt at its index has the digest that the line carries. Of several
processes each writes a file of its own, and the first puts them together.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aspd_cli.cli.progress import ProgressReporter
from aspd_cli.cli.views.generate import answer_json, open_decoder, settings
from aspd_cli.core.chat import Prompt, to_messages
from aspd_cli.errors import DataError, ModelError, UsageError
from aspd_cli.files import (
    append_jsonl,
    check_id,
    complete_lines,
    content_digest,
    parse_jsonl,
    write_jsonl,
    write_text,
)
from aspd_cli.recipe import Recipe, load_recipe
from aspd_cli.resume import refuse_changes, settings_of
from aspd_cli.safe_text import excerpt, printable

if TYPE_CHECKING:
    from aspd_cli.evaluate.processes import Processes

NAMES = ("prompt", "messages", "question")
"""Where a record holds its prompt; the first that is there counts."""


@dataclass(frozen=True, slots=True)
class PromptRecord:
    """One prompt of an input file."""

    index: int
    """Which line that is not blank it is, from 0."""
    line: int
    """Its line number in the file, from 1."""
    id: Any
    """The record's own `id`, or None."""
    prompt: Prompt
    category: str = ""
    """The record's own `category`, for measures by category."""

    @property
    def digest(self) -> str:
        """Changes when the conversation does."""
        text = json.dumps(to_messages(self.prompt), ensure_ascii=False)
        return content_digest(text).hex()


@dataclass(frozen=True, slots=True)
class RejectedPrompt:
    """An input that cannot be answered, and why."""

    line: int
    """Its line number in the input, from 1."""
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return {"line": self.line, "reason": self.reason}


def read_prompts(path: Path) -> tuple[list[PromptRecord], list[RejectedPrompt]]:
    """The records of a JSONL file, and the lines that hold none.

    Raises:
        DataError: the file cannot be read at all.
    """
    try:
        with path.open("rb") as file:
            lines = list(parse_jsonl(file))
    except OSError as error:
        raise DataError(f"cannot read the prompts in {path}: {error.strerror}") from error
    records: list[PromptRecord] = []
    rejected: list[RejectedPrompt] = []
    for number, value, problem in lines:
        try:
            if problem:
                raise ValueError(problem)
            prompt, identity = _prompt(value), check_id(value.get("id"))
            category = printable(str(value.get("category") or ""))
        except (ValueError, RecursionError, DataError) as error:
            rejected.append(RejectedPrompt(number, str(error)))
        else:
            index = len(records) + len(rejected)
            records.append(PromptRecord(index, number, identity, prompt, category))
    return records, rejected


def _prompt(value: Any) -> Prompt:
    """The prompt of a record; `ValueError` or `DataError` say what is wrong with it."""
    if not isinstance(value, dict):
        raise ValueError('a record must be a JSON object, such as {"prompt": "..."}')
    name = next((name for name in NAMES if name in value), None)
    if name is None:
        raise ValueError(f"no `prompt`, `messages` or `question`, only {excerpt(', '.join(value))}")
    prompt = value[name]
    if not isinstance(prompt, str | list):
        raise ValueError(f"`{name}` is neither a string nor a list of messages")
    # Training data end with the answer that is asked for here.
    while name == "messages" and isinstance(prompt, list) and _is_answer(prompt[-1:]):
        prompt = prompt[:-1]
    messages = to_messages(prompt)
    return prompt if isinstance(prompt, str) else messages


def _is_answer(messages: list[Any]) -> bool:
    return any(isinstance(m, dict) and m.get("role") == "assistant" for m in messages)


class Answers:
    """The answers file: appended to while a run goes on, put into input order at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[int, dict[str, Any]] = {}
        """Answers of the file by index."""

    def load(self, records: list[PromptRecord]) -> None:
        """Takes over what an earlier run has answered; drops a torn last line and stale answers.

        Raises:
            DataError: the file holds something else than answers.
        """
        try:
            lines, end = complete_lines(self.path)
        except OSError as error:
            raise DataError(f"cannot read {self.path}: {error.strerror}") from error
        digests = {record.index: record.digest for record in records}
        for number, line in enumerate(lines, start=1):
            try:
                answer = json.loads(line)
                index, digest = answer["index"], answer["digest"]
            except (ValueError, TypeError, KeyError):
                raise DataError(
                    f"{self.path}:{number} is not an answer of `aspd generate`: "
                    "delete the file or choose another --output"
                ) from None
            if digests.get(index) == digest:
                self.done[index] = answer
        if self.path.exists():
            os.truncate(self.path, end)

    def append(self, answer: dict[str, Any]) -> None:
        """Adds one finished answer to the file."""
        with self.path.open("ab") as file:
            append_jsonl(file, answer)
        self.done[answer["index"]] = answer

    def sort(self) -> None:
        """Puts the file into input order, at once or not at all."""
        write_jsonl(self.path, [self.done[index] for index in sorted(self.done)])


def part_of(out: Path, process: int) -> Path:
    """Where a process writes; the first one writes the answers file itself."""
    return out if process == 0 else out.with_name(f"{out.name}.part{process}")


def collect(answers: Answers, records: list[PromptRecord]) -> None:
    """Takes over what other processes have written, in this run or in one that was killed."""
    out = answers.path
    for path in sorted(out.parent.glob(f"{out.name}.part*")):
        found = Answers(path)
        found.load(records)
        for answer in found.done.values():
            answers.append(answer)
        path.unlink()


def share(records: Sequence[PromptRecord], process: int, processes: int) -> list[PromptRecord]:
    """The records of one process. Equal prompts stay together: they draw one after another."""
    digests = list(dict.fromkeys(record.digest for record in records))
    mine = set(digests[process::processes])
    return [record for record in records if record.digest in mine]


def answer_file(recipe: Recipe, source: Path, out: Path, *, quiet: bool) -> int:
    """Answers every prompt of `source` into `out`; returns the exit code.

    Raises:
        DataError: a file cannot be read, or is not what it should be.
        UsageError: `out` holds answers that were made with other settings.
    """
    if source.exists() and out.exists() and out.samefile(source):
        raise UsageError("--input and --output are the same file; choose another --output")
    from aspd_cli.evaluate.processes import Processes

    processes = Processes()
    quiet = quiet or not processes.is_first
    records, rejected = read_prompts(source)
    out.parent.mkdir(parents=True, exist_ok=True)
    answers = Answers(part_of(out, processes.index))

    def begin() -> set[int]:
        answers.load(records)
        collect(answers, records)
        _claim(recipe, out)
        return set(answers.done)

    done = processes.agree(begin)
    found = len(done)
    # Equal prompts draw one after another: to end like a run in one go they are redone together.
    missing = {record.digest for record in records if record.index not in done}
    owed = [record for record in records if record.digest in missing]
    mine = share(owed, processes.index, processes.number)
    try:
        refused = _decode(recipe, mine, answers, processes, quiet=quiet) if owed else []
        rejected += processes.gather(refused)
    except KeyboardInterrupt:
        if not quiet:
            left = len(records) - len(answers.done)
            print(f"interrupted; {left} left. Run the same command to resume.", file=sys.stderr)
        raise
    if not processes.is_first:
        return 3 if rejected else 0
    collect(answers, records)
    answers.sort()
    rejects = out.with_suffix(".rejected.jsonl")
    rejects.unlink(missing_ok=True)
    if rejected:
        write_jsonl(rejects, [r.as_dict() for r in sorted(rejected, key=lambda r: r.line)])
    if not quiet:
        parts = [f"{len(answers.done)} answers in {out}"]
        parts += [f"{found} of them from an earlier run"] if found else []
        parts += [f"{len(rejected)} records rejected, see {rejects}"] if rejected else []
        print(", ".join(parts), file=sys.stderr)
    return 3 if rejected else 0


def _decode(
    recipe: Recipe,
    owed: list[PromptRecord],
    answers: Answers,
    processes: "Processes",
    *,
    quiet: bool,
) -> list[RejectedPrompt]:
    """Decodes the records that are owed; returns those whose prompt the model cannot take."""
    from aspd_cli.engine.options import GenerationOptions

    device = processes.device(recipe.model.device)
    decoder, arguments = open_decoder(recipe, quiet=quiet, device=device), settings(recipe)
    options = GenerationOptions(**arguments)
    decoder.encode("?", options)  # what fails here would fail for every record
    fit: list[PromptRecord] = []
    rejected: list[RejectedPrompt] = []
    for record in owed:
        try:
            decoder.encode(record.prompt, options)
            fit.append(record)
        except (DataError, ModelError) as error:
            rejected.append(RejectedPrompt(record.line, str(error)))
    prompts = [record.prompt for record in fit]
    batch_size = recipe.generation.batch_size
    with ProgressReporter("answers", quiet=quiet, total=len(fit)) as progress:
        for at, output in decoder.generate_iter(prompts, batch_size=batch_size, **arguments):
            record = fit[at]
            head = {"index": record.index, "digest": record.digest, "id": record.id}
            answers.append({**head, "prompt": record.prompt, **answer_json(output)})
            progress.advance()
    return rejected


def _claim(recipe: Recipe, out: Path) -> None:
    """Saves the recipe beside the answers, unless they were begun with another one."""
    path = out.with_suffix(".recipe.yaml")
    if out.exists() and path.exists():
        refuse_changes(
            out,
            _decisive(load_recipe(path)),
            _decisive(recipe),
            "choose another --output, or delete the file to start over",
        )
    write_text(path, recipe.to_yaml())


def _decisive(recipe: Recipe) -> dict[str, Any]:
    """The fields that decide what an answer says; the batch and the device do not."""
    return settings_of(
        recipe.model_dump(mode="json"),
        only=(
            *("model.path", "model.adapter", "model.dtype"),
            *("data.chat_template_kwargs", "generation"),
        ),
        free=("generation.batch_size",),
    )
