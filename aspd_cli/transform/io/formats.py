"""The dialects in which training data come, each turned into a conversation and its last answer.

A dialect is known by the fields that its records must have. Nothing is guessed from contents.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aspd_cli.core.chat import to_messages
from aspd_cli.core.markup import holds_markup
from aspd_cli.errors import DataError
from aspd_cli.safe_text import excerpt

Messages = list[dict[str, str]]

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "system": "system",
    "tool": "tool",
    "function": "tool",
    "function_call": "tool",
    "function_response": "tool",
    "tool_call": "tool",
    "tool_response": "tool",
    "observation": "tool",
}
"""What ShareGPT files call a speaker -> its role."""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One conversation whose last answer is to be transformed."""

    prompt: Messages
    """All turns before the answer; the last one is not the assistant's."""
    answer: str


def detect(values: Iterable[Any]) -> str | None:
    """The dialect of the first record that fits one; None when no record does.

    Raises:
        DataError: that record fits more than one dialect.
    """
    for value in values:
        if not isinstance(value, Mapping):
            continue
        fitting = [
            name
            for name, (fields, _) in DIALECTS.items()
            if all(value.get(field) is not None for field in fields)
        ]
        if len(fitting) > 1:
            raise DataError(
                f"a record with the fields {excerpt(', '.join(map(str, value)))} is ambiguous: "
                f"it fits the formats {' and '.join(fitting)}; choose one with "
                f"--set transform.dialect={fitting[0]}"
            )
        if fitting:
            return fitting[0]
    return None


def read_example(value: Any, dialect: str) -> SourceRecord:
    """The conversation of one record.

    Raises:
        DataError: the record is not of this dialect, or holds no answer; says why.
    """
    if not isinstance(value, Mapping):
        raise DataError("a record must be a JSON object")
    fields, read = DIALECTS[dialect]
    if missing := [field for field in fields if value.get(field) is None]:
        raise DataError(f"no {' and no '.join(f'`{field}`' for field in missing)}")
    turns = _joined(read(value))
    ends = [at for at, turn in enumerate(turns) if turn["role"] == "assistant"]
    if not ends:
        raise DataError("the conversation has no answer from the assistant")
    # What was said after the last answer has no answer to learn from.
    prompt, answer = turns[: ends[-1]], turns[ends[-1]]["content"]
    if not answer.strip():
        raise DataError("the answer is empty")
    if holds_markup(answer):
        raise DataError("the answer contains a control token, which markup cannot represent")
    try:
        answer.encode()
    except UnicodeEncodeError:
        raise DataError("the answer contains half of a surrogate pair") from None
    return SourceRecord(to_messages(prompt), answer)


def _messages(value: Mapping[str, Any]) -> Messages:
    return _turns(value["messages"], "messages")


def _prompt_completion(value: Mapping[str, Any]) -> Messages:
    prompt, completion = value["prompt"], value["completion"]
    before = _user(prompt) if isinstance(prompt, str) else _turns(prompt, "prompt")
    if isinstance(completion, str):
        return [*before, _turn("assistant", completion)]
    return [*before, *_turns(completion, "completion")]


def _alpaca(value: Mapping[str, Any]) -> Messages:
    """The field names of Alpaca, and `system` and `history` as LLaMA-Factory adds them."""
    turns = [_turn("system", value["system"])] if value.get("system") else []
    for pair in _list(value.get("history") or [], "history"):
        question, answer = pair if isinstance(pair, list | tuple) and len(pair) == 2 else (0, 0)
        turns += [_turn("user", question), _turn("assistant", answer)]
    question = _text("user", value["instruction"])
    if value.get("input"):
        question = f"{question}\n{_text('user', value['input'])}"
    return [*turns, _turn("user", question), _turn("assistant", value["output"])]


def _sharegpt(value: Mapping[str, Any]) -> Messages:
    turns = [_turn("system", value["system"])] if value.get("system") else []
    for turn in _list(value["conversations"], "conversations"):
        if not isinstance(turn, Mapping):
            raise DataError("a turn of `conversations` needs a `from` and a `value`")
        who, what = ("from", "value") if "from" in turn else ("role", "content")
        speaker = turn.get(who)
        if not isinstance(speaker, str) or speaker not in ROLES:
            said = excerpt(repr(speaker), 60)
            raise DataError(f"`{who}` is {said}, not one of {', '.join(ROLES)}")
        turns.append(_turn(ROLES[speaker], turn.get(what)))
    return turns


def _question_answer(value: Mapping[str, Any]) -> Messages:
    return [*_user(value["question"]), _turn("assistant", value["answer"])]


DIALECTS: dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any]], Messages]]] = {
    "messages": (("messages",), _messages),
    "prompt-completion": (("prompt", "completion"), _prompt_completion),
    "alpaca": (("instruction", "output"), _alpaca),
    "sharegpt": (("conversations",), _sharegpt),
    "question-answer": (("question", "answer"), _question_answer),
}
"""Name -> the fields that a record must have, and what reads it."""


def _turns(value: Any, field: str) -> Messages:
    turns = []
    for turn in _list(value, field):
        if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
            raise DataError(f"a message of `{field}` needs a `role` and a `content`")
        turns.append(_turn(turn["role"], turn.get("content")))
    return turns


def _user(content: Any) -> Messages:
    return [_turn("user", content)]


def _turn(role: str, content: Any) -> dict[str, str]:
    return {"role": role, "content": _text(role, content)}


def _text(role: str, content: Any) -> str:
    """A content as text: itself, or its parts joined."""
    if isinstance(content, list) and content and all(isinstance(p, Mapping) for p in content):
        texts = [part.get("text") for part in content if part.get("type") == "text"]
        if len(texts) < len(content) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"a part of the content of the {excerpt(role, 40)} turn is not text")
        content = "".join(texts)
    if not isinstance(content, str):
        raise DataError(f"the content of the {excerpt(role, 40)} turn is not a string")
    return content


def _joined(turns: Messages) -> Messages:
    """The turns with those that one speaker has after another as one, a blank line between them.

    Tools are many, so theirs stay apart.
    """
    joined: Messages = []
    for turn in turns:
        if joined and joined[-1]["role"] == turn["role"] != "tool":
            parts = filter(None, (joined[-1]["content"], turn["content"]))
            joined[-1] = {**turn, "content": "\n\n".join(parts)}
        else:
            joined.append(turn)
    return joined


def _list(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise DataError(f"`{field}` is not a list")
    return list(value)
