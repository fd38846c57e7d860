"""Batches: requests to a file, replies from one, each once; what is wrong with a line is said."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.endpoint.batch import (
    Awaited,
    BatchEndpoint,
    Replies,
    requests_file,
    take_replies,
)
from aspd_cli.endpoint.client import Call
from aspd_cli.endpoint.journal import Journal
from aspd_cli.endpoint.rate_limits import Budget
from aspd_cli.endpoint.usage import Tally
from aspd_cli.errors import BudgetError, DataError, ReplyError, UsageError
from aspd_cli.recipe.endpoint import EndpointSection

SECTION = EndpointSection(model="m", price_input=1.0, price_output=1.0)


def call(text: str = "hi", n: int = 2) -> Call:
    return Call("propose", ({"role": "user", "content": text},), n=n)


def reply(name: str, *texts: str, **more: Any) -> dict[str, Any]:
    """A line as OpenAI and vLLM write it."""
    body = {
        "choices": [{"message": {"content": text}, "finish_reason": "stop"} for text in texts],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    }
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": "b", "custom_id": name, "response": response, "error": None, **more}


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    return path


def ask(
    path: Path,
    *calls: Call,
    replies: Path | None = None,
    section: EndpointSection = SECTION,
    check: Callable[[str], str] = str,
) -> tuple[list[Any], list[dict[str, Any]], Replies]:
    """The results of calls (or why there are none), the requests written, and what was read."""

    async def run(journal: Journal) -> tuple[list[Any], Replies]:
        budget = Budget(section, Tally(journal.history))
        read = Replies()
        if replies:
            asked = {"propose": section}
            read = await take_replies([replies], journal, asked, budget.tally)
        with requests_file(path / "requests.jsonl") as file:
            endpoint = BatchEndpoint(section, journal, file, read.refused, budget)
            asking = [endpoint.ask(each, check) for each in calls]
            found = await asyncio.gather(*asking, return_exceptions=True)
            journal.await_replies(file.names)
        return list(found), read

    with Journal(path / "journal.sqlite", {}) as journal:
        found, read = asyncio.run(run(journal))
    lines = (path / "requests.jsonl").read_text().splitlines()
    return found, [json.loads(line) for line in lines], read


def test_requests_are_as_the_batch_api_has_them_and_equal_calls_are_one(tmp_path: Path) -> None:
    found, [request], _ = ask(tmp_path, call(), call())
    assert [type(each) for each in found] == [Awaited, Awaited]
    assert request["method"] == "POST"
    assert request["url"] == "/v1/chat/completions"
    assert request["body"] == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "n": 2,
    }
    assert len(request["custom_id"]) <= 64


def test_replies_are_taken_once_and_what_is_missing_of_a_call_is_asked_for(tmp_path: Path) -> None:
    _, [request], _ = ask(tmp_path, call())
    name = request["custom_id"]
    part = write(tmp_path / "part.jsonl", reply(name, "one"))
    [waits], [second], read = ask(tmp_path, call(), replies=part)
    assert isinstance(waits, Awaited)
    assert (read.taken, read.missing) == (1, 0)
    assert "n" not in second["body"]
    assert second["custom_id"] != name
    both = write(tmp_path / "both.jsonl", reply(name, "one"), reply(second["custom_id"], "two"))
    [texts], requests, read = ask(tmp_path, call(), replies=both)
    assert texts == ["one", "two"]
    assert not requests
    assert (read.taken, read.known) == (1, 1)
    [texts], _, read = ask(tmp_path, call(), replies=both)
    assert texts == ["one", "two"]
    assert (read.taken, read.known, read.faulty) == (0, 2, False)


def test_replies_that_are_not_valid_are_asked_for_again_up_to_a_limit(tmp_path: Path) -> None:
    def check(text: str) -> str:
        raise ReplyError("it is no good")

    found, requests, read = ask(tmp_path, call(n=1), check=check)
    for _ in range(3):
        assert isinstance(found[0], Awaited)
        replies = write(tmp_path / "r.jsonl", reply(requests[0]["custom_id"], "bad"))
        found, requests, read = ask(tmp_path, call(n=1), replies=replies, check=check)
        assert read.taken == 1
    assert isinstance(found[0], ReplyError)
    assert not requests


def test_a_request_that_is_refused_fails_and_the_reason_is_said(tmp_path: Path) -> None:
    _, requests, _ = ask(tmp_path, call("a"), call("b"), call("c"), call("d"))
    a, b, c, d = (request["custom_id"] for request in requests)
    error = {"error": {"message": "no `n` here"}}
    replies = write(
        tmp_path / "r.jsonl",
        reply(a, response={"status_code": 400, "body": error}),
        reply(b, response=None, error={"code": "expired", "message": "too late"}),
        reply(c, response={"status_code": 200, "body": {"choices": []}}),
        reply(d, "one", "two"),
    )
    found, requests, read = ask(tmp_path, *map(call, "abcd"), replies=replies)
    assert [str(each) for each in found[:3]] == [
        "the endpoint refuses the request (400: no `n` here)",
        "the endpoint refuses the request (too late)",
        "the batch brought no replies",
    ]
    assert found[3] == ["one", "two"]
    assert not requests
    assert "1 taken, 3 without a reply (the first: the endpoint refuses" in read.sentence("r.jsonl")


def test_lines_of_others_are_counted_and_told_from_missing_ones(tmp_path: Path) -> None:
    _, [one, _], _ = ask(tmp_path, call("a"), call("b"))
    foreign = f"aspd-propose-{'0' * 32}-0"
    lines = [reply(one["custom_id"], "x", "y"), reply(foreign, "x"), reply("request-1", "x"), 7]
    replies = write(tmp_path / "r.jsonl", *lines)
    with replies.open("a") as file:
        file.write("{broken\n")
    found, [again], read = ask(tmp_path, call("a"), call("b"), replies=replies)
    assert found[0] == ["x", "y"]
    assert again["body"]["messages"][0]["content"] == "b"
    assert read.faulty
    assert read.sentence("r.jsonl") == (
        "replies in r.jsonl: 1 taken, 2 not JSON objects, 1 to requests that this output did not "
        "write, 1 of another program, 1 missing"
    )


@pytest.mark.parametrize("text", ["", "no JSON\n", '{"custom_id": "mine"}\n'])
def test_a_file_without_any_reply_to_this_output_is_one_sentence(tmp_path: Path, text: str) -> None:
    ask(tmp_path, call())
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"r\.jsonl holds no reply to a request of this output"):
        ask(tmp_path, call(), replies=tmp_path / "r.jsonl")
    with pytest.raises(DataError, match="cannot read"):
        ask(tmp_path, call(), replies=tmp_path / "none.jsonl")


def test_a_budget_bounds_what_is_written_and_secrets_are_not(tmp_path: Path) -> None:
    small = SECTION.model_copy(update={"budget_tokens": 30, "max_tokens": 10})
    found, requests, _ = ask(tmp_path, call("a", n=1), call("b", n=1), section=small)
    assert isinstance(found[1], BudgetError)
    assert len(requests) == 1
    secret = SECTION.model_copy(update={"extra_body": {"api_key": "s3cret-key"}})
    with pytest.raises(UsageError, match="would write a secret of extra_body"):
        ask(tmp_path, call(), section=secret)


def test_what_was_paid_counts_with_what_calls_cost(tmp_path: Path) -> None:
    _, [request], _ = ask(tmp_path, call())
    replies = write(tmp_path / "r.jsonl", reply(request["custom_id"], "x", "y"))
    ask(tmp_path, call(), replies=replies)
    with Journal(tmp_path / "journal.sqlite", {}) as journal:
        paid = journal.history["propose"]
    assert (paid.calls, paid.replies, paid.tokens) == (1, 2, 15)
    assert paid.dollars == pytest.approx(15e-6)
