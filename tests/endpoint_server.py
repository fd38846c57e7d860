"""An OpenAI-compatible chat endpoint on loopback, for tests: real HTTP, and every fault on demand.

    with serve(script) as server:       # script(request body) -> str | list[str] | Fault
        Endpoint(EndpointSection(base_url=server.url, model="m"))
        server.requests                 # the bodies that arrived, in order

As a process of its own, whose counts outlive a killed client, one JSON line a request in FILE:

    python -m tests.endpoint_server --latency 0.2 --slots 64 --log FILE --script module:function
"""

import argparse
import asyncio
import importlib
import json
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

Kind = Literal[
    "slow", "rate-limit", "quota", "error", "unauthorized", "no-model", "refuse", "hang", "drop",
    "cut", "html", "malformed", "no-choices", "fewer", "empty", "list", "object", "no-usage",
    "thoughts", "redirect",
]  # fmt: skip
RANDOM_KINDS: tuple[Kind, ...] = (
    "slow", "rate-limit", "error", "drop", "cut", "html", "malformed", "no-choices", "fewer",
    "empty", "list",
)  # fmt: skip
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request."""

    kind: Kind
    texts: tuple[str, ...] = ("a reply",)
    """What slow, fewer (only the first), list, object and no-usage reply."""
    seconds: float = 0.3
    """How long a slow reply takes beyond the latency."""
    retry_after: float | None = None
    """The Retry-After header of a rate limit or an error, in seconds."""
    status: int = 500
    """The status of an error."""
    parameter: str = "response_format"
    """Which parameter a refusal is about; an empty one is not named."""
    message: str = ""
    """What an error or a refusal says instead of its usual words; where a redirect leads."""


Reply = str | list[str] | Fault
Script = Callable[[dict[str, Any]], Reply]


@dataclass(slots=True)
class Exchange:
    """One request, and what became of it."""

    body: dict[str, Any]
    headers: dict[str, str]
    arrived: float
    """Seconds of `time.monotonic`."""
    status: int = 0
    """Of the response; 0 while there is none."""
    path: str = ""
    """What was asked for, with its query."""
    sent: bool = False
    """The whole response was handed to the socket."""


@dataclass
class Server:
    """A running endpoint."""

    script: Script
    latency: float = 0.0
    """Seconds from a request to its reply."""
    slots: int = 10_000
    """Requests that are worked on at once; further ones wait."""
    log: IO[str] | None = None
    """Gets one JSON line a request: its body's messages, and the status it was answered with."""
    keep: bool = True
    """Whether `exchanges` grows; a benchmark of many requests turns it off."""
    exchanges: list[Exchange] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    """What the script raised; `serve` raises the first at its end."""
    port: int = 0
    models: list[str] = field(default_factory=lambda: ["m"])
    """What `GET /v1/models` lists."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The bodies of all requests so far, in the order of their arrival."""
        return [exchange.body for exchange in self.exchanges]

    async def start(self, port: int = 0) -> asyncio.Server:
        self._free = asyncio.Semaphore(self.slots)
        server = await asyncio.start_server(self._connection, "127.0.0.1", port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                start, *lines = head.split("\r\n")
                headers = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines if line)
                }
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                if "/chat/completions" not in start:
                    cards = [{"id": name, "owned_by": "somebody"} for name in self.models]
                    known = start.startswith("GET /v1/models ")
                    content = _dump({"data": cards}) if known else b"{}"
                    writer.write(_response(200 if known else 404, content))
                    continue
                exchange = Exchange(json.loads(raw), headers, time.monotonic())
                exchange.path = start.split(" ")[1]
                if self.keep:
                    self.exchanges.append(exchange)
                async with self._free:
                    await asyncio.sleep(self.latency)
                    stays = await self._answer(exchange, writer)
                if self.log:
                    line = {"messages": exchange.body["messages"], "status": exchange.status}
                    self.log.write(json.dumps(line) + "\n")
                    self.log.flush()
                if not stays:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client is gone, or the server is being stopped
        finally:
            writer.close()

    async def _answer(self, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
        """Writes the response; false when the connection is to be closed."""
        try:
            reply = self.script(exchange.body)
        except Exception as error:  # a failed assertion of a test, or its mistake
            self.errors.append(error)
            reply = Fault("error")
        fault = reply if isinstance(reply, Fault) else None
        kind = fault.kind if fault else None
        if fault and kind == "slow":
            await asyncio.sleep(fault.seconds)
        if kind == "hang":
            await asyncio.sleep(3600)
        if kind == "drop":
            return False
        status, headers, payload = _content(exchange.body, reply)
        if exchange.body.get("stream") and status == 200 and kind in (None, "cut", "slow"):
            headers, payload = {"Content-Type": "text/event-stream"}, _chunks(json.loads(payload))
        exchange.status = status
        data = _response(status, payload, headers)
        writer.write(data[: len(data) - len(payload) // 2] if kind == "cut" else data)
        await writer.drain()
        exchange.sent = kind != "cut"
        return kind != "cut"


def _content(body: dict[str, Any], reply: Reply) -> tuple[int, dict[str, str], bytes]:
    """Status, further headers and payload of a response."""
    if not isinstance(reply, Fault):
        return 200, {}, _dump(_completion(body, [reply] if isinstance(reply, str) else reply))
    texts = list(reply.texts)
    after = {} if reply.retry_after is None else {"Retry-After": f"{reply.retry_after:g}"}
    match reply.kind:
        case "rate-limit":
            return 429, after, _error("Rate limit reached", "rate_limit_exceeded")
        case "quota":
            return 429, {}, _error("You exceeded your current quota", "insufficient_quota")
        case "error":
            return reply.status, after, _error(reply.message or "The server had an error", None)
        case "unauthorized":
            return 401, {}, _error("Incorrect API key provided", "invalid_api_key")
        case "no-model":
            return 404, {}, _error(f"The model `{body['model']}` does not exist", "model_not_found")
        case "refuse":
            name = reply.parameter
            words = f"Unsupported parameter: '{name}'" if name else "Bad"
            return 400, {}, _error(reply.message or words, None, name)
        case "redirect":
            return 307, {"Location": reply.message}, b""
        case "thoughts":
            value = _completion(body, [None] * body.get("n", 1))
            for choice in value["choices"]:
                choice["finish_reason"] = "length"
            return 200, {}, _dump(value)
        case "html":
            return 200, {"Content-Type": "text/html"}, b"<html><body>Gateway</body></html>"
        case "malformed":
            payload = _dump(_completion(body, texts))
            return 200, {}, payload[: len(payload) * 2 // 3]
        case "no-choices":
            return 200, {}, _dump(_completion(body, []))
        case "fewer":
            return 200, {}, _dump(_completion(body, texts[:1], short=True))
        case "empty":
            return 200, {}, _dump(_completion(body, [None] * body.get("n", 1)))
        case "list":
            parts = [[{"type": "text", "text": text}] for text in texts]
            return 200, {}, _dump(_completion(body, parts))
        case "object":
            return 200, {}, _dump(_completion(body, [json.loads(text) for text in texts]))
        case "no-usage":
            return 200, {}, _dump({**_completion(body, texts), "usage": None})
        case _:
            return 200, {}, _dump(_completion(body, texts))


def _completion(body: dict[str, Any], contents: list[Any], short: bool = False) -> dict[str, Any]:
    """A chat completion: n choices, where fewer contents are given they repeat from the first."""
    wanted = body.get("n", 1)
    if contents and not short:
        contents = [contents[i % len(contents)] for i in range(wanted)]
    prompt = tokens("".join(str(turn["content"]) for turn in body["messages"]))
    written = sum(
        tokens(content if isinstance(content, str) else json.dumps(content))
        for content in contents
        if content is not None
    )
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {
                "index": index,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": content},
            }
            for index, content in enumerate(contents)
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": written,
            "total_tokens": prompt + written,
        },
    }


def _chunks(whole: dict[str, Any]) -> bytes:
    """A chat completion of one choice as a stream, word by word."""
    text, usage = whole["choices"][0]["message"]["content"], whole.pop("usage")
    words = re.findall(r"\S+|\s+", text)
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
    choices = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
    choices.append([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    chunks = [{**whole, "choices": each} for each in choices]
    chunks.append({**whole, "choices": [], "usage": usage})
    return b"".join(b"data: %b\n\n" % _dump(chunk) for chunk in chunks) + b"data: [DONE]\n\n"


def tokens(text: str) -> int:
    """The tokens that this endpoint charges for a text: one for four bytes."""
    return -(-len(text.encode(errors="replace")) // 4)


def _dump(value: object) -> bytes:
    return json.dumps(value).encode()


def _error(message: str, code: str | None, param: str | None = None) -> bytes:
    return _dump({"error": {"message": message, "type": "error", "param": param, "code": code}})


def _response(status: int, payload: bytes, headers: dict[str, str] | None = None) -> bytes:
    given = {"Content-Type": "application/json", "Content-Length": len(payload), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\n{lines}\r\n".encode() + payload


def faulty(script: Script, rate: float, seed: int = 0, kinds: tuple[Kind, ...] = ()) -> Script:
    """`script`, with a fault in place of its reply at random; a fault that replies, replies it.

    What becomes of a request depends on its messages and on how often they were asked before, never
    on the order in which different requests arrive: the same calls meet the same faults each run.
    """
    asked: Counter[str] = Counter()

    def faults(body: dict[str, Any]) -> Reply:
        reply = script(body)
        messages = json.dumps(body["messages"])
        asked[messages] += 1
        draw = random.Random(f"{seed} {asked[messages]} {messages}")
        if isinstance(reply, Fault) or draw.random() >= rate:
            return reply
        texts = (reply,) if isinstance(reply, str) else tuple(reply)
        return Fault(draw.choice(kinds or RANDOM_KINDS), texts, seconds=0.05)

    return faults


@contextmanager
def serve(
    script: Script, *, latency: float = 0.0, slots: int = 10_000, kind: type[Server] = Server
) -> Iterator[Server]:
    """An endpoint on a thread of its own, until the block is left."""
    server = kind(script, latency, slots)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listening = asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    try:
        yield server
    finally:

        async def stop() -> None:
            listening.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    if server.errors:
        raise server.errors[0]


def echo(body: dict[str, Any]) -> Reply:
    """The default script: the end of the last message, as a JSON object."""
    return json.dumps({"reply": str(body["messages"][-1]["content"])[-40:]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds to a reply")
    parser.add_argument("--slots", type=int, default=10_000, help="requests at once")
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that fail")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--script", default="tests.endpoint_server:echo", help="module:function")
    parser.add_argument("--log", type=Path, help="gets one JSON line a request")
    args = parser.parse_args()
    module, _, name = args.script.partition(":")
    script = faulty(getattr(importlib.import_module(module), name), args.faults, args.seed)
    log = args.log.open("a") if args.log else None

    async def run() -> None:
        server = Server(script, args.latency, args.slots, log, keep=False)
        listening = await server.start(args.port)
        print(server.url, flush=True)
        await listening.serve_forever()

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    # Not this module, which a script that imports it would get a second time.
    importlib.import_module("tests.endpoint_server").main()
