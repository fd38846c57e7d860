"""What an endpoint lacks is found out, and what goes wrong is said in one sentence."""

import base64
import json
from typing import Any

import pytest

from aspd_cli.endpoint.journal import Journal
from aspd_cli.errors import EndpointError, ReplyError
from tests.endpoint.asking import SCHEMA, ask, call
from tests.endpoint_server import Fault, Reply, serve

REPLY = json.dumps({"reply": "yes"})
ONE = "Only one completion choice is allowed"


@pytest.mark.parametrize(
    "refusal",
    [
        Fault("error", status=500, message=ONE),
        Fault("error", status=501, message=ONE),
        Fault("error", status=422, message=ONE),
        Fault("refuse", parameter="", message=ONE),
        Fault("refuse", parameter="", message="n_choices > 1: not implemented"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_a_server_without_n_is_asked_once_for_each_reply(refusal: Fault) -> None:
    def script(body: dict[str, Any]) -> Reply:
        return refusal if body.get("n", 1) > 1 else REPLY

    with serve(script) as server:
        calls = [call(str(number), n=3, schema=SCHEMA) for number in range(4)]
        results, _ = ask(server, calls, concurrency=1, max_retries=0)
        assert results == [["yes"] * 3] * 4
        assert [body.get("n", 1) for body in server.requests].count(3) == 1, "remembered"
        assert all("response_format" in body for body in server.requests), "never in doubt"
        assert len(server.requests) == 1 + 4 * 3


def test_a_failure_at_a_request_for_several_replies_is_not_always_about_their_number() -> None:
    seen: list[int] = []

    def script(body: dict[str, Any]) -> Reply:
        seen.append(body.get("n", 1))
        return Fault("error") if len(seen) <= 2 else REPLY

    with serve(script) as server:
        results, _ = ask(server, [call(str(i), n=3) for i in range(3)], concurrency=1)
        assert results == [["yes"] * 3] * 3
        assert seen.count(3) >= 2, "an outage does not cost the run its n"


def test_a_server_without_schemas_keeps_n() -> None:
    def script(body: dict[str, Any]) -> Reply:
        return Fault("refuse", parameter="") if "response_format" in body else REPLY

    with serve(script) as server:
        calls = [call(str(number), n=2, schema=SCHEMA) for number in range(3)]
        results, _ = ask(server, calls, concurrency=1)
        assert results == [["yes"] * 2] * 3
        assert [body.get("n", 1) for body in server.requests] == [2, 1, 2, 2, 2]


def test_a_server_with_neither_is_asked_without_both() -> None:
    def script(body: dict[str, Any]) -> Reply:
        lacks = "response_format" in body or body.get("n", 1) > 1
        return Fault("refuse", parameter="") if lacks else REPLY

    with serve(script) as server:
        calls = [call(str(number), n=2, schema=SCHEMA) for number in range(2)]
        results, _ = ask(server, calls, concurrency=1)
        assert results == [["yes"] * 2] * 2


def test_replies_cut_inside_thoughts_say_so_now_and_in_a_resumed_run(tmp_path: Any) -> None:
    for number, reply in enumerate([Fault("thoughts"), "<think>Let me see"]):
        path = tmp_path / f"{number}.sqlite"
        for _ in range(2):
            with serve(lambda body, reply=reply: reply) as server, Journal(path, {}) as journal:
                [error], _ = ask(server, [call()], journal=journal)
            assert isinstance(error, ReplyError)
            assert "it ends inside the model's thoughts" in str(error)
            assert "raise endpoint.max_tokens" in str(error)


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("'sk-abcdefgh'", "a quotation mark"),
        ('"sk-abcdefgh', "a quotation mark"),
        ("sk-abc\nsk-def", "a line end"),
        ("sk-abc\r\nX-Evil: 1", "a line end"),
        ("sk abc", "a blank"),
        ("sk-äbc", "a character that is not ASCII"),
        ("sk-\x1babc", "a control character"),
    ],
)
def test_what_cannot_be_a_key_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, key: str, fault: str
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    with serve(lambda body: REPLY) as server:
        with pytest.raises(
            EndpointError, match=f"the API key in MY_KEY contains {fault}"
        ) as caught:
            ask(server, [call()], api_key_env="MY_KEY")
        assert not server.requests
    assert "abc" not in str(caught.value)


def test_the_query_of_an_address_goes_into_every_request() -> None:
    with serve(lambda body: REPLY) as server:
        for end in ("?api-version=2024-06-01&a=b&a=c", "/?api-version=2024-06-01&a=b&a=c"):
            assert ask(server, [call()], base_url=server.url + end)[0] == [["yes"]]
        assert {exchange.path for exchange in server.exchanges} == {
            "/v1/chat/completions?api-version=2024-06-01&a=b&a=c"
        }


def test_a_redirect_gets_neither_the_key_nor_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-abcdefgh")
    with serve(lambda body: REPLY) as other:
        place = f"{other.url}/chat/completions"
        with serve(lambda body: Fault("redirect", message=place)) as server:
            [error], _ = ask(server, [call()], api_key_env="MY_KEY")
        assert not other.exchanges
    assert isinstance(error, EndpointError)
    assert f"redirects to {place} (307)" in str(error)
    assert "endpoint.base_url" in str(error)


def test_what_an_endpoint_echoes_is_shown_without_secrets_and_escapes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", "abcd-1234-efgh")
    words = (
        "no key abcd-1234-efgh \x1b]0;own\x07 for hunter2hunter2 " + "x" * 150 + "abcd-1234-efgh"
    )
    extra = {"auth": {"token": "hunter2hunter2"}, "password": "hunter2hunter2"}
    for fault in (
        Fault("error", message=words),
        Fault("error", status=401, message=words),
        Fault("refuse", parameter="messages", message=words),
    ):
        with serve(lambda body, fault=fault: fault) as server:
            fields = {"api_key_env": "MY_KEY", "extra_body": extra, "max_retries": 0}
            [error], _ = ask(server, [call()], **fields)
        assert "no key *** " in str(error)
        for secret in ("abcd-1", "hunter2", "\x1b", "\x07"):
            assert secret not in str(error)


def test_an_address_is_shown_without_its_password() -> None:
    url = "http://me:hunter2hunter2@127.0.0.1:1/v1?api-key=abcd-1234-efgh"
    [error], _ = ask(None, [call()], base_url=url)
    assert "nothing answers at http://127.0.0.1:1/v1: " in str(error)
    assert "hunter2" not in str(error)
    assert "abcd-1" not in str(error)


def test_a_user_and_a_password_in_an_address_are_sent_as_such() -> None:
    with serve(lambda body: REPLY) as server:
        url = server.url.replace("://", "://me:p%40ss-word@")
        assert ask(server, [call()], base_url=url)[0] == [["yes"]]
        sent = server.exchanges[0].headers["authorization"]
        assert base64.b64decode(sent.removeprefix("Basic ")) == b"me:p@ss-word"


def test_a_recipe_that_was_saved_without_its_secrets_is_told_from_one_with_them() -> None:
    for fields in ({"base_url": "http://***@127.0.0.1:1/v1"}, {"extra_body": {"api_key": "***"}}):
        with pytest.raises(EndpointError, match="aspd saves recipes without secrets"):
            ask(None, [call()], **{"base_url": "http://127.0.0.1:1/v1", **fields})
