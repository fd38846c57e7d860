"""The routes, and what a request goes through: checked, encoded, decoded, told.

Every error is a sentence in OpenAI's form. A client that goes away takes its answers with it.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aspd_cli.core.layout import lay_out
from aspd_cli.engine.events import Output
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.scoring import Score, score
from aspd_cli.errors import AspdError
from aspd_cli.safe_text import printable
from aspd_cli.serve import logprobs as forms
from aspd_cli.serve.answers import Answers, EventStream, no_output
from aspd_cli.serve.engine_loop import Ask, BusyError, EngineLoop, FailedError
from aspd_cli.serve.guard import Guard, error_response
from aspd_cli.serve.page import page_routes
from aspd_cli.serve.prompt_encoder import PromptEncoder
from aspd_cli.serve.protocol import (
    ChatBody,
    CompletionBody,
    DetokenizeBody,
    RequestError,
    TokenizeBody,
    conversation,
    parse,
)
from aspd_cli.serve.replies import Reply

_CLOSED = 499
"""The status of a request whose client had gone; nobody receives it."""


class Server:
    """One model behind OpenAI's API.

    Args:
        options: how to decode where a request does not say.
        model: the name under which it is served.
        max_body: bytes of a request.
        log_prompts: whether logs hold what was asked.
    """

    def __init__(
        self,
        engine: EngineLoop,
        options: GenerationOptions,
        *,
        model: str,
        max_body: int,
        log_prompts: bool = False,
    ) -> None:
        self.engine, self.options, self.model = engine, options, model
        self.max_body = max_body
        self.decoder = engine.decoder
        self.encoder = PromptEncoder(self.decoder, log_prompts=log_prompts)
        self.codec = self.encoder.codec
        self.created = int(time.time())

    def app(self, *, api_key: str | None, local_only: bool) -> Guard:
        """The ASGI application."""
        routes = [
            self._post("/v1/chat/completions", ChatBody, self.chat),
            self._post("/v1/completions", CompletionBody, self.completions),
            self._post("/tokenize", TokenizeBody, self.tokenize),
            self._post("/detokenize", DetokenizeBody, self.detokenize),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.one_model),
            Route("/health", self.health),
            Route("/metrics", self.read_metrics),
            *page_routes(),
        ]
        handlers: Any = {404: _not_found, 405: _not_allowed, AspdError: _told, Exception: _failed}
        app = Starlette(routes=routes, lifespan=self._lifespan, exception_handlers=handlers)
        return Guard(app, api_key=api_key, local_only=local_only)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.engine.start()
        yield
        await asyncio.to_thread(self.engine.stop)

    def _post(self, path: str, kind: type[Any], answer: Callable[[Any], Any]) -> Route:
        """A route for bodies of a kind; what it does ends when its client goes away."""

        async def endpoint(request: Request) -> Response:
            body = parse(kind, await self._json(request))
            self._check_model(body.model)
            return await _until_gone(request, answer(body))

        return Route(path, endpoint, methods=["POST"])

    async def chat(self, body: ChatBody) -> Response:
        """`POST /v1/chat/completions`."""
        self._check_scores(bool(body.logprobs))
        options = body.options(self.options, body.budget)
        prompt_ids = await self.encoder.of_chat(body.conversation(), options)
        asks = [Ask(prompt_ids, options, draw) for draw in range(1, body.choices + 1)]
        reply = Reply("chat", self.model, body, prompts=1)
        if body.stream:
            return EventStream(Answers(self.engine, asks), reply)
        outputs = await Answers(self.engine, asks).outputs()
        scored = []
        if body.logprobs:
            for output in outputs:
                scores = await self._scores(prompt_ids, output, body.top_logprobs or 0)
                scored.append(forms.of_chat(self.codec, scores[len(prompt_ids) :]))
        return JSONResponse(reply.whole(outputs, logprobs=scored))

    async def completions(self, body: CompletionBody) -> Response:
        """`POST /v1/completions`."""
        self._check_scores(body.logprobs is not None)
        options = body.options(self.options, max(1, body.budget), mode="plain")
        prompts = [await self.encoder.of_completion(prompt, options) for prompt in body.prompts]
        draws = range(1, body.choices + 1)
        asks = [Ask(ids, options, draw) for ids in prompts for draw in draws]
        reply = Reply("completion", self.model, body, prompts=len(prompts))
        heads = [
            prompt if isinstance(prompt, str) else self.codec.decode(prompt)
            for prompt in body.prompts
            for _ in draws
        ]
        heads = heads if body.echo else [""] * len(asks)
        if body.stream and body.budget:
            return EventStream(Answers(self.engine, asks), reply, heads)
        if body.budget:
            outputs = await Answers(self.engine, asks).outputs()
        else:
            self.engine.check_room(len(asks))
            outputs = [no_output(ask.prompt_ids) for ask in asks]
        scored = []
        if body.logprobs is not None:
            for ask, output in zip(asks, outputs, strict=True):
                scores = await self._scores(ask.prompt_ids, output, body.logprobs)
                shown = scores if body.echo else scores[len(ask.prompt_ids) :]
                scored.append(forms.of_completion(self.codec, shown))
        return JSONResponse(reply.whole(outputs, heads=heads, logprobs=scored))

    async def tokenize(self, body: TokenizeBody) -> Response:
        """`POST /tokenize`, as vLLM has it."""
        if body.messages is not None:
            turns = conversation(body.messages)
            ids = await self.encoder.of_turns(turns, self.options.system)
        else:
            ids = await self.encoder.of_text(body.prompt or "")
        return JSONResponse(
            {"count": len(ids), "max_model_len": self.decoder.context, "tokens": ids}
        )

    async def detokenize(self, body: DetokenizeBody) -> Response:
        """`POST /detokenize`, as vLLM has it."""
        self.encoder.check_ids(body.tokens, "tokens")
        return JSONResponse({"prompt": self.codec.decode(body.tokens)})

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`: the one that is served."""
        return JSONResponse({"object": "list", "data": [self._card()]})

    async def one_model(self, request: Request) -> Response:
        """`GET /v1/models/NAME`."""
        self._check_model(request.path_params["name"])
        return JSONResponse(self._card())

    async def health(self, request: Request) -> Response:
        """`GET /health`: 200 as long as the engine takes requests."""
        status = "ok" if self.engine.alive else "stopping"
        return JSONResponse({"status": status}, 200 if self.engine.alive else 503)

    async def read_metrics(self, request: Request) -> Response:
        """`GET /metrics`, for Prometheus."""
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(self.engine.metrics.text(), media_type=kind)

    def _card(self) -> dict[str, Any]:
        return {
            "id": self.model,
            "object": "model",
            "created": self.created,
            "owned_by": "aspd",
            "max_model_len": self.decoder.context,
        }

    async def _json(self, request: Request) -> Any:
        """The body of a request. Raises `RequestError` when it is too long or no JSON."""
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self.max_body:
                raise RequestError(f"the body is longer than {self.max_body} bytes", status=413)
            parts.append(part)
        try:
            return json.loads(b"".join(parts).decode(), parse_constant=_refuse_constant)
        except RecursionError:
            raise RequestError("the body is nested too deep") from None
        except ValueError as error:
            raise RequestError(f"the body is not JSON: {error}") from None

    def _check_model(self, name: str | None) -> None:
        if name is not None and name != self.model:
            raise RequestError(
                f"the model {name[:80]!r} is not served here: use {self.model!r}",
                status=404,
                param="model",
            )

    def _check_scores(self, wanted: bool) -> None:
        if wanted and self.decoder.model is None:
            raise RequestError(
                "log-probabilities are told by aspd's own engine only, and this server runs on "
                "vLLM: leave logprobs out",
                param="logprobs",
            )

    async def _scores(self, prompt_ids: Sequence[int], output: Output, top: int) -> list[Score]:
        """The scores of a prompt and of all tokens of its answer; those of forced ones are 0."""
        decoder = self.decoder
        written = len(lay_out(output.tree, decoder.codec))
        layout = lay_out(
            output.tree,
            decoder.codec,
            prompt_ids=prompt_ids,
            end_ids=output.token_ids[written:],
            positions=decoder.positions,
        )
        scores = await self.engine.call(lambda: score(decoder, layout, top))
        return [
            found
            if at < len(prompt_ids) or layout.sampled[at]
            else Score(found.token, 0.0, {found.token: 0.0})
            for at, found in enumerate(scores)
        ]


async def _until_gone(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """The response, or an empty one as soon as the client has gone."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else Response(status_code=_CLOSED)
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


async def _told(request: Request, error: Exception) -> Response:
    if isinstance(error, BusyError):
        return error_response(429, str(error), headers={"Retry-After": str(error.retry_s)})
    status = 500 if isinstance(error, FailedError) else getattr(error, "status", 400)
    return error_response(status, str(error), param=getattr(error, "param", None))


async def _not_found(request: Request, error: Exception) -> Response:
    return error_response(404, f"there is nothing at {printable(request.url.path)[:200]}")


async def _not_allowed(request: Request, error: Exception) -> Response:
    headers = getattr(error, "headers", None)
    return error_response(405, f"{request.method} is not for this path", headers=headers)


async def _failed(request: Request, error: Exception) -> Response:
    return error_response(500, "the server failed; its log has the traceback")
