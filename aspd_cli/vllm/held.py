"""Keys and values that the connector keeps for an answer, and how they are made again.

A lane's tokens in document order are an ordinary causal request, but for one thing: branches of
merged blocks have keys and values of their own, made at the positions of the fork. Whatever comes
after such a block must use them in place of a recomputation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


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


def sources(base: tuple[Use, ...], own: Held | None = None) -> tuple[Use, ...] | None:
    """What a request should use that stands on `base`; None: something has to be made first.

    Args:
        own: covers more than `base`, where it is kept.
    """
    if own and own.state is State.KEPT:
        return (whole(own),)
    if all(use.held.state is State.KEPT for use in base):
        return base
    return () if is_causal(base) else None


def whole(held: Held) -> Use:
    return Use(held, 0, len(held.ids))
