"""The openai back end over real HTTP: what is proposed, judged, flattened, chosen and counted."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.core.markup import plain
from aspd_cli.core.parser import parse
from aspd_cli.endpoint.client import Endpoint
from aspd_cli.endpoint.journal import Journal
from aspd_cli.errors import BudgetError, EndpointError
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.io.concurrency import in_order
from aspd_cli.transform.pipeline import transform_file_by
from aspd_cli.transform.report import Report
from aspd_cli.transform.token_counts import EstimatingCodec
from tests.endpoint_server import Fault, Reply, Server, faulty, serve
from tests.transform import answers, model

Script = Callable[[dict[str, Any]], Reply]
TEXTS = [text for text, _ in answers.PARALLEL.values()] + list(answers.SERIAL.values())
CHINESE = (
    "下面是三座城市：\n\n1. **北京**：中国的首都，有着悠久的历史和许多著名的古迹。\n"
    "2. **上海**：中国最大的城市，也是重要的经济和金融中心之一。\n"
    "3. **广州**：南方的大城市，以美食和温暖的气候闻名于世。\n\n希望对你有所帮助。"
)


def write(path: Path, *texts: str) -> Path:
    rows = ({"id": f"n{n}", "question": f"q {n}", "answer": text} for n, text in enumerate(texts))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(
    server: Server, source: Path, out: Path, journal: bool = False, **fields: Any
) -> tuple[Report, list[dict[str, Any]]]:
    """The report and the rows of a run; `endpoint_...` are fields of the endpoint's section."""
    limits = {"timeout": 5.0, "max_retries": 20, "concurrency": 8}
    limits |= {k.removeprefix("endpoint_"): v for k, v in fields.items() if "endpoint_" in k}
    section = EndpointSection(base_url=server.url, model="m", **limits)
    fields = {name: value for name, value in fields.items() if "endpoint_" not in name}
    transform = TransformSection(**{"min_tokens": 10, "endpoint": section, **fields})

    async def ask(opened: Journal | None) -> Report:
        async with Endpoint(section, opened) as endpoint:
            return await transform_file_by(endpoint, source, out, transform, EstimatingCodec())

    if journal:
        with Journal(out.with_suffix(".journal.sqlite"), {}) as opened:
            report = asyncio.run(ask(opened))
    else:
        report = asyncio.run(ask(None))
    return report, [json.loads(line) for line in out.read_text().splitlines()]


def stages(server: Server) -> Counter[str]:
    """How many requests of each stage arrived."""
    return Counter(model.stage_of(body["messages"][0]["content"]) for body in server.requests)


def markup(row: dict[str, Any]) -> str:
    return row["completion"][0]["content"]


@pytest.mark.parametrize("method", ["annotate", "rewrite"])
def test_all_come_out_once_in_order_with_the_same_plain_text(tmp_path: Path, method: str) -> None:
    source = write(tmp_path / "in", *TEXTS, CHINESE)
    with serve(faulty(model.script, 0.2, seed=1)) as server:
        report, rows = run(server, source, tmp_path / "out.jsonl", method=method)
    assert [row["id"] for row in rows] == [f"n{n}" for n in range(len(TEXTS) + 1)]
    for row, text in zip(rows, [*TEXTS, CHINESE], strict=True):
        document = parse(markup(row))
        assert plain(document) == text
        assert (row["aspd"]["status"] == "parallel") == any(document.blocks())
        assert (row["aspd"]["reason"] is None) == any(document.blocks())
    assert report.parallel > 4
    assert not report.failed


def test_annotate_never_asks_for_integrity_and_says_so(tmp_path: Path) -> None:
    with serve(model.script) as server:
        report, rows = run(server, write(tmp_path / "in", answers.TIPS), tmp_path / "o.jsonl")
        assert stages(server) == {"annotate": 1, "independence": 1}
    assert rows[0]["aspd"]["votes"] == {
        "independence": [[3]],
        "integrity": [],
        "answer": [],
        "selected": 0,
    }
    found = {stage["stage"]: stage for stage in report.as_dict()["stages"]}
    assert found["integrity"]["by_construction"] is True
    assert found["propose"]["calls"] == 1
    assert found["propose"]["replies"] == 3


