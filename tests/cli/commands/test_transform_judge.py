"""`aspd transform` with a judge: of its own address, over what rules propose, at temperature 0."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endpoint_server import Server, serve
from tests.transform import answers, model
from tests.transform.program import Cli, cli

__all__ = ["cli"]

TEXTS = [text for text, _ in answers.PARALLEL.values()] + [answers.SERIAL["recipe"]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    rows = ({"instruction": f"q {n}", "output": text} for n, text in enumerate(TEXTS))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    with serve(model.script) as proposer, serve(model.script) as judge:
        yield proposer, judge


def flags(*fields: str) -> list[str]:
    given = ("min_tokens=10", *fields)
    return [part for field in given for part in ("--set", f"transform.{field}")]


def at(name: str, server: Server, *more: str) -> list[str]:
    return [f"{name}.model={name}-m", f"{name}.base_url={server.url}", *more]


PRICES = "endpoint.price_input=1000", "endpoint.price_output=4000"
JUDGE_PRICES = "judge.price_input=100000", "judge.price_output=100000"


def test_a_judge_at_another_endpoint_is_asked_for_verdicts_alone(
    cli: Cli, source: Path, tmp_path: Path, servers: tuple[Server, Server]
) -> None:
    proposer, judge = servers
    out = tmp_path / "out.jsonl"
    given = flags(*at("endpoint", proposer, *PRICES), *at("judge", judge, *JUDGE_PRICES))
    dry = json.loads(cli("transform", source, out, *given, "--dry-run", "--json").stdout)
    result = cli("transform", source, out, *given, "--json")
    assert result.exit_code == 0, result.stderr
    assert "annotate by endpoint-m at" in result.stderr
    assert "votes of judge-m at" in result.stderr
    found = [model.stage_of(body["messages"][0]["content"]) for body in proposer.requests]
    assert set(found) == {"annotate"}
    found = [model.stage_of(body["messages"][0]["content"]) for body in judge.requests]
    assert set(found) == {"independence"}
    stages = {stage["stage"]: stage for stage in json.loads(result.stdout)["stages"]}
    spent = stages["independence"]
    tokens = spent["prompt_tokens"] + spent["completion_tokens"]
    assert spent["dollars"] == pytest.approx(tokens * 0.1)
    assert spent["dollars"] > stages["propose"]["dollars"]
    guessed = {stage["stage"]: stage for stage in dry["stages"]}
    assert spent["dollars"] / 3 < guessed["independence"]["dollars"] < spent["dollars"] * 3
    assert guessed["propose"]["dollars"] < guessed["independence"]["dollars"]

    asked = len(proposer.requests), len(judge.requests)
    assert cli("transform", source, out, *given).exit_code == 0
    assert (len(proposer.requests), len(judge.requests)) == asked, "all from the journal"
    other = cli("transform", source, out, *given, "--set", "transform.judge.model=other")
    assert other.exit_code == 2
    assert "transform.judge.model" in other.stderr


def test_one_budget_counts_for_both_endpoints(
    cli: Cli, source: Path, tmp_path: Path, servers: tuple[Server, Server]
) -> None:
    proposer, judge = servers
    given = flags(*at("endpoint", proposer), *at("judge", judge))
    whole = cli("transform", source, tmp_path / "whole.jsonl", *given, "--json")
    stages = {stage["stage"]: stage for stage in json.loads(whole.stdout)["stages"]}
    tokens = {
        name: stages[name]["prompt_tokens"] + stages[name]["completion_tokens"]
        for name in ("propose", "independence")
    }
    asked = len(judge.requests)
    limit = str(tokens["propose"] + tokens["independence"] // 2)
    stopped = cli("transform", source, tmp_path / "o.jsonl", *given, "--budget-tokens", limit)
    assert stopped.exit_code == 1
    assert "the budget is spent" in stopped.stderr
    assert len(judge.requests) - asked < asked
    enough = str(sum(tokens.values()) * 2)
    result = cli("transform", source, tmp_path / "o.jsonl", *given, "--budget-tokens", enough)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "o.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_rules_propose_and_a_judge_decides_and_its_cost_is_known_before(
    cli: Cli, source: Path, tmp_path: Path, servers: tuple[Server, Server]
) -> None:
    _, judge = servers
    rules = cli("transform", source, tmp_path / "rules.jsonl", *flags(), "--json")
    given, out = flags(*at("judge", judge, *JUDGE_PRICES)), tmp_path / "out.jsonl"
    dry = json.loads(cli("transform", source, out, *given, "--dry-run", "--json").stdout)
    result = cli("transform", source, out, *given, "--json", "--budget", "1e6")
    assert result.exit_code == 0, result.stderr
    assert "rules propose, judge-m at" in result.stderr
    found = json.loads(result.stdout)
    assert found["back_end"] == "rules+judge"
    assert 0 < found["parallel"] <= json.loads(rules.stdout)["parallel"]
    assert dry["total"]["calls"] == len(judge.requests) > 0
    spent = found["stages"][-1]
    assert dry["total"]["dollars"] == pytest.approx(spent["dollars"], rel=0.5)
    named = cli("transform", source, out, *given, "--set", "transform.back_end=rules+judge")
    assert named.exit_code == 0, "what auto means may be said"


def test_temperature_0_is_one_vote_and_says_so_in_one_line(
    cli: Cli, source: Path, tmp_path: Path, servers: tuple[Server, Server]
) -> None:
    proposer, judge = servers
    given = flags(*at("endpoint", proposer), *at("judge", judge, "judge.temperature=0.0"))
    result = cli("transform", source, tmp_path / "o.jsonl", *given)
    assert result.exit_code == 0, result.stderr
    warning = "at temperature 0 all samples are the same: asking for 1 vote instead of 3\n"
    assert warning in result.stderr
    assert "3 proposals, 1 of 1 vote of judge-m" in result.stderr
    assert all("n" not in body for body in judge.requests)
    assert any(body.get("n") == 3 for body in proposer.requests)
    given = flags(*at("endpoint", proposer, "endpoint.temperature=0.0"))
    result = cli("transform", source, tmp_path / "p.jsonl", *given)
    assert "asking for 1 proposal instead of 3 and 1 vote instead of 3\n" in result.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["back_end=rules+judge"], "back_end=rules+judge needs a judge"),
        (
            ["endpoint={model: m}", "judge={model: j, budget_tokens: 9}"],
            "one budget counts for both endpoints; set it in endpoint, not judge",
        ),
        (
            ["endpoint={model: m, price_input: 1, price_output: 1, budget: 3}", "judge.model=j"],
            "needs price_input and price_output of judge, too",
        ),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    cli: Cli, source: Path, tmp_path: Path, settings: list[str], words: str
) -> None:
    result = cli("transform", source, tmp_path / "o.jsonl", *flags(*settings))
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
