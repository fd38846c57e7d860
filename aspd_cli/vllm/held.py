"""Keys and values that the connector keeps for an answer, and how they are made again.

A lane's tokens in document order are an ordinary causal request, but for one thing: branches of
merged blocks have keys and values of their own, made at the positions of the fork. Whatever comes
after such a block must use them in place of a recomputation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from aspd_cli.engine.grammar import Choice


class State(Enum):
    """Whether keys and values are kept."""

    ABSENT = "absent"
    ASKED = "asked"
    """A request that makes them is under way."""
    KEPT = "kept"


@dataclass(eq=False, slots=True)
class Held:
    """Keys and values of a run of tokens from the beginning of a prompt on."""

    name: str
    ids: Sequence[int]
    base: tuple["Use", ...] = ()
    """What must stand for its first tokens when it is made again."""
    state: State = State.ABSENT

    @property
    def is_causal(self) -> bool:
        """Whether a recomputation from its tokens gives the same."""
        return is_causal(self.base)

    def walk(self) -> Iterator["Held"]:
        """This and all that it stands on."""
        seen: set[int] = set()
        open_ones = [self]
        while open_ones:
            held = open_ones.pop()
            if id(held) not in seen:
                seen.add(id(held))
                yield held
                open_ones += [use.held for use in held.base]


class Use(NamedTuple):
    """A stretch of what is held, in place of as many tokens of a prompt."""

    held: Held
    start: int
    length: int

    def as_list(self) -> list[str | int]:
        """As the connector is told."""
        return [self.held.name, self.start, self.length]


def is_causal(base: Sequence[Use]) -> bool:
    """Whether tokens that stand on `base` may as well be recomputed: no block was merged."""
    return all(use.start == 0 and use.held.is_causal for use in base) and len(base) < 2


def whole(held: Held) -> Use:
    return Use(held, 0, len(held.ids))


@dataclass(eq=False, slots=True)
class Track:
    """What stands in vLLM for one lane."""

    context: list[int] = field(default_factory=list)
    """All that the lane sees, in document order: index = position."""
    base: tuple[Use, ...] = ()
    """What must stand for its first tokens."""
    own: Held | None = None
    """What its last request left behind; it covers more than `base`."""
    end: Held | None = None
    """The whole lane, once it is closed."""
    call: str | None = None
    """The request that is under way."""
    tokens: list[int] = field(default_factory=list)
    """Sampled and not yet taken by the answer."""
    choice: Choice | None = None
    """What the request under way may sample at every place; None: anything."""
    is_tight: bool = False
    """Whether vLLM itself must hold the grammar, because the model left it."""
    spent: list[str] = field(default_factory=list)
    """Names of what nobody needs any more once this lane has a newer `own`."""

    @property
    def prompt(self) -> list[int]:
        return self.context + self.tokens

    @property
    def sources(self) -> tuple[Use, ...] | None:
        """What a request of this lane should use; None: something has to be made first."""
        if self.own and self.own.state is State.KEPT:
            return (whole(self.own),)
        if all(use.held.state is State.KEPT for use in self.base):
            return self.base
        return () if is_causal(self.base) else None

    def forget(self) -> None:
        """Drops what was sampled and not taken, and what is kept of it."""
        self.tokens.clear()
        if self.own and len(self.own.ids) > len(self.context):
            self.own.ids = self.own.ids[: len(self.context)]

    def fork(self) -> "Track":
        """The beginning of a branch."""
        kept = self.own if self.own and len(self.own.ids) == len(self.context) - 1 else None
        return Track(list(self.context), (whole(kept),) if kept else self.base)

    def merge(self, branches: Sequence["Track"]) -> None:
        """Goes on after branches that are closed."""
        fork = len(self.context)
        ends = [branch.end for branch in branches if branch.end]
        self.spent += [use.held.name for use in self.base] + ([self.own.name] if self.own else [])
        self.spent += [end.name for end in ends]
        first, *others = ends
        uses = [whole(first)]
        uses += [Use(end, fork, len(end.ids) - fork) for end in others]
        for end in ends:
            self.context += end.ids[fork:]
        self.base, self.own = tuple(uses), None
