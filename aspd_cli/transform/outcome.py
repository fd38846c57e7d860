"""What became of one answer, whichever back end decided it."""

from dataclasses import dataclass
from typing import Any

from aspd_cli.core.markup import Document
from aspd_cli.core.metrics import Structure
from aspd_cli.core.tokens import Codec
from aspd_cli.recipe_sections import TransformSection
from aspd_cli.transform.records import Record


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one answer."""

    document: Document
    structure: Structure
    stage: str
    """The last stage that the answer came to; "parallel" when it passed all."""
    reason: str | None = None
    """Why it stays serial."""
    votes: dict[str, Any] | None = None
    """How the judge voted; None where none was asked."""
    failed: bool = False
    """It stays serial because the endpoint failed: another run may do better."""


def serial(record: Record, codec: Codec) -> Structure:
    """The structure of an answer without blocks."""
    tokens = len(codec.encode(record.example.answer))
    return Structure(tokens=tokens, useful_tokens=tokens)


def outside_limits(structure: Structure, transform: TransformSection) -> str | None:
    """Why an answer is too short or too long to look at; None when it is neither."""
    if structure.tokens < transform.min_tokens:
        return f"fewer than {transform.min_tokens} tokens"
    if structure.tokens > transform.max_tokens:
        return f"more than {transform.max_tokens} tokens"
    return None


def question_of(record: Record) -> str:
    """What the answer replies to: all turns before it."""
    return "\n".join(turn["content"] for turn in record.example.prompt)
