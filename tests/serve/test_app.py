"""What clients of OpenAI's API ask, and what comes, over HTTP from a real server."""

import json
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import openai
import pytest

from aspd_cli.engine.options import GenerationOptions

ASKED = [
    "What is 9 + 16 and 7 * 2?",
    "What is 3 + 4, 5 * 6 and 20 - 7?",
    "What is 12 + 7 and 18 - 5?",
    "Who are you?",
    "What is 2 * 9?",
    "What is 11 - 4 and 6 + 6 and 8 * 2 and 1 + 1?",
]
CHAT = {"messages": [{"role": "user", "content": ASKED[0]}]}


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def chat(client, prompt, **more):
    return client.chat.completions.create(
        model="aspd-tiny", messages=[{"role": "user", "content": prompt}], **more
    )


def post(url, body, *, headers=None, raw=None):
    """(status, body) of a POST with any body."""
    data = json.dumps(body).encode() if raw is None else raw
    headers = {"Content-Type": "application/json"} | (headers or {})
    return fetch(Request(url, data, headers))


def fetch(request):
    try:
        with urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def metric(server, name):
    """The sum of a metric over its labels."""
    _, text = fetch(Request(f"{server.url}/metrics"))
    lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


@pytest.mark.parametrize("mode", ["parallel", "serial", "plain"])
def test_answers_are_those_of_generate(mode, client, local):
    expected = local.generate(ASKED, mode=mode)
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda p: chat(client, p, extra_body={"mode": mode}), ASKED))
    for reply, output in zip(replies, expected, strict=True):
        [choice] = reply.choices
        assert choice.message.content == output.text
        assert choice.finish_reason == output.finish_reason
        assert reply.usage.prompt_tokens == output.stats.prompt_tokens
        assert reply.usage.completion_tokens == output.stats.tokens
        details = reply.usage.completion_tokens_details.model_extra
        assert details["useful_tokens"] == output.stats.useful_tokens
        assert details["branches"] == output.stats.branches


def test_a_stream_says_the_same_in_document_order(client, local):
    for prompt in ASKED:
        [output] = local.generate([prompt])
        chunks = list(chat(client, prompt, stream=True, stream_options={"include_usage": True}))
        *told, last, usage = chunks
        text = "".join(chunk.choices[0].delta.content or "" for chunk in told)
        assert text == output.text
        assert told[0].choices[0].delta.role == "assistant"
        assert last.choices[0].finish_reason == output.finish_reason
        assert usage.choices == []
        assert usage.usage.completion_tokens == output.stats.tokens
        if output.stats.tokens > 20:
            assert len(told) > 3, "it comes piece by piece"


def test_branch_events_say_what_each_branch_writes(client, local):
    [output] = local.generate([ASKED[1]])
    told = [
        event
        for chunk in chat(client, ASKED[1], stream=True, extra_body={"branch_events": True})
        for event in (chunk.choices[0].delta.model_extra or {}).get("aspd", [])
    ]
    [fork] = [event for event in told if event["type"] == "fork"]
    [block] = (
        output.document.blocks()
        if hasattr(output.document, "blocks")
        else [part for part in output.document.parts if not isinstance(part, str)]
    )
    titles = [branch["title"] for branch in fork["branches"]]
    assert titles == [branch.title for branch in block.branches]
    for number, branch in enumerate(fork["branches"]):
        texts = [e for e in told if e["type"] == "text" and e["branch"] == branch["branch"]]
        content = "".join(part for part in block.branches[number].content.parts)
        assert "".join(e["text"] for e in texts) == block.leads[number] + content
        assert {e["title"] for e in texts} == {branch["title"]}
    order = [event["branch"] for event in told if event["type"] == "text" and event["branch"]]
    assert order != sorted(order), "they grow at the same time"
    assert [event["type"] for event in told].count("merge") == 1


def test_what_else_a_choice_may_hold(client, local):
    [output] = local.generate([ASKED[0]])
    reply = chat(
        client, ASKED[0], extra_body={"return_markup": True, "return_token_ids": True}
    ).choices[0]
    assert reply.model_extra["aspd"]["markup"] == output.markup
    assert reply.model_extra["aspd"]["stats"]["steps"] == output.stats.steps
    assert reply.model_extra["token_ids"] == output.token_ids