def test_titles_are_in_the_language_of_the_answer(tmp_path: Path) -> None:
    with serve(model.script) as server:
        _, rows = run(server, write(tmp_path / "in", CHINESE), tmp_path / "o.jsonl")
        assert "in the language of the answer" in server.requests[0]["messages"][0]["content"]
    assert markup(rows[0]).startswith(
        "下面是三座城市：\n\n<|title|>1. **北京**：<|/title|><|title|>上海<|/title|>"
    )


def group(*numbers: int) -> list[dict[str, Any]]:
    return [{"title": f"T{n}", "first": n, "last": n} for n in numbers]


SIX = "".join(f"{n}. Paragraph number {n} stands for itself alone.\n" for n in range(1, 7))


def scripted(proposals: list[Any], dependent: str = "nothing") -> Script:
    """These proposals; parts with the title `dependent` are judged dependent."""

    def script(body: dict[str, Any]) -> Reply:
        prompt = body["messages"][0]["content"]
        if model.stage_of(prompt) == "annotate":
            return [json.dumps({"groups": groups}) for groups in proposals]
        return json.dumps({"independent": f'title="{dependent}"' not in prompt})

    return script


def test_a_block_that_fails_is_flattened_and_the_rest_survives(tmp_path: Path) -> None:
    script = scripted([[group(1, 2), group(4, 5)]], dependent="T1")
    with serve(script) as server:
        _, [row] = run(server, write(tmp_path / "in", SIX), tmp_path / "o.jsonl")
    titles = [branch.title for block in parse(markup(row)).blocks() for branch in block.branches]
    assert titles == ["T4", "T5"]
    assert plain(parse(markup(row))) == SIX
    assert row["aspd"]["votes"]["independence"] == [[0, 3]]


def test_an_answer_without_a_block_that_survives_is_serial(tmp_path: Path) -> None:
    with serve(scripted([[group(1, 2)]], dependent="T1")) as server:
        report, [row] = run(server, write(tmp_path / "in", SIX), tmp_path / "o.jsonl")
    assert row["aspd"]["status"] == "serial"
    assert row["aspd"]["reason"] == "the judge finds no block independent"
    assert markup(row) == SIX
    assert report.ended == {"independence": 1}


def test_the_best_surviving_proposal_wins(tmp_path: Path) -> None:
    proposals = [[group(1, 2)], [group(3, 4, 5, 6)], [group(1, 2, 3, 4, 5, 6)]]
    source = write(tmp_path / "in", SIX)
    for dependent, best, blocks in (("nothing", 2, 6), ("T1", 1, 4)):
        with serve(scripted(proposals, dependent)) as server:
            _, [row] = run(server, source, tmp_path / f"{dependent}.jsonl")
        assert row["aspd"]["votes"]["selected"] == best
        assert row["aspd"]["stats"]["branches"] == blocks


def test_equal_blocks_are_judged_once_and_accept_decides(tmp_path: Path) -> None:
    votes = [json.dumps({"independent": n < 2}) for n in range(3)]

    def script(body: dict[str, Any]) -> Reply:
        proposing = model.stage_of(body["messages"][0]["content"]) == "annotate"
        return json.dumps({"groups": [group(1, 2, 3)]}) if proposing else votes

    for accept, status in ((2, "parallel"), (3, "serial")):
        with serve(script) as server:
            source, out = write(tmp_path / "in", SIX), tmp_path / f"{accept}.jsonl"
            _, [row] = run(server, source, out, accept=accept)
            assert stages(server) == {"annotate": 1, "independence": 1}
        assert row["aspd"]["status"] == status
        assert row["aspd"]["votes"]["independence"] == [[2]]


