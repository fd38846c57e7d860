"""`aspd transform` with an endpoint: cost told before, budgets, resuming, stopping; and votes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.cli.views.transform_tables import progress_details
from aspd_cli.core.metrics import Structure
from aspd_cli.core.parser import parse
from aspd_cli.endpoint.usage import StageTally, Tally
from aspd_cli.files import EMBEDDED_MODEL
from aspd_cli.transform.report import Report
from tests import make
from tests.endpoint_server import Fault, Reply, Server, serve
from tests.killing import killed_between_files
from tests.transform import answers, model
from tests.transform.program import Cli, cli

__all__ = ["cli"]

TEXTS = [text for text, _ in answers.PARALLEL.values()] + [answers.SERIAL["recipe"]]
Flags = Callable[..., list[str]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    rows = ({"instruction": f"q {n}", "output": text} for n, text in enumerate(TEXTS))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(model.script) as server:
        yield server


def flags(server: Server, *more: str) -> list[str]:
    fields = ["min_tokens=10", "endpoint.model=m", f"endpoint.base_url={server.url}", *more]
    return [part for field in fields for part in ("--set", f"transform.{field}")]


ANEW = ("--fresh", "--discard-paid")
PRICES = ("endpoint.price_input=1000", "endpoint.price_output=4000")


def test_it_says_how_it_asks_and_ends_with_calls_tokens_and_cost(
    cli: Cli, source: Path, tmp_path: Path, server: Server
) -> None:
    out = tmp_path / "out.jsonl"
    result = cli("transform", source, out, *flags(server, *PRICES))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "annotate by m at http://127.0.0.1" in result.stderr
    assert "3 proposals, 3 of 3 votes; integrity and answer hold by construct" in result.stderr
    for words in ("calls", "tokens", "cost", "propose", "independence", "PPD", "holds by"):
        assert words in result.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert sum(row["aspd"]["status"] == "parallel" for row in rows) >= 4
    assert not list(tmp_path.glob("*.partial"))


def test_secrets_of_an_endpoint_are_in_no_file_and_on_no_terminal(
    cli: Cli, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key-s3cret")
    out, page = tmp_path / "out.jsonl", tmp_path / "page.html"
    body = "{api_key: body-s3cret, top_k: 1}"
    refused: list[dict[str, Any]] = []

    def script(request: dict[str, Any]) -> Reply:
        if not refused and len(server.exchanges) >= 2:
            refused.append(request)
            words = f"\x1b]0;own\x07 {server.exchanges[0].headers} {request}"
            return Fault("refuse", parameter="messages", message=words)
        return model.script(request)

    with serve(script) as server:
        url = server.url.replace("://", "://me:pass-s3cret@") + "?sig=query-s3cret"
        flags = [f"endpoint.base_url={url}", f"endpoint.extra_body={body}", "endpoint.model=m"]
        flags = [part for each in flags for part in ("--set", f"transform.{each}")]
        run = ("transform", source, out, *flags, "--set", "transform.min_tokens=10")
        first = cli(*run, "--html", page)
        assert first.exit_code == 3
        asked = len(server.requests)
        again = cli(*(str(each).replace("body-", "new-") for each in run))
        assert again.exit_code == 0, again.stderr
        assert len(server.requests) < 2 * asked, "another key asks only for what is missing"
    assert all(each["api_key"] == "new-s3cret" for each in server.requests[asked:])
    assert {each.path for each in server.exchanges} == {"/v1/chat/completions?sig=query-s3cret"}
    for path in tmp_path.iterdir():
        assert b"s3cret" not in path.read_bytes(), path
    for result in (first, again):
        assert "s3cret" not in result.stdout + result.stderr
        assert "\x1b]0" not in result.stdout + result.stderr
    assert (tmp_path / "out.jsonl.journal.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_dry_run_asks_nothing_and_is_near_what_the_run_takes(
    cli: Cli, source: Path, tmp_path: Path, server: Server
) -> None:
    out = tmp_path / "out.jsonl"
    dry = cli("transform", source, out, *flags(server, *PRICES), "--dry-run", "--json")
    assert dry.exit_code == 0
    assert "no request was sent" in dry.stderr
    assert not server.requests
    assert sorted(os.listdir(tmp_path)) == ["in.jsonl"]
    estimate = json.loads(dry.stdout)
    run = cli("transform", source, out, *flags(server, *PRICES), "--json", "--quiet")
    stages = json.loads(run.stdout)["stages"]
    for name in ("calls", "prompt_tokens", "completion_tokens", "dollars"):
        spent = sum(stage.get(name, 0) for stage in stages)
        assert spent / 3 < estimate["total"][name] < spent * 3, name
    assert estimate["asked"] == estimate["records"] == len(TEXTS)
    rewrite = cli("transform", source, out, *flags(server, "method=rewrite"), "--dry-run", "--json")
    assert json.loads(rewrite.stdout)["total"]["calls"] == 10 * len(TEXTS)


def test_a_price_that_nobody_gave_is_unknown_and_not_zero(
    cli: Cli, source: Path, tmp_path: Path, server: Server
) -> None:
    out = tmp_path / "out.jsonl"
    dry = cli("transform", source, out, *flags(server), "--dry-run", "--json")
    estimate = json.loads(dry.stdout)
    assert [stage["dollars"] for stage in [*estimate["stages"], estimate["total"]]] == [None] * 3
    assert "price unknown" in cli("transform", source, out, *flags(server), "--dry-run").stderr
    run = cli("transform", source, out, *flags(server), "--json")
    spent = [stage for stage in json.loads(run.stdout)["stages"] if stage.get("calls")]
    assert spent
    assert all(stage["dollars"] is None for stage in spent)
    assert "price unknown" in run.stderr
    again = cli("transform", source, out, *flags(server), "--json")
    spent = [stage for stage in json.loads(again.stdout)["stages"] if stage.get("calls")]
    assert all(stage["dollars"] is None for stage in spent), "nor is it zero from the journal"
    free = flags(server, "endpoint.price_input=0", "endpoint.price_output=0")
    dry = cli("transform", source, tmp_path / "o", *free, "--dry-run", "--json")
    assert json.loads(dry.stdout)["total"]["dollars"] == 0


def test_a_dry_run_needs_an_endpoint(cli: Cli, source: Path, tmp_path: Path) -> None:
    result = cli("transform", source, tmp_path / "out.jsonl", "--dry-run")
    assert result.exit_code == 2
    assert "rules cost nothing" in result.stderr


def test_another_recipe_is_refused_by_name_and_fresh_begins_anew(
    cli: Cli, source: Path, tmp_path: Path, server: Server
) -> None:
    out = tmp_path / "out.jsonl"
    assert cli("transform", source, out, *flags(server)).exit_code == 0
    asked = len(server.requests)
    other = flags(server, "samples=5", "endpoint.model=other")
    refused = cli("transform", source, out, *other)
    assert refused.exit_code == 2
    assert "transform.samples" in refused.stderr
    assert "transform.endpoint.model" in refused.stderr
    out.unlink()  # of a run that was stopped only the journal is there
    refused = cli("transform", source, out, *other)
    assert refused.exit_code == 2
    assert "transform.samples" in refused.stderr
    assert "transform.endpoint.model" in refused.stderr
    same = flags(server, "endpoint.concurrency=3", "endpoint.timeout=9.0")
    assert cli("transform", source, out, *same).exit_code == 0
    assert len(server.requests) == asked
    once_more = cli("transform", source, out, *other, "--fresh")
    assert once_more.exit_code == 2
    assert f"--fresh --discard-paid deletes what was paid for ({asked} calls, " in once_more.stderr
    kept = cli("transform", source, out, *same, "--fresh")
    assert kept.exit_code == 0
    assert "and they are used again; --fresh --discard-paid deletes them" in kept.stderr
    assert len(server.requests) == asked
    assert cli("transform", source, out, *other, "--discard-paid").exit_code == 2
    assert cli("transform", source, out, *other, "--fresh", "--discard-paid").exit_code == 0
    assert len(server.requests) == 2 * asked


def test_without_a_paid_reply_nothing_stands_in_the_way_of_other_settings(
    cli: Cli, source: Path, tmp_path: Path, server: Server
) -> None:
    out = tmp_path / "out.jsonl"
    nowhere = flags(server, "endpoint.base_url=http://127.0.0.1:9/v1", "endpoint.max_retries=0")
    assert cli("transform", source, out, *nowhere).exit_code == 1
    assert cli("transform", source, out, *flags(server, "samples=5")).exit_code == 0


def test_nothing_is_deleted_before_the_endpoint_can_be_used(
    cli: Cli, source: Path, tmp_path: Path, server: Server
) -> None:
    out = tmp_path / "out.jsonl"
    assert cli("transform", source, out, *flags(server)).exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    no_key = ("--set", "transform.endpoint={model: m, api_key_env: NO_SUCH_KEY}")
    refused = cli("transform", source, out, *no_key, "--fresh", "--discard-paid")
    assert refused.exit_code == 1
    assert "NO_SUCH_KEY" in refused.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_version_0_1_has_paid_for_is_used(
    cli: Cli, source: Path, tmp_path: Path, server: Server
) -> None:
    """It kept what belongs to `out.jsonl` in `out.recipe.yaml` and `out.journal.sqlite`."""
    out = tmp_path / "out.jsonl"
    assert cli("transform", source, out, *flags(server)).exit_code == 0
    asked, whole = len(server.requests), out.read_bytes()
    (tmp_path / "out.jsonl.journal.sqlite").rename(tmp_path / "out.journal.sqlite")
    settings = tmp_path / "out.jsonl.recipe.yaml"
    (tmp_path / "out.recipe.yaml").write_text(make.recipe_of_0_1(settings.read_text()))
    for name in ("recipe.yaml", "report.json"):
        (tmp_path / f"out.jsonl.{name}").unlink()
    again = cli("transform", source, out, *flags(server))
    assert again.exit_code == 0, again.stderr
    assert len(server.requests) == asked
    assert out.read_bytes() == whole


def test_an_endpoint_needs_a_file_beside_which_its_replies_are_kept(
    cli: Cli, source: Path, server: Server
) -> None:
    refused = cli("transform", source, "-", *flags(server))
    assert refused.exit_code == 2
    assert "keeps the replies that are paid for in a journal beside OUT" in refused.stderr
    assert not server.requests


@pytest.mark.slow
def test_a_kill_between_two_files_pays_for_nothing_twice(
    cli: Cli, source: Path, tmp_path: Path, server: Server
) -> None:
    folder, out = tmp_path / "o", tmp_path / "o" / "out.jsonl"
    with source.open("a") as file:
        file.write("{broken\n")
    given = (*flags(server), "--set", f"model.tokenizer={EMBEDDED_MODEL / 'base'}")
    assert cli("transform", source, tmp_path / "whole.jsonl", *given).exit_code == 3
    asked, whole = len(server.requests), (tmp_path / "whole.jsonl").read_bytes()
    turns = killed_between_files(folder, "transform", source, out, *given)
    for turn, files in enumerate(turns, start=2):
        beside = ("journal.sqlite", "recipe.yaml", "rejected.jsonl", "report.json")
        assert files == {"out.jsonl", *(f"out.jsonl.{name}" for name in beside)}
        assert out.read_bytes() == whole
        assert len(server.requests) == turn * asked


def test_another_wording_of_the_prompts_is_refused_by_name(
    cli: Cli, source: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.jsonl"
    assert cli("transform", source, out, *flags(server)).exit_code == 0
    monkeypatch.setattr("aspd_cli.transform.llm.backend.version", lambda *names: "others")
    refused = cli("transform", source, out, *flags(server))
    assert refused.exit_code == 2
    assert "prompts (was " in refused.stderr


def test_a_spent_budget_is_one_sentence_and_a_larger_one_goes_on(
    cli: Cli, source: Path, tmp_path: Path, server: Server
) -> None:
    out = tmp_path / "out.jsonl"
    small = flags(server, *PRICES, "endpoint.concurrency=1", "endpoint.max_tokens=200")
    stopped = cli("transform", source, out, *small, "--budget", "8.0", "--quiet")
    assert stopped.exit_code == 1
    assert stopped.stderr.startswith("aspd: error: the budget is spent: $")
    assert stopped.stderr.count("\n") == 1
    assert not out.exists()
    asked = len(server.requests)
    assert asked > 1
    result = cli("transform", source, out, *small, "--budget", "800.0", "--json", "--quiet")
    assert result.exit_code == 0
    calls = sum(stage.get("calls", 0) for stage in json.loads(result.stdout)["stages"])
    assert calls == len(server.requests)  # of both runs, each call once
    assert cli("transform", source, out, *small, "--budget-tokens", "9", *ANEW).exit_code == 1


def test_answers_that_fail_end_in_code_3_and_the_same_command_tries_them_again(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    well = False

    def script(body: dict[str, Any]) -> Reply:
        ill = "q 2\n" in body["messages"][0]["content"] and not well
        return Fault("error") if ill else model.script(body)

    out = tmp_path / "out.jsonl"
    with serve(script) as server:
        given = flags(server, "endpoint.max_retries=0", "endpoint.concurrency=1")
        result = cli("transform", source, out, *given)
        assert result.exit_code == 3
        assert "1 failed (run the same command to retry them)" in result.stderr
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert rows[2]["aspd"]["reason"].startswith("propose failed: ")
        assert len(rows) == len(TEXTS)
        well = True
        assert cli("transform", source, out, *given).exit_code == 0


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        (["transform.endpoint.base_url=http://127.0.0.1:9/v1"], 2, "transform.endpoint.model"),
        (["transform.back_end=openai"], 2, "back_end=openai needs an endpoint"),
        (["transform.accept=4"], 2, "accept=4 is more than samples=3"),
        (["transform.endpoint={model: m, budget: 3.0}"], 2, "needs price_input and price_output"),
        (
            ["transform.endpoint={model: m, base_url: 'http://127.0.0.1:9/v1'}"],
            1,
            "nothing answers",
        ),
        (["transform.endpoint={model: m, api_key_env: NO_SUCH_KEY}"], 1, "NO_SUCH_KEY"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    cli: Cli, source: Path, tmp_path: Path, settings: list[str], code: int, words: str
) -> None:
    given = [part for setting in settings for part in ("--set", setting)]
    out = tmp_path / "out.jsonl"
    low = ("--set", "transform.min_tokens=10", "--quiet")
    result = cli("transform", source, out, *given, *low)
    assert result.exit_code == code
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not out.exists()


def test_rules_can_be_chosen_though_an_endpoint_is_there(
    cli: Cli, source: Path, tmp_path: Path, server: Server
) -> None:
    given = flags(server, "back_end=rules")
    result = cli("transform", source, tmp_path / "out.jsonl", *given)
    assert result.exit_code == 0
    assert result.stderr.startswith("using the rules; ")
    assert not server.requests


def test_an_interrupted_run_says_what_it_keeps_and_goes_on(
    cli: Cli, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    with serve(model.script, latency=1.0) as server:
        given = flags(server, "endpoint.concurrency=2")
        command = [sys.executable, "-m", "aspd_cli", "transform", str(source), str(out)]
        process = subprocess.Popen([*command, *given], stderr=subprocess.PIPE, text=True)
        while sum(exchange.sent for exchange in server.exchanges) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        told = f"the replies received are in {out}.journal.sqlite, calls in flight are lost."
        assert f"interrupted; {told} Run the same command to resume.\n" in errors
        assert "Traceback" not in errors
        assert not out.exists()
        assert not list(tmp_path.glob("*.partial"))
        asked = len(server.requests)
        server.latency = 0.0
        assert cli("transform", source, out, *given).exit_code == 0
        assert len(server.requests) - asked < asked + 2 * len(TEXTS)
    assert len(out.read_text().splitlines()) == len(TEXTS)


def test_the_progress_tells_all_that_is_known() -> None:
    report = Report("openai", method="annotate")
    report.tally = Tally()
    report.tally.add("propose", StageTally(calls=9, prompt_tokens=900, dollars=1.5))
    for stage in ("parallel", "independence", "parallel", "length"):
        report.add(stage, None, Structure())
    told = ["50% parallel", "9 calls", "900 tokens", "$1.50"]
    assert progress_details(report) == told
    assert progress_details(Report()) == ["0% parallel"]


def trained(path: Path, *texts: str) -> Path:
    rows = ({"prompt": f"q {n}", "completion": text} for n, text in enumerate(texts))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_validate_asks_the_judge_about_every_block(cli: Cli, source: Path, tmp_path: Path) -> None:
    def script(body: dict[str, Any]) -> Reply:
        prompt = body["messages"][0]["content"]
        return json.dumps({"independent": 'title="Rosemary"' not in prompt})

    out = tmp_path / "out.jsonl"
    cli("transform", source, out, "--set", "transform.min_tokens=10")
    at = TEXTS.index(answers.BULLETS) + 1
    documents = [
        parse(json.loads(line)["completion"][0]["content"]) for line in out.read_text().splitlines()
    ]
    blocks = sum(len(list(document.blocks())) for document in documents)
    with serve(script) as server:
        result = cli("validate", out, "--judge", *flags(server))
        assert len(server.requests) == blocks > 4
        [line] = [line for line in result.stdout.splitlines() if " judge: " in line]
        assert line.startswith(f"line {at}: judge: 0 of 3 votes find 'Basil', 'Rosemary'")
        assert result.exit_code == 3
        assert f"judged in {blocks} calls" in result.stderr
        lines = cli("validate", out, "--judge", *flags(server), "--json").stdout.splitlines()
        [found] = [found for found in map(json.loads, lines) if found["kind"] == "judge"]
        assert found["line"] == at
    assert " judge: " not in cli("validate", out).stdout


def test_validate_without_an_endpoint_says_what_is_missing(cli: Cli, tmp_path: Path) -> None:
    result = cli("validate", trained(tmp_path / "a.jsonl", "text"), "--judge")
    assert result.exit_code == 2
    assert "--judge needs an endpoint, and none is configured" in result.stderr
