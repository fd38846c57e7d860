"""The emulated vLLM behind HTTP: what the planner uses of `/v1/models` and `/v1/completions`."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from aspd_cli.engine.grammar import Choice
from aspd_cli.vllm.token_engine import TokenOutput, TokenRequest
from tests.vllm.emulator import EmulatedVllm


class Completions:
    """A server for the time of a test.

    Args:
        owner: what `/v1/models` says of who serves.
    """

    def __init__(self, engine: EmulatedVllm, owner: str = "vllm", key: str = "") -> None:
        self.engine, self.owner, self.key = engine, owner, key
        self.inboxes: dict[str, asyncio.Queue[TokenOutput]] = {}
        self.numbers = count()
        self.refuses = False

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Serves at the address that it gives."""
        routes = [
            Route("/v1/models", self.models),
            Route("/v1/completions", self.complete, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), port=0, log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True
        thread.join()

    async def models(self, request: Request) -> JSONResponse:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": "Unauthorized"}, 401)
        card = {"id": "m", "owned_by": self.owner, "max_model_len": 4096}
        return JSONResponse({"data": [card]})

    async def complete(self, request: Request) -> Any:
        body = await request.json()
        if self.refuses:
            return JSONResponse({"error": {"message": "max_tokens is too large"}}, 400)
        assert body["model"] == "m"
        assert body["return_token_ids"]
        wanted = TokenRequest(
            f"r{next(self.numbers)}",
            body["prompt"],
            body["max_tokens"],
            body["stop_token_ids"],
            choice=_choice(body),
            salt=body.get("cache_salt"),
            cache=body["kv_transfer_params"]["aspd"],
            streams=body["stream"],
            logprobs=body.get("logprobs"),
        )
        self.inboxes[wanted.id] = asyncio.Queue()
        self.engine.submit(wanted)
        if body["stream"]:
            return StreamingResponse(self.lines(wanted), media_type="text/event-stream")
        async for output in self.outputs(wanted):
            if output.lost:
                return JSONResponse({"error": {"message": "Internal server error"}}, 500)
            return JSONResponse(_chunk(output) | {"kv_transfer_params": {"aspd": output.told}})
        return JSONResponse({"choices": []})  # a release

    async def lines(self, request: TokenRequest) -> AsyncIterator[str]:
        async for output in self.outputs(request):
            chunk = _chunk(output)
            if output.lost:
                chunk = {"error": {"message": "Internal server error", "code": 500}}
            yield f"data: {json.dumps(chunk)}\n\n"
        yield "data: [DONE]\n\n"

    async def outputs(self, request: TokenRequest) -> AsyncIterator[TokenOutput]:
        """What comes of a request; whoever waits has the engine take a step."""
        inbox = self.inboxes[request.id]
        try:
            while not request.cache.get("release"):
                while inbox.empty():
                    for output in self.engine.poll():
                        self.inboxes[output.id].put_nowait(output)
                    await asyncio.sleep(0)
                output = inbox.get_nowait()
                yield output
                if output.finished:
                    return
        finally:
            self.engine.abort([request.id])


def _choice(body: dict[str, Any]) -> Choice | None:
    only, banned = body.get("allowed_token_ids", ()), body.get("logit_bias", {})
    return Choice(tuple(map(int, banned)), tuple(only)) if only or banned else None


def _chunk(output: TokenOutput) -> dict[str, Any]:
    choice = {
        "token_ids": list(output.tokens),
        "finish_reason": "stop" if output.finished else None,
        "stop_reason": output.stopped_by,
        "logprobs": {
            "top_logprobs": [
                {f"token_id:{token}": value for token, value in place.items()}
                for place in output.logprobs
            ]
        },
    }
    return {"choices": [choice]}