def test_a_rewriting_that_loses_something_is_refused_by_the_judge(tmp_path: Path) -> None:
    def script(body: dict[str, Any]) -> Reply:
        reply = model.script(body)
        lost = "It is rarely seen"
        return reply.replace("Lamps count too", lost) if "<parallel>" in reply else reply

    with serve(script) as server:
        source, out = write(tmp_path / "in", answers.TIPS), tmp_path / "o.jsonl"
        _, [row] = run(server, source, out, method="rewrite")
        assert stages(server) == {"rewrite": 1, "independence": 1, "integrity": 1}
    assert row["aspd"]["status"] == "serial"
    assert row["aspd"]["reason"] == "the judge accepts no rewriting for integrity"
    assert row["aspd"]["votes"]["integrity"] == [0]
    assert markup(row) == answers.TIPS


def test_a_rewriting_that_is_accepted_becomes_the_answer(tmp_path: Path) -> None:
    def script(body: dict[str, Any]) -> Reply:
        stage = model.stage_of(body["messages"][0]["content"])
        if stage == "rewrite":
            return model.script(body).replace("Lamps count too", "So do lamps")
        return model.script(body) if stage == "independence" else '{"intact": true}'

    with serve(script) as server:
        source, out = write(tmp_path / "in", answers.TIPS), tmp_path / "o.jsonl"
        _, [row] = run(server, source, out, method="rewrite")
        assert stages(server)["answer"] == 1
    assert plain(parse(markup(row))) == answers.TIPS.replace("Lamps count too", "So do lamps")
    assert row["aspd"]["votes"]["answer"] == [3]


def test_an_answer_whose_calls_fail_for_good_stays_serial_and_is_counted(tmp_path: Path) -> None:
    def script(body: dict[str, Any]) -> Reply:
        prompt = body["messages"][0]["content"]
        if "q 1" in prompt:
            return "I would rather not."
        if "q 2" in prompt and model.stage_of(prompt) == "independence":
            return Fault("error")
        return model.script(body)

    source = write(tmp_path / "in", *[answers.TIPS] * 4, answers.BULLETS)
    with serve(script) as server:
        report, rows = run(server, source, tmp_path / "o.jsonl", endpoint_max_retries=1)
    assert [row["aspd"]["status"] for row in rows] == [
        "parallel", "serial", "serial", "parallel", "parallel",
    ]  # fmt: skip
    assert rows[1]["aspd"]["reason"].startswith("propose failed: ")
    assert rows[2]["aspd"]["reason"].startswith("independence failed: ")
    assert all(plain(parse(markup(row))) == answers.TIPS for row in rows[:4])
    assert report.failed == report.as_dict()["failed"] == 2
    assert report.faulty


def test_short_long_and_single_pieces_cost_no_call(tmp_path: Path) -> None:
    source = write(tmp_path / "in", "Too short.", "word " * 200, answers.TIPS)
    with serve(model.script) as server:
        report, rows = run(server, source, tmp_path / "o.jsonl", max_tokens=90)
        assert not server.requests
    assert [row["aspd"]["reason"] for row in rows] == [
        "fewer than 10 tokens",
        "more than 90 tokens",
        "more than 90 tokens",
    ]
    with serve(model.script) as server:
        report, rows = run(server, write(source, "a few words " * 9), tmp_path / "o.jsonl")
        assert not server.requests
    assert rows[0]["aspd"]["reason"] == "a single piece of text"
    assert report.ended == {"propose": 1}


