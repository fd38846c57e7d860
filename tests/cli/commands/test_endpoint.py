"""A running `aspd serve` as a system: `aspd generate --endpoint` and `aspd eval --compare`."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import aspd_cli as aspd
from aspd_cli.cli.views import live
from aspd_cli.cli.views.live import Lanes, show_live
from aspd_cli.core.chat import to_messages
from aspd_cli.endpoint.served import ServedModel
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.events import Fork
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.evaluate.results import read_evaluation
from aspd_cli.recipe.endpoint import ServerSection
from aspd_cli.synth import QUESTION_FAMILIES, examples
from tests.cli.conftest import Cli
from tests.endpoint_server import serve
from tests.evaluate.data import write_jsonl
from tests.serve.conftest import Served, served

SUMS = "What is 9 + 16, 20 - 3 and 7 * 2?"
SHORT = ("--max-new-tokens", "60")


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as running:
        yield running


@pytest.fixture(scope="module")
def local() -> Decoder:
    return aspd.load()


def test_a_file_of_prompts_gets_the_answers_of_the_local_model(
    cli: Cli, tmp_path: Path, server: Served, local: Decoder
) -> None:
    drawn = examples(11, split="test", families=QUESTION_FAMILIES)
    questions = [SUMS, *(each.question for each in drawn)]
    source = write_jsonl(tmp_path / "in.jsonl", [{"prompt": each} for each in questions])
    out = tmp_path / "out.jsonl"
    flags = ("generate", "--endpoint", server.url, "--input", source, "--output", out, *SHORT)
    result = cli(*flags)
    assert result.exit_code == 0, result.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    expected = local.generate(questions, max_new_tokens=60)
    assert [line["text"] for line in lines] == [output.text for output in expected]
    assert [line["markup"] for line in lines] == [output.markup for output in expected]
    for name in ("tokens", "useful_tokens", "branches", "prompt_tokens"):
        told = [line["stats"][name] for line in lines]
        assert told == [getattr(output.stats, name) for output in expected]
    for line, output in zip(lines, expected, strict=True):  # which drafts pay depends on the batch
        assert 0 < line["stats"]["steps"] <= output.stats.steps + output.stats.accepted_tokens
    # What was answered stays; what is missing is asked for; another model is refused.
    out.write_text("".join(out.read_text().splitlines(keepends=True)[1:]))
    result = cli(*flags, "--batch-size", "2")
    assert "11 of them from an earlier run" in result.stderr
    assert [json.loads(line)["text"] for line in out.read_text().splitlines()] == [
        output.text for output in expected
    ]
    result = cli(*flags, "--model", "another")
    assert result.exit_code == 2
    assert "model.endpoint.model" in result.stderr


def test_one_prompt_is_shown_as_a_local_one(cli: Cli, server: Served, local: Decoder) -> None:
    [output] = local.generate([SUMS])
    flags = ("generate", "--endpoint", f"{server.url}/v1", SUMS)
    streamed = cli(*flags, "--stats")
    assert streamed.stdout == output.text.removesuffix("\n") + "\n"
    stats = output.stats
    counts = f"{stats.tokens} tokens ({stats.useful_tokens} useful) in {stats.steps} steps"
    assert streamed.stderr.startswith(f"{counts} | {stats.branches} branches | ideal speed-up ")
    assert cli(*flags, "--markup").stdout == output.markup.removesuffix("\n") + "\n"
    answer = json.loads(cli(*flags, "--json", "--serial").stdout)
    assert (answer["text"], answer["stats"]["max_lanes"]) == (output.text, 1)
    assert json.loads(cli(*flags, "--json", "--plain").stdout)["stats"]["branches"] == 0
    cut = cli(*flags, "--max-new-tokens", "5")
    assert "cut at max_new_tokens=5: raise --max-new-tokens" in cut.stderr


def test_branches_come_side_by_side_as_from_the_engine(
    server: Served, local: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "FRAMES_PER_SECOND", 1e6)  # however quickly the answer comes
    with ServedModel(ServerSection(base_url=server.url)) as model:
        events = list(model.stream(to_messages(SUMS), model.fields(GenerationOptions())))
        again = model.stream(to_messages(SUMS), model.fields(GenerationOptions()))
        screen = io.StringIO()
        output = show_live(again, Console(file=screen, force_terminal=True, width=100, height=30))
    expected = list(local.stream(SUMS))
    assert events[:-1] == expected[:-1]
    assert any(isinstance(event, Fork) for event in events)
    lanes = Lanes()
    for event in events:
        lanes.apply(event)
    assert lanes.plain() == output.text == expected[-1].output.text  # type: ignore[union-attr]
    assert "╭" in screen.getvalue()


def test_what_goes_wrong_is_a_sentence(cli: Cli, tmp_path: Path, server: Served) -> None:
    result = cli("generate", "--endpoint", server.url, "--model", "nope", "Hi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "has no model 'nope'" in result.stderr
    result = cli("generate", "--endpoint", server.url, "--adapter", "x", "Hi")
    assert result.exit_code == 2
    assert "--adapter is for a model of this machine" in result.stderr
    out = tmp_path / "out.jsonl"
    source = write_jsonl(tmp_path / "in.jsonl", [{"prompt": "Hi"}])
    flags = ("--input", source, "--output", out, *SHORT)
    result = cli("generate", "--endpoint", "http://127.0.0.1:9", *flags)
    assert (result.exit_code, out.exists()) == (1, False)
    assert "nothing answers at http://127.0.0.1:9/v1" in result.stderr


def test_a_plain_server_answers_in_one_text(cli: Cli) -> None:
    with serve(lambda _: "one two") as plain:
        flags = ("generate", "--endpoint", plain.url)
        assert cli(*flags, "Hi", "--stats").stderr.startswith("2 tokens | ")
        answer = json.loads(cli(*flags, "Hi", "--json").stdout)
        assert answer["text"] == "one two"
        assert "markup" not in answer
        for refused in ("--markup", "--serial", "--plain"):
            result = cli(*flags, "Hi", refused)
            assert (result.exit_code, result.stdout) == (2, "")
            assert "is not `aspd serve`" in result.stderr


def test_a_server_is_a_system_beside_the_others(
    cli: Cli, tmp_path: Path, server: Served, forking: Path
) -> None:
    out = tmp_path / "run"
    with serve(lambda _: "The answer is 7.") as plain:
        result = cli(
            *("eval", "--tasks", "aspd_synth", "--limit", "1", "--gen_kwargs", "max_gen_toks=100"),
            *("--compare", f"plain,ours={server.url},other={plain.url}", "--model", forking),
            *("--output", out),
        )
    assert result.exit_code == 0, result.stderr
    found = read_evaluation(out)
    assert [(s.name, s.library) for s in found.systems] == [
        ("plain", "aspd"),
        ("ours", "server"),
        ("other", "server"),
    ]
    answers = {name: [a for a in found.answers if a.system == name] for name in ("ours", "other")}
    assert {len(each) for each in answers.values()} == {4}
    assert sum(a.branches for a in answers["ours"]) > 0
    assert all(a.stats.steps > 0 and 0 < a.stats.ttft_s < a.wall_s for a in answers["ours"])
    assert all(a.text == "The answer is 7." for a in answers["other"])
    assert all(a.stats.steps != a.stats.steps for a in answers["other"])
    assert {score.system for score in found.scores} == {"plain", "ours", "other"}
    assert (out / "report.html").exists()


def test_speed_is_measured_over_http(cli: Cli, tmp_path: Path, server: Served) -> None:
    prompts = write_jsonl(tmp_path / "p.jsonl", [{"prompt": SUMS}, {"prompt": "Hello"}])
    result = cli(
        *("eval", "--latency", "--prompts", prompts, "--compare", f"a={server.url}", "--json"),
        *("--set", "generation.max_new_tokens=60", "--concurrency", "1,2", "--quiet"),
    )
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["aspd"]["latency"]
    whole = [r for r in rows if r["category"] == "all" and r["branches"] is None]
    assert [(row["system"], row["concurrency"]) for row in whole] == [("a", 1), ("a", 2)]
    assert all(row["measures"]["steps"]["value"] > 1 for row in whole)


def test_a_server_is_not_asked_for_likelihoods(cli: Cli, tmp_path: Path, forking: Path) -> None:
    question = {"question": "Q?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}}
    data = write_jsonl(tmp_path / "arc.jsonl", [{**question, "answerKey": "A", "id": "1"}])
    with serve(lambda _: "x") as plain:
        result = cli(
            *("eval", "--tasks", "arc_easy", "--data", f"arc_easy={data}", "--model", forking),
            *("--compare", f"plain,other={plain.url}"),
        )
    assert result.exit_code == 2
    assert "the task arc_easy compares likelihoods, which the server other" in result.stderr
