"""A file of prompts: the records of its lines, and the lines that hold none."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aspd_cli.core.chat import Prompt, to_messages
from aspd_cli.errors import DataError
from aspd_cli.files import check_id, content_digest
from aspd_cli.safe_text import excerpt, printable
from aspd_cli.transform.io.readers import values_in

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
    """The records of a file, and the lines that hold none.

    Raises:
        DataError: the file cannot be read at all.
    """
    try:
        with path.open("rb") as file:
            lines = list(values_in(file))
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"cannot read the prompts in {path}: {reason}") from error
    records: list[PromptRecord] = []
    rejected: list[RejectedPrompt] = []
    for raw in lines:
        number, value = raw.line, raw.value
        try:
            if raw.problem:
                raise ValueError(raw.problem)
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
