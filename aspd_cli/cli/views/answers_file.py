"""`aspd generate --input prompts.jsonl --output answers.jsonl`: many prompts, resumable.

An answer is one appended line, so a run that is killed loses at most the line it was writing. A
line counts as done when the prompt at its index has the digest that the line carries. Of several
processes each writes a file of its own, and the first puts them together.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aspd_cli.cli.views.generate import answer_json, open_decoder, settings
from aspd_cli.core.chat import Prompt, to_messages
from aspd_cli.errors import DataError, ModelError, UsageError
from aspd_cli.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from aspd_cli.evaluate.processes import Processes

NAMES = ("prompt", "messages", "question")
"""Where a record holds its prompt; the first that is there counts."""

SECONDS_BETWEEN_LINES = 10.0
"""How often a run tells its progress where there is no terminal."""


@dataclass(frozen=True, slots=True)
class Record:
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
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Rejected:
    """An input that cannot be answered, and why."""

    line: int
    """Its line number in the input, from 1."""
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return {"line": self.line, "reason": self.reason}


def read_prompts(path: Path) -> tuple[list[Record], list[Rejected]]:
    """The records of a JSONL file, and the lines that hold none.

    Raises:
        DataError: the file cannot be read at all.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"cannot read the prompts in {path}: {error.strerror}") from error
    records: list[Record] = []
    rejected: list[Rejected] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            prompt = _prompt(value)
        except json.JSONDecodeError as error:
            rejected.append(Rejected(number, f"not JSON: {error}"))
        except UnicodeError:
            rejected.append(Rejected(number, "not UTF-8"))
        except (ValueError, RecursionError, DataError) as error:
            rejected.append(Rejected(number, str(error)))
        else:
            index = len(records) + len(rejected)
            category = str(value.get("category") or "")
            records.append(Record(index, number, value.get("id"), prompt, category))
    return records, rejected


def _prompt(value: Any) -> Prompt:
    """The prompt of a record; `ValueError` or `DataError` say what is wrong with it."""
    if not isinstance(value, dict):
        raise ValueError('a record is a JSON object, like {"prompt": "..."}')
    name = next((name for name in NAMES if name in value), None)
    if name is None:
        raise ValueError(f"no `prompt`, `messages` or `question`, only {', '.join(value)}")
    prompt = value[name]
    if not isinstance(prompt, str | list):
        raise ValueError(f"`{name}` is neither a string nor a list of messages")
    # Training data end with the answer that is asked for here.
    while name == "messages" and isinstance(prompt, list) and _is_answer(prompt[-1:]):
        prompt = prompt[:-1]
    to_messages(prompt)
    checked: Prompt = prompt
    return checked


def _is_answer(messages: list[Any]) -> bool:
    return any(isinstance(m, dict) and m.get("role") == "assistant" for m in messages)


class Answers:
    """The answers file: appended to while a run goes on, put into input order at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[int, dict[str, Any]] = {}
        """Answers of the file by index."""

    def load(self, records: list[Record]) -> None:
        """Takes over what an earlier run has answered; drops a torn last line and stale answers.

        Raises:
            DataError: the file holds something else than answers.
        """
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise DataError(f"cannot read {self.path}: {error.strerror}") from error
        whole, newline, torn = data.rpartition(b"\n")
        digests = {record.index: record.digest for record in records}
        for number, line in enumerate(whole.split(b"\n") if newline else [], start=1):
            try:
                answer = json.loads(line)
                index, digest = answer["index"], answer["digest"]
            except (ValueError, TypeError, KeyError):
                raise DataError(
                    f"{self.path}:{number} is not an answer of `aspd generate`: "
                    "remove the file or choose another --output"
                ) from None
            if digests.get(index) == digest:
                self.done[index] = answer
        if torn:
            os.truncate(self.path, len(data) - len(torn))

    def append(self, answer: dict[str, Any]) -> None:
        """Adds one finished answer to the file."""
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(json.dumps(answer, ensure_ascii=False) + "\n")
        self.done[answer["index"]] = answer

    def sort(self) -> None:
        """Puts the file into input order, at once or not at all."""
        write_lines(self.path, [self.done[index] for index in sorted(self.done)])


def write_lines(path: Path, values: list[dict[str, Any]]) -> None:
    """Writes a whole JSONL file, at once or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
    os.replace(temporary, path)


