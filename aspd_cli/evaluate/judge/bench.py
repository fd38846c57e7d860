"""Judged benches: questions out, answers in, verdicts by an endpoint, numbers with intervals."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aspd_cli.endpoint.client import Endpoint
from aspd_cli.endpoint.journal import Journal
from aspd_cli.endpoint.usage import Tally
from aspd_cli.errors import UsageError
from aspd_cli.evaluate.figures import Score
from aspd_cli.evaluate.judge.answers import KeptAnswers, answer_questions
from aspd_cli.evaluate.judge.leaderboard import Standing, standings
from aspd_cli.evaluate.judge.pairwise import Verdicts, judge
from aspd_cli.evaluate.judge.prompts import VERSION
from aspd_cli.evaluate.judge.questions import BENCHES, Question, load_questions
from aspd_cli.evaluate.processes import Processes
from aspd_cli.evaluate.results import EvalAnswer
from aspd_cli.evaluate.systems import Runner

if TYPE_CHECKING:
    from aspd_cli.engine.options import GenerationOptions
    from aspd_cli.recipe.sections import EvaluationSection

GRADE, WIN_RATE = "score", "win_rate"
"""Metrics of the judged benches."""

JOURNAL = "judge.journal.sqlite"


@dataclass(slots=True)
class Judged:
    """What the judged benches of a run brought."""

    answers: list[EvalAnswer] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    benches: dict[str, Any] = field(default_factory=dict)
    """Bench -> judge, prompts, samples, baseline, questions, missing, systems (the standing
    of each in each category), and what was spent on all benches together."""
    notes: list[str] = field(default_factory=list)


def prepare(evaluation: "EvaluationSection", rejected: list[str]) -> dict[str, list[Question]]:
    """The questions of the judged benches among the tasks: what is missing is told at once.

    Args:
        rejected: gets one sentence for each line of a file that is left out.

    Raises:
        UsageError: there is no judge, or no place for its journal.
        DataError: questions cannot be reached or read.
    """
    names = [task for task in evaluation.tasks if task in BENCHES]
    if not names:
        return {}
    if evaluation.judge is None:
        raise UsageError(
            f"{names[0]} needs a judge: give its model with --judge MODEL, and its endpoint with "
            "--judge-url unless it is the OpenAI API"
        )
    if evaluation.output_path is None:
        raise UsageError(
            f"{names[0]} needs --output DIR: verdicts are kept there, so that none is paid for "
            "twice"
        )
    limit = None if evaluation.limit is None or evaluation.limit < 1 else int(evaluation.limit)
    return {
        name: _share(
            load_questions(name, evaluation.data, limit=limit, rejected=rejected), evaluation.limit
        )
        for name in names
    }


def _share(questions: list[Question], limit: float | None) -> list[Question]:
    """So large a share of the questions, evenly spaced; all of them unless it is below 1."""
    if limit is None or limit >= 1:
        return questions
    number = max(1, round(limit * len(questions)))
    return [questions[at * len(questions) // number] for at in range(number)]


def run_benches(
    benches: dict[str, list[Question]],
    runners: Sequence[Runner],
    baseline: str,
    options: "GenerationOptions",
    evaluation: "EvaluationSection",
    processes: Processes,
    *,
    expect: Callable[[int], None] = lambda _: None,
    advance: Callable[[int], None] = lambda _: None,
) -> Judged:
    """Answers and judges every bench; on all processes but the first, only answers.

    Raises:
        ModelError: a question does not fit a model's context.
        EndpointError: the judge cannot be used. What was paid for is in the journal.
        BudgetError: the budget is spent; the same command with a larger one goes on.
    """
    assert evaluation.output_path is not None
    folder = Path(evaluation.output_path)
    folder.mkdir(parents=True, exist_ok=True)
    turns = sum(len(q.turns) for questions in benches.values() for q in questions)
    expect(turns * len(runners) * evaluation.repeats // processes.number)
    judged = Judged()
    by_bench: dict[str, list[EvalAnswer]] = {}
    for bench, questions in benches.items():
        suffix = f".{processes.index}" if processes.number > 1 else ""
        kept = KeptAnswers(folder / f"{bench}.answers{suffix}.jsonl")
        mine = processes.share(questions)
        found = answer_questions(
            runners,
            bench,
            mine,
            options,
            kept,
            concurrency=min(evaluation.concurrency),
            repeats=evaluation.repeats,
            advance=advance,
        )
        by_bench[bench] = processes.gather(list(found) if mine else [])
        kept.close()
    if not processes.is_first:
        judged.answers = [answer for answers in by_bench.values() for answer in answers]
        return judged
    names = [runner.system.name for runner in runners]
    rival = baseline if len(names) > 1 and evaluation.judge_mode != "single" else None
    if rival is None and evaluation.judge_mode == "pairwise":
        judged.notes.append("judge_mode pairwise compares two systems; the only one was graded")
    asyncio.run(_judge_all(benches, by_bench, rival, evaluation, folder, judged, expect, advance))
    return judged


async def _judge_all(
    benches: dict[str, list[Question]],
    answers: dict[str, list[EvalAnswer]],
    baseline: str | None,
    evaluation: "EvaluationSection",
    folder: Path,
    judged: Judged,
    expect: Callable[[int], None],
    advance: Callable[[int], None],
) -> None:
    assert evaluation.judge is not None
    single = evaluation.judge_mode != "pairwise" or baseline is None
    settings = {"evaluation.judge.model": evaluation.judge.model, "judge prompts": VERSION}
    with Journal(folder / JOURNAL, settings) as journal:
        async with Endpoint(evaluation.judge, journal) as endpoint:
            for bench, questions in benches.items():
                mine = answers[bench]
                duels = sum(a.system != baseline for a in mine) if baseline else 0
                expect(len(mine) * single + duels)
                verdicts = await judge(
                    endpoint,
                    questions,
                    _conversations(mine),
                    samples=evaluation.judge_samples,
                    baseline=baseline,
                    single=single,
                    advance=lambda: advance(1),
                )
                _add(judged, bench, questions, mine, verdicts, evaluation, baseline)
            spent = _spent(endpoint.tally)
    judged.notes.append(_bill(endpoint.tally))
    for found in judged.benches.values():
        found["spent"] = spent


def _add(
    judged: Judged,
    bench: str,
    questions: Sequence[Question],
    answers: Sequence[EvalAnswer],
    verdicts: Verdicts,
    evaluation: "EvaluationSection",
    baseline: str | None,
) -> None:
    """Puts what one bench brought to the rest."""
    assert evaluation.judge is not None
    graded = {(g.system, f"{g.question}/{g.turn}"): g.scores for g in verdicts.grades}
    for answer in answers:
        scores = graded.get((answer.system, answer.doc_id), ())
        mean = {GRADE: sum(scores) / len(scores)} if scores else {}
        judged.answers.append(replace(answer, scores=mean))
    table = standings(verdicts, list(dict.fromkeys(a.system for a in answers)))
    judged.scores += [score for each in table for score in _scores(bench, each)]
    systems: dict[str, dict[str, Any]] = {}
    for each in table:
        systems.setdefault(each.system, {})[each.category] = each.as_dict()
    judged.benches[bench] = {
        "judge": evaluation.judge.model,
        "prompts": VERSION,
        "samples": evaluation.judge_samples,
        "baseline": baseline,
        "questions": len(questions),
        "missing": verdicts.missing,
        "systems": systems,
    }
    if verdicts.missing:
        judged.notes.append(
            f"{bench}: the judge gave no usable verdict in {verdicts.missing} cases, however often "
            "it was asked; they are left out of the means"
        )


def _scores(bench: str, standing: Standing) -> list[Score]:
    found = {GRADE: standing.score, WIN_RATE: standing.win_rate}
    return [
        Score(standing.system, bench, standing.category, metric, standing.questions, value)
        for metric, value in found.items()
        if value[0] == value[0]  # not NaN
    ]


def _conversations(answers: Sequence[EvalAnswer]) -> dict[str, dict[str, list[str]]]:
    """System -> question -> its answers by turn. `answers`: first turns first."""
    found: dict[str, dict[str, list[str]]] = {}
    for answer in sorted(answers, key=lambda each: int(each.doc_id.rpartition("/")[2])):
        question = answer.doc_id.rpartition("/")[0]
        found.setdefault(answer.system, {}).setdefault(question, []).append(answer.text)
    return found


def _spent(tally: Tally) -> dict[str, float | None]:
    total = tally.total
    return {
        "calls": total.calls,
        "tokens": total.tokens,
        "dollars": None if total.dollars is None else round(total.dollars, 4),
        "invalid": total.invalid,
        "replayed": total.replayed,
    }


def _bill(tally: Tally) -> str:
    total = tally.total
    earlier = f"; {total.replayed} verdicts came from its journal" if total.replayed else ""
    paid = f"{total.calls} calls, {total.tokens:,} tokens, {total.price(2)}"
    return f"the judge was paid for {paid}{earlier}"
