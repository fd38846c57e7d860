"""The grammar as an automaton: which tokens a lane may sample next.

Each state of the automaton is a `Choice`: the few tokens that are banned, or the few that are
allowed. Few distinct ones exist, so the sampler turns each into a row of biases once.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from aspd_cli.core.codec import ControlIds


class Stage(Enum):
    """Where in the grammar a lane stands."""

    TEXT = "text"
    TITLE = "title"
    """Inside `<|title|> ... <|/title|>`."""
    BETWEEN = "between"
    """After `<|/title|>`: another title, or `<|para|>`."""


class Choice(NamedTuple):
    """What may be sampled: `only` these ids, or, when `only` is empty, all but `banned`."""

    banned: tuple[int, ...] = ()
    only: tuple[int, ...] = ()

    def allows(self, token: int) -> bool:
        return token in self.only if self.only else token not in self.banned


@dataclass(frozen=True, slots=True)
class Grammar:
    """The automaton of one tokenizer and one set of limits."""

    control: ControlIds | None
    """None: the tokenizer has no control tokens, only plain decoding is possible."""
    ends: tuple[int, ...]
    """Ids that end the answer."""
    specials: tuple[int, ...]
    """Ids that stand for no text; a title must not consist of them."""
    max_depth: int = 1
    """How deep blocks may nest; 0 is plain decoding: control tokens are never sampled."""
    max_branches: int = 16
    max_title_tokens: int = 32

    def text(self, depth: int, *, may_fork: bool) -> Choice:
        """In text, `depth` blocks deep (0 is the main lane)."""
        if self.control is None:
            return Choice()
        control = self.control
        banned = [control.branch, control.title_end, control.para, control.para_end]
        banned += [*self.ends] if depth else [control.branch_end]
        if depth >= self.max_depth or not may_fork:
            banned.append(control.title)
        return Choice(banned=tuple(banned))

    def title(self, length: int) -> Choice:
        """Inside a title of `length` tokens so far."""
        assert self.control is not None
        if length >= self.max_title_tokens:
            return Choice(only=(self.control.title_end,))
        banned = {*self.control, *self.ends, *self.specials}
        if length:
            banned.discard(self.control.title_end)
        return Choice(banned=tuple(sorted(banned)))

    def between(self, titles: int, *, repeated: bool) -> Choice:
        """After `titles` titles. `repeated`: the last one said again what an earlier one says."""
        assert self.control is not None
        full = repeated or titles >= self.max_branches
        allowed = [] if full else [self.control.title]
        if full or titles >= 2:
            allowed.append(self.control.para)
        return Choice(only=tuple(allowed))
