"""Whatever an endpoint does wrong, valid replies come out, or one sentence that says what is wrong.

Each test speaks HTTP with a server of its own.
"""

import json
import socket
import threading
import time
from collections import Counter
from typing import Any

import pytest

from aspd_cli.errors import EndpointError, ReplyError
from tests.endpoint.asking import SCHEMA, ask, call
from tests.endpoint_server import RANDOM_KINDS, Fault, Kind, Reply, echo, faulty, serve

REPLY = json.dumps({"reply": "yes"})


def once(fault: Fault) -> Any:
    """A script whose first request fails."""
    left = [fault]

    def script(body: dict[str, Any]) -> Reply:
        return left.pop() if left else REPLY

    return script


@pytest.mark.parametrize(
    "fault",
    [
        Fault("rate-limit"),
        Fault("rate-limit", retry_after=0.1),
        Fault("error"),
        Fault("error", status=503),
        Fault("error", status=408),
        Fault("drop"),
        Fault("cut"),
        Fault("html"),
        Fault("malformed", (REPLY,)),
        Fault("no-choices"),
        Fault("hang"),
        Fault("empty"),
        Fault("list", ("not what was asked for",)),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.retry_after or fault.status}",
)
def test_what_fails_once_is_asked_again(fault: Fault) -> None:
    with serve(once(fault)) as server:
        (replies,), tally = ask(server, [call()], timeout=0.5)
        assert replies == ["yes"]
        assert len(server.requests) == 2
        assert tally.total.used - tally.total.invalid == 1


@pytest.mark.parametrize("kind", ["slow", "list", "object", "no-usage"])
def test_replies_of_an_unusual_form_are_replies(kind: Kind) -> None:
    with serve(lambda body: Fault(kind, (REPLY,), seconds=0.2)) as server:
        (replies,), tally = ask(server, [call(n=2)])
        assert replies == ["yes", "yes"]
        assert (len(server.requests), tally.total.invalid) == (1, 0)
        assert tally.total.prompt_tokens > 0
        assert tally.total.completion_tokens > 0


def test_missing_choices_are_topped_up() -> None:
    with serve(lambda body: Fault("fewer", (REPLY,))) as server:
        (replies,), tally = ask(server, [call(n=4)])
    assert replies == ["yes"] * 4
    assert [body.get("n", 1) for body in server.requests] == [4, 1, 1, 1]
    assert (tally.total.calls, tally.total.replies) == (4, 4)


def test_random_faults_change_no_reply() -> None:
    """A third of all requests fail, in any of the ways; what comes out is what was asked for."""
    calls = [call(f"question {i}", n=1 + i % 3, schema=SCHEMA) for i in range(120)]
    with serve(faulty(echo, 1 / 3, seed=1)) as server:
        results, tally = ask(server, calls, timeout=2.0)
        assert results == [[f"question {i}"] * (1 + i % 3) for i in range(120)]
        assert len(server.requests) > 150
        assert tally.total.used == sum(1 + i % 3 for i in range(120)) + tally.total.invalid
        assert tally.total.invalid > 0
        kinds = Counter(exchange.status for exchange in server.exchanges)
        assert {0, 200, 429, 500} <= set(kinds), "drops, replies, limits and errors all occurred"


def test_the_random_faults_of_the_server_are_all_of_them() -> None:
    drawn = {
        reply.kind
        for reply in map(faulty(echo, 0.5), [{"messages": [{"content": "x"}]}] * 1000)
        if isinstance(reply, Fault)
    }
    assert drawn == set(RANDOM_KINDS)


def test_invalid_replies_are_asked_again_a_bounded_number_of_times() -> None:
    texts = iter([REPLY, "no", REPLY, "no", *["no"] * 20])
    with serve(lambda body: [next(texts) for _ in range(body.get("n", 1))]) as server:
        (error,), tally = ask(server, [call(n=3)])
        assert isinstance(error, ReplyError)
        assert error.valid == ("yes", "yes")
        assert str(error) == "7 of 9 replies are invalid; the last: it is no object with a reply"
        assert (tally.total.used, tally.total.invalid) == (9, 7)