def test_the_report_adds_up(tmp_path: Path) -> None:
    source = write(tmp_path / "in", *TEXTS)
    source.write_text("{broken\n" + source.read_text())
    with serve(model.script) as server:
        report, _ = run(server, source, tmp_path / "o.jsonl", endpoint_price_input=2.0)
        arrived = stages(server)
    written = json.loads((tmp_path / "o.jsonl.report.json").read_text())
    assert written == report.as_dict()
    assert (written["back_end"], written["method"]) == ("openai", "annotate")
    assert written["records"] == written["rejected"] + written["parallel"] + written["serial"]
    found = written["stages"]
    assert all(before["out"] == after["in"] for before, after in pairwise(found))
    assert found[-1]["out"] == written["parallel"]
    calls = {stage["stage"]: stage.get("calls") for stage in found}
    assert calls["propose"] == arrived["annotate"]
    assert calls["independence"] == arrived["independence"]
    spent = next(stage for stage in found if stage["stage"] == "propose")
    assert spent["dollars"] == pytest.approx(spent["prompt_tokens"] * 2e-6)


def test_a_second_run_asks_nothing_and_ends_with_the_same_file(tmp_path: Path) -> None:
    source, out = write(tmp_path / "in", *TEXTS), tmp_path / "o.jsonl"
    with serve(model.script) as server:
        run(server, source, out, journal=True)
        first, asked = out.read_bytes(), len(server.requests)
        report, _ = run(server, source, out, journal=True)
        assert len(server.requests) == asked
    assert out.read_bytes() == first
    assert report.tally is not None
    assert report.tally.total.replayed == report.tally.total.used > 0


def test_a_spent_budget_writes_no_output_and_keeps_the_replies(tmp_path: Path) -> None:
    source, out = write(tmp_path / "in", *TEXTS), tmp_path / "o.jsonl"
    with serve(model.script) as server:
        whole, _ = run(server, source, tmp_path / "whole.jsonl")
        assert whole.tally is not None
        tokens = whole.tally.total.tokens
        with pytest.raises(BudgetError, match="the budget is spent"):
            run(server, source, out, journal=True, endpoint_budget_tokens=tokens // 2)
        assert not out.exists()
        assert not list(tmp_path.glob("*.partial"))
        before = len(server.requests)
        report, _ = run(server, source, out, journal=True, endpoint_budget_tokens=2 * tokens)
        asked = stages(server)
    assert report.tally is not None
    assert report.tally.total.tokens == tokens  # both runs together paid for each call once
    assert sum(asked.values()) - before < before
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_an_endpoint_that_does_not_work_at_all_stops_the_run(tmp_path: Path) -> None:
    with (
        serve(lambda body: Fault("unauthorized")) as server,
        pytest.raises(EndpointError, match="does not accept the key"),
    ):
        run(server, write(tmp_path / "in", *TEXTS), tmp_path / "o.jsonl")
    assert not (tmp_path / "o.jsonl").exists()


def test_a_slow_item_stops_no_other_and_results_keep_their_order() -> None:
    begun: list[int] = []

    async def work(n: int) -> int:
        begun.append(n)
        await asyncio.sleep(0.3 if n == 0 else 0.0)
        return n

    async def collect() -> list[int]:
        results, first = [], 0
        async for n in in_order(range(200), work, at_once=4):
            first = first or len(begun)
            results.append(n)
        assert first == 200  # all others were done while the first one slept
        return results

    assert asyncio.run(collect()) == list(range(200))


def test_when_one_fails_nothing_more_begins_and_the_others_are_waited_for() -> None:
    done: list[int] = []

    async def work(n: int) -> int:
        await asyncio.sleep(0.1 if n != 1 else 0.0)
        if n == 1:
            raise ValueError("no")
        done.append(n)
        return n

    async def collect() -> None:
        async for _ in in_order(range(100), work, at_once=4):
            pass

    with pytest.raises(ValueError, match="no"):
        asyncio.run(collect())
    assert done == [0, 2, 3]


def test_no_more_are_in_progress_than_may_be() -> None:
    now = most = 0

    async def work(n: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return n

    async def collect() -> int:
        return sum([n async for n in in_order(range(50), work, at_once=7)])

    assert asyncio.run(collect()) == sum(range(50))
    assert most == 7
