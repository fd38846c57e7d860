"""The server as a process: who may reach it, how much it takes, how it ends."""

import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from urllib.error import URLError
from urllib.request import Request

import pytest

from tests.serve.conftest import served
from tests.serve.test_app import ASKED, CHAT, fetch, metric, post, until


def run(*arguments, **environment):
    command = [sys.executable, "-m", "aspd_cli", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_what_cannot_be_served_is_refused_before_a_model_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = run("--port", port)
        assert (found.returncode, found.stdout) == (1, "")
        assert f"cannot listen on 127.0.0.1:{port}" in found.stderr
    for arguments, said in (
        (("--host", "0.0.0.0"), "set an API key in ASPD_API_KEY"),
        (("--max-lanes", "4", "--max-num-seqs", "8"), "max_lanes=4"),
        (("--port", "99999"), "serve.port"),
    ):
        found = run(*arguments)
        assert found.returncode == 2
        assert said in found.stderr
        assert found.stderr.count("\n") == 1


def test_with_a_key_only_who_has_it_is_served():
    with served(key="sesame-1234") as server:
        url = f"{server.url}/v1/chat/completions"
        assert fetch(Request(f"{server.url}/health"))[0] == 200
        assert fetch(Request(f"{server.url}/"))[0] == 200
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "sesame"}):
            status, text = post(url, CHAT, headers=headers)
            assert status == 401
            assert "API key" in json.loads(text)["error"]["message"]
            assert fetch(Request(f"{server.url}/metrics", headers=headers))[0] == 401
        known = {"Authorization": "Bearer sesame-1234"}
        assert post(url, CHAT, headers=known)[0] == 200
        assert post(url, CHAT, headers={**known, "Host": "models.example"})[0] == 200
        server.end()
        assert "sesame" not in "".join(server.said)


def test_pages_of_others_cannot_ask_through_a_browser(server):
    url = f"{server.url}/v1/chat/completions"
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert post(url, CHAT, headers={"Content-Type": kind})[0] == 415
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "["):
        status, text = post(url, CHAT, headers={"Host": host})
        assert status == 403
        assert "localhost" in json.loads(text)["error"]["message"]
    preflight = Request(url, method="OPTIONS", headers={"Origin": "https://evil.example"})
    assert fetch(preflight)[0] == 405
    assert post(url, CHAT, headers={"Host": "localhost:1"})[0] == 200


def test_a_full_queue_says_when_to_come_again():
    with served("--max-num-seqs", "1", "--max-queue", "2") as server:
        url = f"{server.url}/v1/chat/completions"
        body = {**CHAT, "temperature": 3.0, "seed": 1, "max_tokens": 900}
        with ThreadPoolExecutor(12) as pool:
            statuses = list(pool.map(lambda _: post(url, body)[0], range(12)))
        assert set(statuses) == {200, 429}
        assert statuses.count(200) >= 3
        assert metric(server, "aspd:requests_refused_total") == statuses.count(429)
        assert post(url, CHAT)[0] == 200


def test_a_signal_to_end_loses_no_accepted_request():
    with served("--max-num-seqs", "2") as server:
        url = f"{server.url}/v1/chat/completions"
        expected = json.loads(post(url, CHAT)[1])["choices"][0]["message"]["content"]
        body = {**CHAT, "n": 16}
        with ThreadPoolExecutor(8) as pool:
            replies = [pool.submit(post, url, body) for _ in range(8)]
            until(lambda: metric(server, "vllm:num_requests_waiting") > 100)
            code = server.end()
        for status, text in (reply.result() for reply in replies):
            assert status == 200
            texts = {c["message"]["content"] for c in json.loads(text)["choices"]}
            assert texts == {expected}
        assert code == -signal.SIGTERM
        assert "Traceback" not in "".join(server.said)


def test_a_server_that_is_killed_comes_back_at_the_same_address():
    with served() as server:
        url = f"{server.url}/v1/chat/completions"
        expected = json.loads(post(url, CHAT)[1])["choices"][0]["message"]["content"]
        with ThreadPoolExecutor(8) as pool:
            replies = [pool.submit(post, url, {**CHAT, "n": 16}) for _ in range(8)]
            until(lambda: metric(server, "vllm:num_requests_waiting") > 10)
            assert server.end(signal.SIGKILL) == -signal.SIGKILL
            lost = 0
            for reply in replies:  # each client has its whole answer, or is told by its connection
                try:
                    status, body, *_ = reply.result()
                except (ConnectionError, HTTPException, URLError):
                    lost += 1
                else:
                    assert (status, len(json.loads(body)["choices"])) == (200, 16)
            assert lost
    with served("--port", url.split(":")[2].split("/")[0]) as again:
        assert f"{again.url}/v1/chat/completions" == url
        reply = json.loads(post(url, CHAT)[1])["choices"][0]["message"]["content"]
        assert reply == expected


def test_prompts_are_logged_only_where_asked_for(server):
    post(f"{server.url}/v1/chat/completions", CHAT)
    until(lambda: any("/v1/chat/completions" in line for line in server.said))
    assert ASKED[0] not in "".join(server.said)
    with served("--log-prompts") as told:
        post(f"{told.url}/v1/chat/completions", CHAT)
        until(lambda: any(ASKED[0] in line for line in told.said))
        assert told.end(signal.SIGINT) == 130
        assert "Traceback" not in "".join(told.said)


@pytest.mark.slow
def test_memory_stays_flat_over_thousands_of_requests():
    def resident(process):
        with open(f"/proc/{process.pid}/statm") as file:
            return int(file.read().split()[1]) * 4096

    with served() as server, ThreadPoolExecutor(16) as pool:
        url = f"{server.url}/v1/chat/completions"

        def ask(number):
            body = {
                "messages": [{"role": "user", "content": f"What is {number % 20} + 3 and 4 * 5?"}]
            }
            return post(url, body)[0]

        assert set(pool.map(ask, range(1000))) == {200}
        early = resident(server.process)
        assert set(pool.map(ask, range(4000))) == {200}
        assert resident(server.process) < 1.1 * early