def test_thoughts_before_a_reply_are_not_part_of_it() -> None:
    with serve(lambda body: f"<think>\nIs it {{so}}?\n</think>\n\n{REPLY}") as server:
        assert ask(server, [call()])[0] == [["yes"]]


@pytest.mark.parametrize("parameter", ["response_format", ""])
def test_a_schema_is_sent_until_it_is_refused(parameter: str) -> None:
    def script(body: dict[str, Any]) -> Reply:
        return Fault("refuse", parameter=parameter) if "response_format" in body else REPLY

    with serve(script) as server:
        results, _ = ask(server, [call(str(i), schema=SCHEMA) for i in range(5)], concurrency=1)
        assert results == [["yes"]] * 5
        assert ["response_format" in body for body in server.requests] == [True] + [False] * 5


@pytest.mark.parametrize(
    ("parameter", "becomes"),
    [("max_tokens", {"max_completion_tokens": 9}), ("temperature", {}), ("top_p", {}), ("n", {})],
)
def test_parameters_that_are_refused_are_left_out_from_then_on(
    parameter: str, becomes: dict[str, Any]
) -> None:
    def script(body: dict[str, Any]) -> Reply:
        return Fault("refuse", parameter=parameter) if parameter in body else REPLY

    fields = {"max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "concurrency": 1}
    with serve(script) as server:
        results, _ = ask(server, [call("a", n=2), call("b", n=2)], **fields)
        assert results == [["yes", "yes"]] * 2
        assert [parameter in body for body in server.requests].count(True) == 1
        others = {"max_tokens": 9, "temperature": 0.5, "top_p": 0.9} | becomes
        others.pop(parameter, None)
        assert others.items() <= server.requests[-1].items()


def test_a_request_that_is_refused_takes_no_other_along() -> None:
    def script(body: dict[str, Any]) -> Reply:
        content = body["messages"][0]["content"]
        return Fault("refuse", parameter="messages") if content == "too long" else REPLY

    with serve(script) as server:
        (good, bad, fine), _ = ask(server, [call("a"), call("too long"), call("b")])
        assert good == fine == ["yes"]
        assert isinstance(bad, ReplyError)
        assert "400: Unsupported parameter: 'messages'" in str(bad)


def test_a_request_at_which_the_endpoint_fails_takes_no_other_along() -> None:
    def script(body: dict[str, Any]) -> Reply:
        return Fault("error") if body["messages"][0]["content"] == "poison" else REPLY

    with serve(script) as server:
        calls = [call("poison"), *(call(str(i)) for i in range(20))]
        (bad, *good), _ = ask(server, calls, max_retries=3, concurrency=2)
        assert good == [["yes"]] * 20
        assert isinstance(bad, ReplyError)
        assert str(bad).startswith("the endpoint gave no reply after 4 attempts (500: ")


def test_an_endpoint_that_refuses_everything_is_given_up() -> None:
    with serve(lambda body: Fault("refuse", parameter="messages")) as server:
        calls = [call(str(i)) for i in range(50)]
        results, _ = ask(server, calls, concurrency=1)
        assert isinstance(results[-1], EndpointError)
        assert "refuses every request (400: " in str(results[-1])
        assert len(server.requests) == 10


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault("unauthorized"), "does not accept the key in OPENAI_API_KEY (401: Incorrect"),
        (Fault("error", status=403), "does not accept the key in OPENAI_API_KEY (403: "),
        (Fault("no-model"), "has no model 'm' (404: The model `m` does not exist); correct"),
        (Fault("quota"), "has no credit left (429: You exceeded your current quota)"),
        (Fault("error", status=402), "has no credit left (402: "),
        (Fault("rate-limit", retry_after=7200), "asks to wait 120 minutes (429: Rate limit"),
        (Fault("rate-limit", retry_after=1e308), "asks to wait more than a day (429: Rate limit"),
        (Fault("error", status=503, retry_after=1e308), "asks to wait more than a day (503: "),
        (Fault("error"), "gives no reply after 3 attempts (500: The server had an error)"),
        (Fault("html"), "gives no reply after 3 attempts (it sent what is not JSON ('<html>"),
        (Fault("drop"), "gives no reply after 3 attempts (the connection broke ("),
        (Fault("hang"), "gives no reply after 3 attempts (no reply within 0.3 seconds)"),
    ],
    ids=lambda value: value.kind + str(value.status) if isinstance(value, Fault) else "",
)
def test_an_endpoint_that_cannot_be_used_is_one_sentence(fault: Fault, sentence: str) -> None:
    with serve(lambda body: fault) as server:
        (error,), tally = ask(server, [call()], max_retries=2, timeout=0.3)
        assert isinstance(error, EndpointError)
        assert sentence in str(error)
        assert "\n" not in str(error)
        assert error.exit_code == 1
        assert tally.total.calls == 0


