"""Drafts: what a lane may write next, guessed from what its answer holds already.

A lane feeds guessed tokens behind its sampled one, in the same step, and keeps those that it would
have sampled: the text stays what it is and takes fewer steps. A guess costs nothing to make. It is
what followed the last tokens of the lane when they stood before, in the prompt or in any lane, and
`<|title|>` after `<|/title|>`. How often such guesses are right is counted for each answer, whether
they are fed or not, so that a guess is fed only where it pays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aspd_cli.core.codec import ControlIds

MOST = 7
"""Most drafted tokens in a step; with the sampled one a power of two, as CUDA graphs have them."""

_PRIOR = (0.8, 0.15, 0.4, 0.45, 0.55, 0.6, 0.7)
"""How often guesses are right until they have been counted: of `<|title|>`, then by the tokens that
agree (real answers: `tests.bench.drafts`)."""
_TRIALS = 4
"""Counted guesses that a prior is worth."""
_AGREED = len(_PRIOR) - 1
"""Agreeing tokens from where on more say no more."""

_TOKEN, _FIRST = 0.02, 0.04
"""What one more token costs in a step, and what the first drafted one costs on top, over a step of
one token (CPU, SmolLM2-135M and the embedded model: `tests/bench/NOTES.md`)."""


def price(width: int) -> float:
    """How often a guess must be right to pay in a step of so many tokens.

    A step costs 1 + `_TOKEN` * width. A guess costs `_TOKEN`, and one that is right saves a token's
    share of a step, which is little where many share it.
    """
    return _TOKEN * width / (1 + _TOKEN * width)


@dataclass(slots=True)
class _Trail:
    """The tokens of a lane, and the place before them that they may be repeating."""

    tokens: list[int] = field(default_factory=list)
    source: list[int] = field(default_factory=list)
    at: int = 0
    """Of the guessed next token in the source; its length where there is none."""
    agreed: int = 0
    """Tokens up to here that are those of the source; 0 stands for the grammar's own guess."""


class Drafts:
    """The guesses of one answer.

    Args:
        control: None where the tokenizer has no control tokens.
    """

    def __init__(self, control: ControlIds | None) -> None:
        self._title, self._title_end = (control.title, control.title_end) if control else (-1, -1)
        self._barred = {*control} - {self._title, self._title_end} if control else set()
        self._places: dict[tuple[int, ...], tuple[list[int], int]] = {}
        """One or two tokens -> the lane that wrote them last, and how many tokens it had then."""
        self._right = [_TRIALS * prior for prior in _PRIOR]
        self._counted = [float(_TRIALS)] * len(_PRIOR)
        self._trails: dict[int, _Trail] = {}

    def write(self, lane: int, ids: Sequence[int]) -> None:
        """A lane has fed tokens: the one that it sampled, or several that were forced."""
        trail = self._trails.setdefault(lane, _Trail())
        if len(ids) == 1 and trail.at < len(trail.source):
            self._counted[trail.agreed] += 1
            self._right[trail.agreed] += trail.source[trail.at] == ids[0]
        for token in ids:
            self._append(trail, token)

    def guess(self, lane: int, price: float) -> list[int]:
        """What a lane may write next: as many tokens as come true more often than `price`."""
        trail, guessed = self._trails[lane], list[int]()
        source, at, agreed, chance = trail.source, trail.at, trail.agreed, 1.0
        while len(guessed) < MOST:
            chance *= self._right[agreed] / self._counted[agreed]
            if chance <= (price if guessed else price + _FIRST):
                break
            if at < len(source):
                token = source[at]
            elif guessed and source is trail.tokens:  # it repeats itself
                token = guessed[at - len(source)]
            else:
                break
            if token in self._barred:
                break
            guessed.append(token)
            at, agreed = at + 1, min(agreed + 1, _AGREED)
            if token == self._title_end:
                source, at, agreed = [self._title], 0, 0
        return guessed

    def _append(self, trail: _Trail, token: int) -> None:
        """Adds a token to a lane and finds what the lane may be repeating now."""
        tokens, source, at = trail.tokens, trail.source, trail.at
        tokens.append(token)
        before = [self._places.get(last) for last in (tuple(tokens[-2:]), (token,))]
        self._places[tuple(tokens[-2:])] = self._places[token,] = (tokens, len(tokens))
        if token == self._title_end:
            trail.source, trail.at, trail.agreed = [self._title], 0, 0
        elif at + 1 < len(source) and source[at] == token:
            trail.at, trail.agreed = at + 1, min(trail.agreed + 1, _AGREED)
        else:
            trail.source, trail.at = before[0] or before[1] or ([], 0)
            trail.agreed = _agreeing(tokens, trail.source, trail.at)


def _agreeing(tokens: list[int], source: list[int], at: int) -> int:
    """How many of the last tokens are those before `at` of the source."""
    most = min(_AGREED, at, len(tokens))
    return next((n for n in range(most) if tokens[-n - 1] != source[at - n - 1]), most)
