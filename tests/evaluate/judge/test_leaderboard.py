"""Verdicts over real HTTP: what they add up to, and what faults and silence of the judge cost."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.endpoint.client import Endpoint
from aspd_cli.endpoint.journal import Journal
from aspd_cli.errors import BudgetError
from aspd_cli.evaluate.judge.leaderboard import Standing, standings
from aspd_cli.evaluate.judge.pairwise import Verdicts, judge
from aspd_cli.evaluate.judge.questions import Question
from aspd_cli.recipe.endpoint import EndpointSection
from tests.endpoint_server import Fault, Reply, Server, faulty, serve

QUESTIONS = [
    Question("1", "math", ("1+1?", "and 2+2?"), ("2", "4")),
    Question("2", "math", ("3+3?",)),
    Question("3", "writing", ("A poem?",)),
]
ANSWERS = {
    "parallel": {"1": ["good", "good too"], "2": ["good"], "3": ["bad"]},
    "seq": {"1": ["bad", "bad"], "2": ["good"], "3": ["bad indeed"]},
}


def is_duel(body: dict[str, Any]) -> bool:
    return "compare the answers" in body["messages"][0]["content"]


def last_answers(body: dict[str, Any]) -> list[str]:
    """The answers of the last turn, in the order in which the judge sees them."""
    text = body["messages"][1]["content"]
    answers = [part.partition(">\n")[2].partition("\n<")[0] for part in text.split("<answer")[1:]]
    return answers[-2:] if is_duel(body) else answers[-1:]


def fair(body: dict[str, Any]) -> Reply:
    """Good answers get 8, others 3; a good one wins against one that is not."""
    good = ["good" in answer for answer in last_answers(body)]
    if not is_duel(body):
        return json.dumps({"reason": "-", "score": 8 if good[0] else 3})
    winner = "tie" if good[0] == good[1] else "A" if good[0] else "B"
    return json.dumps({"reason": "-", "winner": winner})


def ask(server: Server, journal: Path, *, samples: int = 1, **section: Any) -> Verdicts:
    settings: dict[str, Any] = {"timeout": 5.0, "max_retries": 20, "concurrency": 16} | section

    async def run() -> Verdicts:
        endpoint = EndpointSection(model="m", base_url=server.url, **settings)
        with Journal(journal, {}) as opened:
            async with Endpoint(endpoint, opened) as opened_endpoint:
                return await judge(
                    opened_endpoint, QUESTIONS, ANSWERS, samples=samples, baseline="seq"
                )

    return asyncio.run(run())


def standing(verdicts: Verdicts, system: str, category: str = "all") -> Standing:
    table = standings(verdicts, list(ANSWERS))
    return next(s for s in table if (s.system, s.category) == (system, category))


def test_grades_and_duels_add_up_by_system_category_and_turn(tmp_path: Path) -> None:
    with serve(fair) as server:
        verdicts = ask(server, tmp_path / "j", samples=2)
    ours = standing(verdicts, "parallel")
    assert ours.score[0] == pytest.approx((8 + 8 + 3) / 3), "questions weigh the same"
    assert ours.score[1] < ours.score[0] < ours.score[2]
    assert ours.turns == (pytest.approx(19 / 3), 8)
    assert (ours.won, ours.tied, ours.lost, ours.missing) == (4, 4, 0, 0)
    assert ours.win_rate[0] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert standing(verdicts, "parallel", "math").score[0] == 8
    assert standing(verdicts, "seq", "writing").score[0] == 3
    assert standing(verdicts, "seq").won == 0, "the baseline has no duels"


@pytest.mark.parametrize("always", ["A", "B"])
def test_a_judge_that_goes_by_the_order_decides_nothing(tmp_path: Path, always: str) -> None:
    def biased(body: dict[str, Any]) -> Reply:
        return json.dumps({"winner": always}) if is_duel(body) else fair(body)

    with serve(biased) as server:
        ours = standing(ask(server, tmp_path / "j"), "parallel")
    assert (ours.won, ours.tied, ours.lost) == (0, 4, 0)
    assert ours.swayed == 3, "the fourth pair of answers is the same text"


def test_equal_answers_are_a_tie_and_graded_once(tmp_path: Path) -> None:
    with serve(fair) as server:
        verdicts = ask(server, tmp_path / "j")
        asked = Counter(json.dumps(body["messages"]) for body in server.requests)
    assert set(asked.values()) == {1}
    assert sum(is_duel(body) for body in server.requests) == 2 * 3
    assert [duel.question for duel in verdicts.duels if duel.same] == ["2"]


def test_faults_of_the_endpoint_change_no_number(tmp_path: Path) -> None:
    kinds = ("rate-limit", "error", "html", "malformed", "no-choices", "empty", "drop", "fewer")
    with serve(fair) as server:
        clean = ask(server, tmp_path / "clean", samples=2)
    with serve(faulty(fair, 0.25, seed=3, kinds=kinds)) as server:
        assert ask(server, tmp_path / "faulty", samples=2) == clean


def test_malformed_verdicts_are_asked_again(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()

    def stutters(body: dict[str, Any]) -> Reply:
        key = json.dumps(body["messages"])
        seen[key] += 1
        return '{"score": 99, "winner": "both"}' if seen[key] == 1 else fair(body)

    with serve(fair) as server:
        clean = ask(server, tmp_path / "clean")
    with serve(stutters) as server:
        assert ask(server, tmp_path / "j") == clean
    assert set(seen.values()) == {2}


@pytest.mark.parametrize(
    "silence", [lambda: "I would rather not say.", lambda: Fault("empty"), lambda: "score: 12"]
)
def test_a_judge_without_a_verdict_is_asked_so_often_and_then_counted(
    tmp_path: Path, silence: Callable[[], Reply]
) -> None:
    def script(body: dict[str, Any]) -> Reply:
        return silence() if "A poem?" in body["messages"][1]["content"] else fair(body)

    with serve(script) as server:
        verdicts = ask(server, tmp_path / "j", max_retries=2)
        requests = Counter(json.dumps(body["messages"]) for body in server.requests)
        assert max(requests.values()) <= 12, "a bounded number of times"
        paid = len(server.requests)
        assert ask(server, tmp_path / "j", max_retries=2) == verdicts
        again = len(server.requests) - paid
    ours = standing(verdicts, "parallel")
    assert ours.missing == 2, "a grade, and the pair of a duel"
    assert ours.score[0] == 8, "what is missing counts neither for nor against"
    assert again <= 4 * 12, "only what has no verdict may be asked again"


def test_a_spent_budget_stops_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    with serve(fair) as server:
        whole = ask(server, tmp_path / "whole")
        complete = len(server.requests)
        server.exchanges.clear()
        with pytest.raises(BudgetError):
            ask(server, tmp_path / "j", budget_tokens=3000, concurrency=1, max_tokens=200)
        first = len(server.requests)
        assert 0 < first < complete
        assert ask(server, tmp_path / "j", max_tokens=200) == whole
        assert len(server.requests) == complete, "nothing is paid for twice"
