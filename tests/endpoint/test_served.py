"""A model behind a plain OpenAI-compatible server: its one lane, its errors, what it cannot be."""

import socket

import pytest

from aspd_cli.endpoint.served import ServedModel
from aspd_cli.endpoint.streaming import ServedAnswer
from aspd_cli.engine.events import AnyEvent, Done, Text
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.errors import AspdError, EndpointError, ReplyError, UsageError
from aspd_cli.recipe.endpoint import ServerSection
from tests.endpoint_server import Fault, Kind, Server, serve

ASKED = [{"role": "user", "content": "Hi"}]
WORDS = "one two  three"


def ask(server: Server, section: ServerSection | None = None) -> list[AnyEvent]:
    section = section or ServerSection(base_url=server.url)
    with ServedModel(section, patient=False) as model:
        return list(model.stream(ASKED, model.fields(GenerationOptions())))


def test_an_answer_is_one_text_as_it_comes() -> None:
    with serve(lambda _: WORDS) as server:
        *events, done = ask(server)
    assert events == [Text(0, each) for each in ("one", " ", "two", "  ", "three")]
    assert isinstance(done, Done)
    answer = done.output
    assert (answer.text, answer.finish_reason, answer.markup) == (WORDS, "stop", None)
    assert answer.stats["tokens"] == 4
    assert 0 < answer.stats["ttft_s"] <= answer.stats["time_s"]
    assert not answer.stats.keys() & {"steps", "branches", "useful_tokens"}


def test_a_server_that_is_not_ours_gets_openai_fields_only() -> None:
    with serve(lambda _: WORDS) as server:
        ask(server)
        [body] = server.requests
    assert body == {
        "model": "m",
        "messages": ASKED,
        "temperature": 0.0,
        "max_tokens": 1024,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_further_answers_to_a_prompt_take_further_seeds() -> None:
    options = GenerationOptions(temperature=0.7, seed=5, top_k=3, stop=("x",), max_new_tokens=9)
    with serve(lambda _: WORDS) as server, ServedModel(ServerSection(base_url=server.url)) as m:
        told = m.fields(options, draw=2)
    expected = {"temperature": 0.7, "max_tokens": 9, "top_k": 3, "seed": 7, "stop": ["x"]}
    assert told == expected


@pytest.mark.parametrize(
    ("options", "mode", "named"),
    [
        (GenerationOptions(), "serial", "generation.mode"),
        (GenerationOptions(max_branch_tokens=5), None, "generation.max_branch_tokens"),
        (GenerationOptions(max_depth=1), None, "generation.max_depth"),
    ],
)
def test_what_a_server_cannot_be_told_is_refused(
    options: GenerationOptions, mode: "str | None", named: str
) -> None:
    with (
        serve(lambda _: WORDS) as server,
        ServedModel(ServerSection(base_url=server.url)) as model,
        pytest.raises(UsageError, match=named),
    ):
        model.fields(options, mode)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ("unauthorized", EndpointError, "does not accept the key in OPENAI_API_KEY"),
        ("no-model", EndpointError, "has no model 'm'"),
        ("rate-limit", EndpointError, "gave no whole answer: 429"),
        ("cut", EndpointError, "gave no whole answer: "),
        ("drop", EndpointError, "gave no whole answer: the connection broke"),
        ("html", EndpointError, "only the begin of an answer"),
        ("error", EndpointError, "gave no whole answer: 500"),
        ("refuse", ReplyError, "refuses the request"),
    ],
)
def test_what_goes_wrong_is_one_sentence(fault: Kind, kind: type[AspdError], says: str) -> None:
    reply = Fault(fault, (WORDS * 50,), parameter="tools")
    with serve(lambda _: reply) as server, pytest.raises(kind, match=says) as caught:
        ask(server)
    assert "\n" not in str(caught.value)


def test_nothing_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(EndpointError, match=f"nothing answers at {url}/v1"):
            ServedModel(ServerSection(base_url=url)).__enter__()


def test_of_several_models_one_must_be_named() -> None:
    with serve(lambda _: WORDS) as server:
        server.models = ["a", "b"]
        with pytest.raises(EndpointError, match="serves a, b: choose one by its name"):
            ask(server)
        ask(server, ServerSection(base_url=server.url, model="b"))
        assert server.requests[-1]["model"] == "b"
        server.models = []
        with pytest.raises(EndpointError, match="does not list its models: choose one"):
            ask(server)


def test_many_are_asked_at_once_and_what_is_refused_stops_none() -> None:
    def script(body: dict) -> "str | Fault":  # type: ignore[type-arg]
        asked = body["messages"][0]["content"]
        return Fault("refuse", parameter="tools") if asked == "2" else f"to {asked}"

    asked = [([{"role": "user", "content": str(at)}], {}) for at in range(6)]
    with serve(script, latency=0.1) as server:
        with ServedModel(ServerSection(base_url=server.url)) as model:
            found = dict(model.answers(asked, 3))
        spans = sorted(exchange.arrived for exchange in server.exchanges)
    assert isinstance(found.pop(2), ReplyError)
    texts = {at: each.text for at, each in found.items() if isinstance(each, ServedAnswer)}
    assert texts == {at: f"to {at}" for at in (0, 1, 3, 4, 5)}
    assert spans[2] - spans[0] < 0.09 < spans[3] - spans[0]
