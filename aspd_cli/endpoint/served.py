"""A model behind an OpenAI-compatible server, asked as a decoder is.

with ServedModel(ServerSection(base_url="http://127.0.0.1:8000")) as model:
    fields = model.fields(GenerationOptions())
    for event in model.stream(to_messages("..."), fields): ...
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import fields as fields_of
from typing import Any, Self

from aspd_cli.endpoint.streaming import Chunk, ServedAnswer, Streamed, StreamingSender, choice_of
from aspd_cli.engine.events import AnyEvent, Close, Done, Fork, Merge, Text
from aspd_cli.engine.options import GenerationOptions, Mode
from aspd_cli.errors import EndpointError, ReplyError, UsageError
from aspd_cli.recipe.endpoint import ServerSection

Messages = Sequence[Mapping[str, str]]

_SAMPLING = ("top_k", "top_p", "min_p", "repetition_penalty")
_OURS = ("max_branch_tokens", "max_branches")
"""What only `aspd serve` takes."""
_UNTOLD = ("max_title_tokens", "max_depth", "draft")
"""What no server takes from a request."""


class ServedModel:
    """A context manager: the connection to a server.

    Args:
        patient: whether requests are repeated after failures.

    Raises:
        EndpointError: on entering: nothing answers, the key is not accepted, no one model is found.
    """

    def __init__(self, section: ServerSection, *, patient: bool = True) -> None:
        endpoint = section.as_endpoint(max_retries=None if patient else 0)
        self._extra = section.extra_body
        self._sender = StreamingSender(endpoint, section.model)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        try:
            self._runner.run(self._sender.open())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._sender.close())
        self._runner.close()

    @property
    def name(self) -> str:
        """By which the server knows the model."""
        return self._sender.model

    @property
    def url(self) -> str:
        """The server's address, without secrets."""
        return self._sender.url

    @property
    def is_aspd(self) -> bool:
        """Whether the server is `aspd serve`."""
        return self._sender.is_aspd

    def fields(
        self, options: GenerationOptions, mode: Mode | None = None, draw: int = 0
    ) -> dict[str, Any]:
        """How to decode, as fields of a request.

        Args:
            options: their mode does not count.
            mode: None: the server's own.
            draw: which answer to the same prompt it is, from 0; further ones take further seeds.

        Raises:
            UsageError: the server cannot be told so.
        """
        usual = {each.name: each.default for each in fields_of(GenerationOptions)}
        changed = {
            name: value
            for name in (*_SAMPLING, *_OURS, *_UNTOLD)
            if (value := getattr(options, name)) != usual[name]
        }
        ours = {name: changed[name] for name in _OURS if name in changed}
        ours |= {"mode": mode} if mode else {}
        untold = [name for name in _UNTOLD if name in changed]
        if refused := [*untold, *(() if self.is_aspd else ours)]:
            kind = "no server takes it" if refused == untold else "it is not `aspd serve`"
            raise UsageError(
                f"{self.url} cannot be told generation.{refused[0]}: {kind}; leave it out"
            )
        told: dict[str, Any] = {
            "temperature": options.temperature,
            "max_tokens": options.max_new_tokens,
            **{name: changed[name] for name in _SAMPLING if name in changed},
            **ours,
        }
        if options.temperature:
            told["seed"] = options.seed + draw
        if options.stop:
            told["stop"] = list(options.stop)
        if self.is_aspd:
            told |= {"branch_events": True, "return_markup": True}
        return {**told, **self._extra}

    def stream(self, messages: Messages, fields: Mapping[str, Any]) -> Iterator[AnyEvent]:
        """The events of one answer as they come; the last one is `Done[ServedAnswer]`.

        A server that does not tell of branches has one lane.

        Raises:
            ReplyError, EndpointError: see `Sender.send`.
        """

        async def ask(put: Callable[[Any], None]) -> None:
            self._sender.hear = put
            put(Done(await self._ask(messages, fields)))

        branches = False
        for item in self._results(ask):
            if isinstance(item, Done):
                yield item
                continue
            delta = choice_of(item).get("delta") or {}
            if told := delta.get("aspd"):
                branches = True
                yield from map(self._event, told)
            elif delta.get("content") and not branches:
                yield Text(0, delta["content"])

    def answers(
        self, asked: Sequence[tuple[Messages, Mapping[str, Any]]], at_once: int
    ) -> Iterator[tuple[int, ServedAnswer | ReplyError]]:
        """(index, answer) of requests as they are finished; or why one was not taken.

        Raises:
            EndpointError: the server cannot be used any more.
        """

        async def ask(put: Callable[[Any], None]) -> None:
            numbers = iter(range(len(asked)))

            async def slot() -> None:
                for number in numbers:
                    try:
                        put((number, await self._ask(*asked[number])))
                    except ReplyError as error:
                        put((number, error))

            await asyncio.gather(*(slot() for _ in range(min(at_once, len(asked)))))

        yield from self._results(ask)

    async def _ask(self, messages: Messages, fields: Mapping[str, Any]) -> ServedAnswer:
        request = {"model": self.name, "messages": list(messages), **fields}
        response = await self._sender.send(request, 0)
        assert isinstance(response, Streamed)
        assert response.answer is not None
        return response.answer

    def _results(
        self, work: Callable[[Callable[[Any], None]], Coroutine[Any, Any, None]]
    ) -> Iterator[Any]:
        """What `work` puts, as it comes; then what it raises."""
        found: asyncio.Queue[Any] = asyncio.Queue()

        async def begin() -> "asyncio.Task[None]":
            return asyncio.create_task(ended())

        async def ended() -> None:
            try:
                await work(found.put_nowait)
            finally:
                found.put_nowait(None)

        async def finish(task: "asyncio.Task[None]") -> None:
            await task

        async def drop(task: "asyncio.Task[None]") -> None:
            task.cancel()
            await asyncio.wait({task})

        task = self._runner.run(begin())
        try:
            while (item := self._runner.run(found.get())) is not None:
                yield item
            self._runner.run(finish(task))
        finally:
            if not task.done():
                self._runner.run(drop(task))

    def _event(self, told: Chunk) -> AnyEvent:
        """An event as `aspd serve` tells it."""
        try:
            match told["type"]:
                case "fork":
                    branches = told["branches"]
                    titles = tuple(branch["title"] for branch in branches)
                    lanes = tuple(branch["branch"] for branch in branches)
                    return Fork(told["from"], told["block"], titles, lanes)
                case "text":
                    return Text(told["branch"], told["text"])
                case "close":
                    return Close(told["branch"])
                case "merge":
                    return Merge(told["block"], told["into"])
        except (KeyError, TypeError):
            pass
        raise EndpointError(
            f"{self.url} tells of branches in another way than this version: update both"
        )