def test_after_an_endpoint_is_given_up_nothing_more_is_sent() -> None:
    with serve(lambda body: Fault("unauthorized")) as server:
        results, _ = ask(server, [call(str(i)) for i in range(50)], concurrency=4)
        assert all(isinstance(error, EndpointError) for error in results)
        assert len(server.requests) <= 4


@pytest.mark.parametrize("address", ["http://127.0.0.1:{}/v1", "http://nowhere.invalid/v1"])
def test_where_nothing_listens_is_said_soon(address: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = address.format(unused.getsockname()[1])
        began = time.monotonic()
        (error,), _ = ask(None, [call()], base_url=url)
        assert isinstance(error, EndpointError)
        assert str(error).startswith(f"nothing answers at {url}: no connection (")
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("url", ["http://", "http://[::1/v1", "http://127.0.0.1:99999/v1"])
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(EndpointError, match=r"correct (endpoint.base_url|transform.endpoint)"):
        raise ask(None, [call()], base_url=url)[0][0]


@pytest.mark.parametrize(
    "response",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=none\r\n"
        b"Content-Length: 2\r\n\r\n\xff\xfe",
        b"",
    ],
)
def test_what_is_not_even_http_is_a_failed_attempt(response: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve_garbage() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(response)

        threading.Thread(target=serve_garbage, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        (error,), _ = ask(None, [call()], base_url=url, max_retries=1)
        assert isinstance(error, EndpointError)
        assert "gives no reply after 2 attempts" in str(error)


def test_the_openai_api_needs_a_key_and_a_local_server_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(EndpointError, match="set the environment variable MY_KEY, or endpoint"):
        ask(None, [call()], api_key_env="MY_KEY")
    with serve(lambda body: REPLY) as server:
        ask(server, [call()])
        monkeypatch.setenv("MY_KEY", " secret ")
        ask(server, [call("another")], api_key_env="MY_KEY")
        sent = [exchange.headers["authorization"] for exchange in server.exchanges]
        assert sent == ["Bearer none", "Bearer secret"]


def test_what_utf8_cannot_hold_is_sent_and_received() -> None:
    with serve(lambda body: json.dumps({"reply": "\ud800é"})) as server:
        (replies,), _ = ask(server, [call("\udc00é")])
        assert replies == ["\ud800é"], "escaped within the reply's own JSON"
        assert server.requests[0]["messages"][0]["content"] == "?é"
    with serve(lambda body: "\ud800é") as server:
        assert ask(server, [call()], str)[0] == [["?é"]]


def test_what_a_recipe_adds_to_requests_is_sent() -> None:
    with serve(lambda body: REPLY) as server:
        ask(server, [call()], extra_body={"reasoning_effort": "low"}, temperature=0.0)
        assert server.requests == [
            {
                "model": "m",
                "messages": [{"role": "user", "content": "question"}],
                "temperature": 0.0,
                "reasoning_effort": "low",
            }
        ]