def part_of(out: Path, process: int) -> Path:
    """Where a process writes; the first one writes the answers file itself."""
    return out if process == 0 else out.with_name(f"{out.name}.part{process}")


def collect(answers: Answers, records: list[Record]) -> None:
    """Takes over what other processes have written, in this run or in one that was killed."""
    out = answers.path
    for path in sorted(out.parent.glob(f"{out.name}.part*")):
        found = Answers(path)
        found.load(records)
        for answer in found.done.values():
            answers.append(answer)
        path.unlink()


def share(records: Sequence[Record], process: int, processes: int) -> list[Record]:
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
            print(f"stopped with {left} to go; the same command goes on", file=sys.stderr)
        raise
    if not processes.is_first:
        return 3 if rejected else 0
    collect(answers, records)
    answers.sort()
    rejects = out.with_suffix(".rejected.jsonl")
    rejects.unlink(missing_ok=True)
    if rejected:
        write_lines(rejects, [r.as_dict() for r in sorted(rejected, key=lambda r: r.line)])
    if not quiet:
        parts = [f"{len(answers.done)} answers in {out}"]
        parts += [f"{found} of them from an earlier run"] if found else []
        parts += [f"{len(rejected)} records refused, see {rejects}"] if rejected else []
        print(", ".join(parts), file=sys.stderr)
    return 3 if rejected else 0


def _decode(
    recipe: Recipe, owed: list[Record], answers: Answers, processes: "Processes", *, quiet: bool
) -> list[Rejected]:
    """Decodes the records that are owed; returns those whose prompt the model cannot take."""
    from aspd_cli.engine.options import GenerationOptions

    device = processes.device(recipe.model.device)
    decoder, arguments = open_decoder(recipe, quiet=quiet, device=device), settings(recipe)
    options = GenerationOptions(**arguments)
    decoder.encode("?", options)  # what fails here would fail for every record
    fit: list[Record] = []
    rejected: list[Rejected] = []
    for record in owed:
        try:
            decoder.encode(record.prompt, options)
            fit.append(record)
        except (DataError, ModelError) as error:
            rejected.append(Rejected(record.line, str(error)))
    prompts = [record.prompt for record in fit]
    batch_size = recipe.generation.batch_size
    with _progress(len(fit), quiet=quiet) as advance:
        for at, output in decoder.generate_iter(prompts, batch_size=batch_size, **arguments):
            record = fit[at]
            head = {"index": record.index, "digest": record.digest, "id": record.id}
            answers.append({**head, "prompt": record.prompt, **answer_json(output)})
            advance()
    return rejected


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, a line now and then elsewhere; the function counts one more."""
    console = Console(stderr=True)
    if console.is_terminal and not quiet:
        columns = (TextColumn("answered"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda: bar.advance(task)
        return
    done, told = 0, time.monotonic()

    def advance() -> None:
        nonlocal done, told
        done += 1
        if not quiet and time.monotonic() - told >= SECONDS_BETWEEN_LINES:
            print(f"answered {done} of {total}", file=sys.stderr, flush=True)
            told = time.monotonic()

    yield advance


def _claim(recipe: Recipe, out: Path) -> None:
    """Saves the recipe beside the answers, unless they were begun with another one."""
    path = out.with_suffix(".recipe.yaml")
    if out.exists() and path.exists():
        before, now = _decisive(load_recipe(path)), _decisive(recipe)
        if changed := [name for name in now if now[name] != before[name]]:
            raise UsageError(
                f"{out} holds answers made with another {' and '.join(changed)}; "
                "choose another --output, or remove it to begin again"
            )
    path.write_text(recipe.to_yaml(), encoding="utf-8")


def _decisive(recipe: Recipe) -> dict[str, Any]:
    """The fields that decide what an answer says; the batch and the device do not."""
    model = recipe.model.model_dump(include={"path", "adapter", "dtype"})
    generation = recipe.generation.model_dump(exclude={"batch_size"})
    return {f"model.{k}": v for k, v in model.items()} | {
        f"generation.{k}": v for k, v in generation.items()
    }