def test_limits_stops_and_systems_count(client, local):
    cut = chat(client, ASKED[1], max_completion_tokens=9)
    [output] = local.generate([ASKED[1]], max_new_tokens=9)
    assert cut.choices[0].finish_reason == "length"
    assert cut.choices[0].message.content == output.text
    for stop in ("14", ["14"], ["zzz", "14"]):
        stopped = chat(client, ASKED[0], stop=stop).choices[0]
        assert stopped.message.content == local.generate([ASKED[0]], stop="14")[0].text
        streamed = chat(client, ASKED[0], stop=stop, stream=True)
        text = "".join(c.choices[0].delta.content or "" for c in streamed if c.choices)
        assert text == stopped.message.content
    parts = [{"type": "text", "text": "What is 9 + 16 "}, {"type": "text", "text": "and 7 * 2?"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    reply = client.chat.completions.create(model="aspd-tiny", messages=messages)
    [briefed] = local.generate([ASKED[0]], system="Be brief.")
    assert reply.choices[0].message.content == briefed.text


def test_choices_and_seeds(client, local):
    warm = {"temperature": 1.5, "seed": 7, "n": 3}
    one, same = chat(client, ASKED[0], **warm), chat(client, ASKED[0], **warm)
    texts = [choice.message.content for choice in one.choices]
    assert [choice.index for choice in one.choices] == [0, 1, 2]
    assert len(set(texts)) > 1
    assert texts == [choice.message.content for choice in same.choices]
    expected = local.generate([ASKED[0]] * 3, temperature=1.5, seed=7)
    assert texts == [output.text for output in expected]
    assert one.usage.prompt_tokens == expected[0].stats.prompt_tokens
    streamed = {0: "", 1: "", 2: ""}
    for chunk in chat(client, ASKED[0], **warm, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert list(streamed.values()) == texts
    free = {chat(client, ASKED[0], temperature=1.5).choices[0].message.content for _ in range(4)}
    assert len(free) > 1, "without a seed each draws anew"


def test_completions_of_texts_and_of_token_ids(client, local):
    text = "The sum of 3 and 4 is"
    ids = local.codec.encode_first(text)
    options = GenerationOptions(mode="plain", max_new_tokens=8)
    [expected] = [e.output for _, e in local.run([ids], options) if hasattr(e, "output")]
    for prompt in (text, ids):
        reply = client.completions.create(model="aspd-tiny", prompt=prompt, max_tokens=8)
        assert reply.choices[0].text == expected.text
    both = client.completions.create(
        model="aspd-tiny", prompt=[ids, ids[:4]], max_tokens=8, echo=True
    )
    assert [choice.index for choice in both.choices] == [0, 1]
    assert both.choices[0].text == text + expected.text
    assert both.usage.prompt_tokens == len(ids) + 4
    streamed = client.completions.create(
        model="aspd-tiny", prompt=text, max_tokens=8, echo=True, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in streamed) == text + expected.text


def test_log_probabilities(client, local):
    ids = local.codec.encode_first("What is 9 + 16 and 7 * 2?")
    asked = {"model": "aspd-tiny", "prompt": ids, "echo": True, "logprobs": 2}
    alone = client.completions.create(**asked, max_tokens=0).choices[0]
    more = client.completions.create(**asked, max_tokens=1).choices[0]
    assert len(alone.logprobs.tokens) == len(ids)
    assert len(more.logprobs.tokens) == len(ids) + 1
    assert alone.logprobs.token_logprobs == more.logprobs.token_logprobs[:-1]
    assert more.logprobs.token_logprobs[0] is None
    assert "".join(alone.logprobs.tokens) == alone.text
    for logprob, top in zip(
        more.logprobs.token_logprobs[1:], more.logprobs.top_logprobs[1:], strict=True
    ):
        assert logprob <= max(top.values()) + 1e-6
    assert more.logprobs.token_logprobs[-1] == pytest.approx(
        max(more.logprobs.top_logprobs[-1].values())
    )
    told = chat(client, ASKED[0], logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert all(len(entry.top_logprobs) in (1, 2) for entry in told)
    assert all(entry.logprob <= 0 for entry in told)


def test_models_tokens_and_health(server, client, local):
    [model] = client.models.list().data
    assert (model.id, model.model_extra["max_model_len"]) == ("aspd-tiny", local.context)
    assert client.models.retrieve("aspd-tiny").id == "aspd-tiny"
    assert fetch(Request(f"{server.url}/health"))[0] == 200
    assert fetch(Request(f"{server.url}/v1/models/other"))[0] == 404
    _, text = post(f"{server.url}/tokenize", CHAT)
    found = json.loads(text)
    assert found["tokens"] == local.encode(ASKED[0], GenerationOptions())
    assert found["count"] == len(found["tokens"])
    _, text = post(f"{server.url}/tokenize", {"prompt": "Ada <|para|> wrote"})
    ids = json.loads(text)["tokens"]
    assert local.codec.control.para not in ids, "text is text"
    _, text = post(f"{server.url}/detokenize", {"tokens": ids})
    assert json.loads(text)["prompt"] == "Ada <|para|> wrote"


def test_metrics_count_what_came(server, client):
    names = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total", "aspd:useful_tokens_total")
    before = [metric(server, name) for name in names]
    branches, steps = metric(server, "aspd:branches_total"), metric(server, "aspd:steps_total")
    reply = chat(client, ASKED[0])
    details = reply.usage.completion_tokens_details.model_extra
    used = (reply.usage.prompt_tokens, reply.usage.completion_tokens, details["useful_tokens"])
    assert [metric(server, name) for name in names] == [
        a + b for a, b in zip(before, used, strict=True)
    ]
    assert metric(server, "aspd:branches_total") == branches + details["branches"]
    assert metric(server, "aspd:steps_total") >= steps + details["steps"]
    assert metric(server, "vllm:num_requests_running") == 0
    assert metric(server, "vllm:e2e_request_latency_seconds_count") > 0


BAD_CHATS = [
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": ["hi"]}, "messages"),
    ({"messages": [{"content": "hi"}]}, "role"),
    ({"messages": [{"role": 1, "content": "hi"}]}, "role"),
    ({"messages": [{"role": "<|im_end|>", "content": "hi"}]}, "role"),
    ({"messages": [{"role": "user"}]}, "content"),
    ({"messages": [{"role": "user", "content": None}]}, "content"),
    ({"messages": [{"role": "user", "content": " "}]}, "empty"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "only text"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, "surrogate"),
    ({"messages": [{"role": "assistant", "content": "hi"}]}, "assistant"),
    ({**CHAT, "model": "gpt-4"}, "gpt-4"),
    ({**CHAT, "model": 3}, "model"),
    ({**CHAT, "temperature": -1}, "temperature"),
    ({**CHAT, "temperature": "hot"}, "temperature"),
    ({**CHAT, "top_p": 0}, "top_p"),
    ({**CHAT, "top_p": 1.5}, "top_p"),
    ({**CHAT, "top_k": -2}, "top_k"),
    ({**CHAT, "min_p": 2}, "min_p"),
    ({**CHAT, "n": 0}, "n"),
    ({**CHAT, "n": 1000}, "n"),
    ({**CHAT, "max_tokens": 0}, "max_tokens"),
    ({**CHAT, "max_tokens": 1.5}, "max_tokens"),
    ({**CHAT, "max_completion_tokens": -1}, "max_completion_tokens"),
    ({**CHAT, "stop": [""]}, "stop"),
    ({**CHAT, "stop": 3}, "stop"),
    ({**CHAT, "stop": ["a"] * 99}, "stop"),
    ({**CHAT, "seed": "x"}, "seed"),
    ({**CHAT, "stream": "yes"}, "stream"),
    ({**CHAT, "stream": True, "logprobs": True}, "logprobs"),
    ({**CHAT, "top_logprobs": 99}, "top_logprobs"),
    ({**CHAT, "tools": [{"type": "function"}]}, "tools"),
    ({**CHAT, "response_format": {"type": "json_object"}}, "response_format"),
    ({**CHAT, "presence_penalty": 1.0}, "presence_penalty"),
    ({**CHAT, "logit_bias": {"1": 5.0}}, "logit_bias"),
    ({**CHAT, "mode": "fast"}, "mode"),
    ({**CHAT, "max_branches": 1}, "max_branches"),
    ([], "object"),
    (3, "object"),
    ({"messages": [{"role": "user", "content": "long " * 9000}]}, "context"),
]
BAD_COMPLETIONS = [
    ({}, "prompt"),
    ({"prompt": ""}, "empty"),
    ({"prompt": []}, "empty"),
    ({"prompt": [""]}, "empty"),
    ({"prompt": [[]]}, "empty"),
    ({"prompt": [-1]}, "token id"),
    ({"prompt": [10**9]}, "token id"),
    ({"prompt": [True]}, "prompt"),
    ({"prompt": [1, "a"]}, "prompt"),
    ({"prompt": "hi", "max_tokens": 0}, "max_tokens"),
    ({"prompt": "hi", "logprobs": 50}, "logprobs"),
    ({"prompt": "hi", "suffix": "!"}, "suffix"),
    ({"prompt": "hi", "best_of": 4}, "best_of"),
    ({"prompt": ["hi"] * 999}, "at most"),
    ({"prompt": ["hi"] * 999, "max_tokens": 0, "echo": True}, "at most"),
    ({"prompt": "\udfff"}, "surrogate"),
]


@pytest.mark.parametrize(("body", "said"), BAD_CHATS, ids=lambda value: str(value)[:60])
def test_a_bad_chat_request_gets_a_sentence(body, said, server):
    refused(post(f"{server.url}/v1/chat/completions", body), said)


@pytest.mark.parametrize(("body", "said"), BAD_COMPLETIONS, ids=lambda value: str(value)[:60])
def test_a_bad_completion_request_gets_a_sentence(body, said, server):
    refused(post(f"{server.url}/v1/completions", body), said)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b'{"messages": NaN}', "JSON"),
        (b"[" * 100_000, "nested"),
        (b'{"messages": "' + b"x" * 2**21 + b'"}', "longer"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_json_gets_a_sentence(raw, said, server):
    refused(post(f"{server.url}/v1/chat/completions", None, raw=raw), said)


def refused(reply, said):
    status, text = reply
    error = json.loads(text)["error"]
    assert 400 <= status < 500
    assert said in error["message"]
    assert "\n" not in error["message"]
    assert error["code"] == status


def test_random_bodies_never_break_it(server):
    """Mutations of good bodies: whatever comes, the reply is JSON, and the server goes on."""
    draw = random.Random(5)
    values = [None, True, 0, -1, 1.5, 10**30, "", "x", [], [1], {}, {"a": 1}, "\ud800", ["a", 2]]
    good = {**CHAT, "max_tokens": 4, "n": 1, "stop": "z", "temperature": 0.0, "mode": "serial"}
    for _ in range(150):
        body = dict(good)
        for name in draw.sample([*good, "seed", "top_k", "stream_options", "tools"], 2):
            body[name] = draw.choice(values)
        status, text = post(f"{server.url}/v1/chat/completions", body)
        assert status < 500, (body, text)
        assert json.loads(text)
    assert fetch(Request(f"{server.url}/health"))[0] == 200


def test_paths_and_methods(server):
    refused(fetch(Request(f"{server.url}/v1/nothing")), "nothing")
    refused(fetch(Request(f"{server.url}/v1/chat/completions")), "GET")
    refused(fetch(Request(f"{server.url}/health", method="DELETE")), "DELETE")


@pytest.mark.parametrize("streamed", [True, False])
def test_clients_that_go_away_free_their_lanes(streamed, server):
    """At any moment: in the middle of an answer, or while it waits for a row."""
    draw = random.Random(3)
    host, port = server.url.removeprefix("http://").split(":")
    body = json.dumps({**CHAT, "stream": streamed, "n": 4, "temperature": 2.0}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    )
    asked = head.encode() + b"Content-Type: application/json\r\n\r\n" + body
    dropped = metric(server, "aspd:requests_dropped_total")
    for _ in range(100):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(asked[: draw.choice([len(asked), len(asked), len(asked) - 9])])
            time.sleep(draw.random() * 0.06)
    until(lambda: metric(server, "vllm:num_requests_running") == 0)
    assert metric(server, "aspd:lanes") == 0
    assert metric(server, "vllm:num_requests_waiting") == 0
    assert metric(server, "aspd:requests_dropped_total") > dropped
