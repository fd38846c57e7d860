"""Prompts from a JSONL file, and answers in one: what makes a long run resumable.

An answer is one appended line, so a run that is killed loses at most the line it was writing. A
line counts as done when the prompt at its index has the digest that the line carries.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aspd_cli.core.chat import Prompt, to_messages
from aspd_cli.errors import DataError

NAMES = ("prompt", "messages", "question")
"""Where a record holds its prompt; the first that is there counts."""


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
