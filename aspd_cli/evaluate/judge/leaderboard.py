"""From verdicts to numbers: scores and win rates with intervals, in all and by category."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aspd_cli.core.metrics import Interval, bootstrap
from aspd_cli.evaluate.figures import ALL, interval_dict, number
from aspd_cli.evaluate.judge.pairwise import Duel, Grade, Verdicts

NOTHING: Interval = (math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one system did in one category. Intervals draw whole questions."""

    system: str
    category: str
    questions: int
    score: Interval = NOTHING
    """Mean grade from 1 to 10: of a question's verdicts first, then of the questions."""
    turns: tuple[float, ...] = ()
    """Mean grade of the first turn, of the second, ..."""
    win_rate: Interval = NOTHING
    """Won and half of the ties, as a share of the duels with the baseline."""
    won: int = 0
    tied: int = 0
    lost: int = 0
    swayed: int = 0
    """Ties in which the order of the answers had changed the verdict."""
    missing: int = 0
    """Verdicts, or pairs of verdicts, that the judge did not give."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; what is undefined is null."""
        return {
            "questions": self.questions,
            "score": interval_dict(self.score),
            "turns": [number(value) for value in self.turns],
            "win_rate": interval_dict(self.win_rate),
            "won": self.won,
            "tied": self.tied,
            "lost": self.lost,
            "swayed": self.swayed,
            "missing": self.missing,
        }


def standings(verdicts: Verdicts, systems: Sequence[str]) -> list[Standing]:
    """Each system in each category, all categories first; categories as the questions have them."""
    categories = dict.fromkeys([ALL, *(each.category for each in verdicts.all)])
    if len(categories) == 2:
        categories = {ALL: None}
    return [
        _standing(
            system,
            category,
            [g for g in verdicts.grades if g.system == system and category in (ALL, g.category)],
            [d for d in verdicts.duels if d.system == system and category in (ALL, d.category)],
        )
        for category in categories
        for system in systems
    ]


def _standing(
    system: str, category: str, grades: Sequence[Grade], duels: Sequence[Duel]
) -> Standing:
    both: list[Grade | Duel] = [*grades, *duels]
    by_turn: dict[int, list[float]] = defaultdict(list)
    for grade in grades:
        by_turn[grade.turn] += grade.scores
    results = [result for duel in duels for result in duel.results]
    return Standing(
        system,
        category,
        questions=len({each.question for each in both}),
        score=_mean((grade.question, grade.scores) for grade in grades),
        turns=tuple(float(np.mean(s)) if s else math.nan for _, s in sorted(by_turn.items())),
        win_rate=_mean((duel.question, duel.results) for duel in duels),
        won=results.count(1.0),
        tied=results.count(0.5),
        lost=results.count(0.0),
        swayed=sum(duel.swayed for duel in duels),
        missing=sum(each.missing for each in both),
    )


def _mean(values: Iterable[tuple[str, Sequence[float]]]) -> Interval:
    """Mean of the questions' means and its interval; a question without values does not count."""
    by_question: dict[str, list[float]] = defaultdict(list)
    for question, some in values:
        by_question[question] += some
    means = [float(np.mean(some)) for some in by_question.values() if some]
    return bootstrap(means) if means else NOTHING
