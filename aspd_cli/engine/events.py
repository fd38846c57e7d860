"""What happens while an answer is decoded, in the order in which it happens."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from aspd_cli.core.layout import TokenTree
    from aspd_cli.core.markup import Document
    from aspd_cli.core.metrics import AnswerStats

CutBy = Literal["max_new_tokens", "max_branch_tokens", "context"]


@dataclass(frozen=True, slots=True)
class Text:
    """Lane `lane` (0 is the main lane) went on by `text`; whole characters only.

    The texts of a branch's lane add up to its lead and content. Leads are shown at the fork; the
    hidden `T: ` of a block without a form is never shown.
    """

    lane: int
    text: str


@dataclass(frozen=True, slots=True)
class Fork:
    """`lane` forked into `lanes`, one for each of `titles`."""

    lane: int
    block: int
    titles: tuple[str, ...]
    lanes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Close:
    """A branch ended."""

    lane: int


@dataclass(frozen=True, slots=True)
class Merge:
    """All branches of `block` ended; `lane` goes on and sees them."""

    block: int
    lane: int


@dataclass(frozen=True, slots=True)
class Output:
    """A finished answer."""

    text: str
    """What the reader sees."""
    markup: str
    """The document written with control tokens; `parse` takes it."""
    document: "Document"
    finish_reason: str
    """"stop": end of turn or a stop string. "length": a budget closed something."""
    token_ids: list[int]
    """The answer in document order, forced tokens and the end of turn included. As decoded: a stop
    string cuts the text, not these."""
    stats: "AnswerStats"
    tree: "TokenTree" = field(repr=False)
    """The answer as it was decoded, as token ids; `lay_out` gives its layout."""
    cut_by: CutBy | None = None
    """The budget that closed something, where the finish reason is "length"."""


Answer = TypeVar("Answer", covariant=True)


@dataclass(frozen=True, slots=True)
class Done(Generic[Answer]):
    """The answer is complete; `output.text` is final (a stop string may have cut it)."""

    output: Answer


Event = Text | Fork | Close | Merge | Done[Output]
AnyEvent = Text | Fork | Close | Merge | Done[Any]
"""Of our engine, or of a server that tells less of a finished answer."""
