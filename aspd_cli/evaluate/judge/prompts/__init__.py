"""What a judge is asked about answers, and what its replies mean.

The instructions are the text files beside this one, each with its version in its name: a change of
words is a new version, and grades of different versions are never mixed.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any, Literal

from aspd_cli.endpoint.messages import read_json
from aspd_cli.errors import ReplyError
from aspd_cli.evaluate.judge.questions import Question
from aspd_cli.files import content_digest

VERSION = "v1"
"""Of the text files that are in use."""

LOWEST, HIGHEST = 1, 10
"""Bounds of a grade."""

Winner = Literal["A", "B", "tie"]

SCORE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "score": {"type": "integer"}},
    "required": ["reason", "score"],
    "additionalProperties": False,
}
WINNER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "winner": {"type": "string", "enum": ["A", "B", "tie"]},
    },
    "required": ["reason", "winner"],
    "additionalProperties": False,
}

_SCORE = re.compile(r"(?i)\bscore\W{0,6}(-?\d+(?:\.\d+)?)|\[\[(-?\d+(?:\.\d+)?)\]\]")
_WINNER = re.compile(r"(?i)\bwinner\W{0,6}(A|B|tie)\b|\[\[(A|B|tie)\]\]")


def grading(question: Question, answers: Sequence[str]) -> tuple[dict[str, str], ...]:
    """Messages that ask for a grade of the last of `answers`, one for each turn so far."""
    return _messages("single", question, {"conversation": answers})


def comparison(
    question: Question, first: Sequence[str], second: Sequence[str]
) -> tuple[dict[str, str], ...]:
    """Messages that ask which of two conversations ends better; `first` is shown as A."""
    return _messages("pair", question, {"assistant A": first, "assistant B": second})


def read_score(reply: str) -> float:
    """The grade that a reply gives.

    Raises:
        ReplyError: it gives none, or one out of bounds.
    """
    value = _field(reply, "score", _SCORE)
    try:
        score = float(value)
    except (TypeError, ValueError):
        raise ReplyError(f"the score {value!r} is not a number") from None
    if isinstance(value, bool) or not LOWEST <= score <= HIGHEST:
        raise ReplyError(f"the score {value!r} is not between {LOWEST} and {HIGHEST}")
    return score


def read_winner(reply: str) -> Winner:
    """Whom a reply prefers.

    Raises:
        ReplyError: it does not say.
    """
    value = str(_field(reply, "winner", _WINNER)).strip()
    winners: dict[str, Winner] = {"a": "A", "b": "B", "tie": "tie"}
    if value.lower() not in winners:
        raise ReplyError(f"the winner {value!r} is not A, B or tie")
    return winners[value.lower()]


def _field(reply: str, name: str, pattern: re.Pattern[str]) -> Any:
    """A field of the reply's JSON object or, without one, the one thing that a pattern finds."""
    try:
        value = read_json(reply)
    except ReplyError:
        value = None
    if isinstance(value, dict) and name in value:
        return value[name]
    found = {one or other for one, other in pattern.findall(reply)}
    if len(found) != 1:
        raise ReplyError(f"the reply names {f'{len(found)} {name}s' if found else f'no {name}'}")
    return found.pop()


def _messages(
    kind: str, question: Question, conversations: dict[str, Sequence[str]]
) -> tuple[dict[str, str], ...]:
    turns = len(next(iter(conversations.values())))
    # What is judged cannot foresee this mark, so it cannot close a tag.
    known = [*question.turns, *question.contexts, *chain(*conversations.values())]
    mark = content_digest(*known, size=4).hex()
    parts, rules = [], [_prompt(kind)]
    if question.contexts:
        rules.append(_prompt("passages"))
        parts += [_tagged("passage", text, mark) for text in question.contexts]
    if any(question.reference(turn) for turn in range(turns)):
        rules.append(_prompt("reference"))
    if turns > 1:
        rules.append(_prompt("later_turn"))
    for turn in range(turns):
        if turns > 1:
            parts.append(f"Turn {turn + 1} of {turns}")
        parts.append(_tagged("question", question.turns[turn], mark))
        if reference := question.reference(turn):
            parts.append(_tagged("reference", reference, mark))
        for name, answers in conversations.items():
            who = "answer" if len(conversations) == 1 else f"answer of {name}"
            parts.append(_tagged(who, answers[turn], mark))
    return (
        {"role": "system", "content": "\n\n".join(rules)},
        {"role": "user", "content": "\n\n".join(parts)},
    )


def _tagged(name: str, text: str, mark: str) -> str:
    return f"<{name} {mark}>\n{text}\n</{name} {mark}>"


@cache
def _prompt(name: str) -> str:
    path = files("aspd_cli") / "evaluate" / "judge" / "prompts" / f"{name}.{VERSION}.txt"
    return path.read_text(encoding="utf-8").strip()
