"""Answers before a judge: grades of single answers, and duels against a baseline in both orders."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aspd_cli.endpoint.client import Call, Endpoint
from aspd_cli.errors import ReplyError
from aspd_cli.evaluate.judge.prompts import (
    SCORE_SCHEMA,
    WINNER_SCHEMA,
    Winner,
    comparison,
    grading,
    read_score,
    read_winner,
)
from aspd_cli.evaluate.judge.questions import Question

T = TypeVar("T")

Conversations = Mapping[str, Mapping[str, Sequence[str]]]
"""System -> id of a question -> its answers, one for each turn."""


@dataclass(frozen=True, slots=True)
class Grade:
    """The verdicts on one system's answer to one turn."""

    system: str
    question: str
    category: str
    turn: int
    """From 1."""
    scores: tuple[float, ...]
    missing: int
    """Verdicts that the judge did not give, however often it was asked."""


@dataclass(frozen=True, slots=True)
class Duel:
    """The verdicts on one system's answer against the baseline's."""

    system: str
    question: str
    category: str
    turn: int
    """From 1."""
    results: tuple[float, ...]
    """1 won, 0 lost, 0.5 a tie: one for each pair of verdicts, the second with swapped order."""
    swayed: int
    """Pairs in which the order of the answers changed the verdict: they count as ties."""
    missing: int
    """Pairs in which the judge did not give both verdicts."""
    same: bool = False
    """Whether both answers were the same text: a tie, and nothing was asked."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """All that a judge said about the answers to one bench."""

    grades: tuple[Grade, ...]
    duels: tuple[Duel, ...]

    @property
    def all(self) -> list[Grade | Duel]:
        return [*self.grades, *self.duels]

    @property
    def missing(self) -> int:
        """Verdicts, or pairs of them, that are missing."""
        return sum(each.missing for each in self.all)


async def judge(
    endpoint: Endpoint,
    questions: Sequence[Question],
    conversations: Conversations,
    *,
    samples: int,
    baseline: str | None,
    single: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> Verdicts:
    """Asks for every verdict, as many at a time as the endpoint allows.

    Args:
        samples: verdicts wanted on each answer, and pairs of verdicts on each duel.
        baseline: the system that all others are compared with; None: no duels.
        single: whether answers are graded.
        advance: called after each grade and each duel.

    Raises:
        EndpointError: the endpoint cannot be used. What was paid for is in its journal.
        BudgetError: the budget is spent.
    """
    asker = _Asker(endpoint, samples)
    each = [
        (system, question, answers[question.id][: turn + 1], turn)
        for system, answers in conversations.items()
        for question in questions
        for turn in range(len(question.turns))
    ]
    grades = [asker.grade(*one) for one in each] if single else []
    duels = [
        asker.duel(*one, conversations[baseline][one[1].id][: one[3] + 1])
        for one in each
        if baseline is not None and one[0] != baseline
    ]
    jobs: list[Coroutine[Any, Any, Grade | Duel]] = [*grades, *duels]
    found = await _all(jobs, advance)
    return Verdicts(
        tuple(each for each in found if isinstance(each, Grade)),
        tuple(each for each in found if isinstance(each, Duel)),
    )


async def _all(jobs: Sequence[Awaitable[T]], advance: Callable[[], None] = lambda: None) -> list[T]:
    """The results of all jobs. After a failure no paid call in flight is thrown away."""

    async def one(job: Awaitable[T]) -> T:
        result = await job
        advance()
        return result

    results = await asyncio.gather(*map(one, jobs), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class _Asker:
    """Asks for verdicts. The endpoint's journal answers what was asked before: equal answers of
    two systems are paid for once."""

    endpoint: Endpoint
    samples: int

    async def grade(
        self, system: str, question: Question, answers: Sequence[str], turn: int
    ) -> Grade:
        call = Call("grade", grading(question, answers), self.samples, SCORE_SCHEMA)
        scores = await self._ask(call, read_score)
        return Grade(
            system,
            question.id,
            question.category,
            turn + 1,
            scores=tuple(scores),
            missing=self.samples - len(scores),
        )

    async def duel(
        self,
        system: str,
        question: Question,
        answers: Sequence[str],
        turn: int,
        baseline: Sequence[str],
    ) -> Duel:
        if list(answers) == list(baseline):
            ties = (0.5,) * self.samples
            return Duel(system, question.id, question.category, turn + 1, ties, 0, 0, same=True)
        orders = ((answers, baseline), (baseline, answers))
        calls = [
            Call("compare", comparison(question, *order), self.samples, WINNER_SCHEMA)
            for order in orders
        ]
        ours, theirs = await _all([self._ask(call, read_winner) for call in calls])
        pairs = list(zip(ours, theirs, strict=False))
        return Duel(
            system,
            question.id,
            question.category,
            turn + 1,
            results=tuple(_result(*pair) for pair in pairs),
            swayed=sum(_result(*pair) == 0.5 and pair != ("tie", "tie") for pair in pairs),
            missing=self.samples - len(pairs),
        )

    async def _ask(self, call: Call, check: Callable[[str], T]) -> Sequence[T]:
        """The valid verdicts on a call: fewer than wanted when the judge gave no more."""
        try:
            return await self.endpoint.ask(call, check)
        except ReplyError as error:
            return error.valid


def _result(first: Winner, swapped: Winner) -> float:
    """What a pair of verdicts means for who is A in the first: what the order decides is a tie."""
    if (first, swapped) == ("A", "B"):
        return 1.0
    return 0.0 if (first, swapped) == ("B", "A") else 0.5
