"""The errors a user can meet: one class per boundary, one sentence per error.

Domain code raises them; `aspd_cli.cli` renders them and maps them to exit codes.
"""

from collections.abc import Sequence
from typing import Any


class AspdError(Exception):
    """Base of all expected failures. The message says what is wrong, where, and what to do."""

    exit_code = 1


class UsageError(AspdError):
    """The command line asks for something that does not exist or does not go together."""

    exit_code = 2


class RecipeError(AspdError):
    """A recipe, or a `--set` on top of it, is not valid."""

    exit_code = 2


class MarkupError(AspdError):
    """Markup leaves the grammar. `offset` is the character at which it does."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(f"markup is not well formed at character {offset}: {reason}")
        self.reason = reason
        self.offset = offset


class DataError(AspdError):
    """An input or output file cannot be read, understood or written."""


class ModelError(AspdError):
    """A model, tokenizer or adapter cannot be loaded or cannot decode as asked."""


class EndpointError(AspdError):
    """An endpoint cannot be used: no key, no connection, no such model, or all retries spent."""


class BudgetError(EndpointError):
    """The next call would cost more than the budget leaves. What was paid for is in the journal."""


class ReplyError(AspdError):
    """One call got no valid reply. `valid` holds the parsed replies that were."""

    def __init__(self, reason: str, valid: Sequence[Any] = ()) -> None:
        super().__init__(reason)
        self.valid = tuple(valid)


class TrainingError(AspdError):
    """A training run cannot go on. What it has saved so far is left as it is."""


_CRASHES = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError)
"""What a library raises where it did not expect what it met, as in a damaged file."""


def reason(error: Exception) -> str:
    """What a library says went wrong, as part of a sentence: its first line that says something.

    Where it has not judged but crashed, its words alone say nothing, as those of `KeyError` do.
    """
    lines = iter(line.strip() for line in str(error).splitlines() if line.strip())
    said = next(lines, "")
    if said.endswith(":"):
        said = f"{said} {next(lines, '')}"
    if isinstance(error, _CRASHES):
        name = type(error).__name__
        return f"the library that reads it fails with {name}{f': {said}' if said else ''}"
    return said or type(error).__name__
