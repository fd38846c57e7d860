"""Answers under way: what the engine tells of them, and the end of those that nobody waits for."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from aspd_cli.core.markup import Document
from aspd_cli.core.metrics import AnswerStats
from aspd_cli.engine.events import Done, Event, Output
from aspd_cli.errors import AspdError
from aspd_cli.serve.engine_loop import Ask, EngineLoop, Told
from aspd_cli.serve.guard import error_body
from aspd_cli.serve.replies import ChoiceStream, Reply


class Answers:
    """The answers to one request, submitted at once; iterate over (index, events of a step).

    Raises:
        BusyError: too many wait; from the constructor.
        FailedError: the engine failed in the middle; from the iteration.
    """

    def __init__(self, engine: EngineLoop, asks: Sequence[Ask]) -> None:
        self._engine, self.number = engine, len(asks)
        self._inbox: asyncio.Queue[tuple[int, Told]] = asyncio.Queue()
        sinks = [partial(self._take, index) for index in range(len(asks))]
        self._began = time.perf_counter()
        self._open = engine.submit(asks, sinks)
        self._spoke: set[int] = set()
        self._left = len(asks)

    def _take(self, index: int, told: Told) -> None:
        self._inbox.put_nowait((index, told))

    def __aiter__(self) -> AsyncIterator[tuple[int, list[Event]]]:
        return self

    async def __anext__(self) -> tuple[int, list[Event]]:
        if not self._left:
            raise StopAsyncIteration
        index, told = await self._inbox.get()
        if isinstance(told, AspdError):
            raise told
        metrics, seconds = self._engine.metrics, time.perf_counter() - self._began
        if index not in self._spoke:
            self._spoke.add(index)
            metrics.count_first(seconds)
        if isinstance(done := told[-1], Done):
            self._left -= 1
            metrics.count_answer(done.output.stats, done.output.finish_reason, seconds)
        return index, told

    async def outputs(self) -> list[Output]:
        """All answers, once they are finished. Who stops waiting for them ends them."""
        found: dict[int, Output] = {}
        try:
            async for index, events in self:
                if isinstance(done := events[-1], Done):
                    found[index] = done.output
        finally:
            self.close()
        return [found[index] for index in range(self.number)]

    def close(self) -> None:
        """Forgets the answers that are not finished."""
        self._engine.metrics.count_dropped(self._left)
        self._left = 0
        self._engine.cancel(self._open)


class EventStream(StreamingResponse):
    """A reply as server-sent events.

    Args:
        heads: what each choice begins with.
    """

    def __init__(self, answers: Answers, reply: Reply, heads: Sequence[str] = ()) -> None:
        self._answers = answers
        super().__init__(
            self._lines(reply, heads or [""] * answers.number),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answers.close()

    async def _lines(self, reply: Reply, heads: Sequence[str]) -> AsyncIterator[str]:
        try:
            async for chunk in self._chunks(reply, heads):
                yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
        except AspdError as error:
            yield f"data: {json.dumps(error_body(500, str(error)))}\n\n"
        yield "data: [DONE]\n\n"

    async def _chunks(self, reply: Reply, heads: Sequence[str]) -> AsyncIterator[dict[str, Any]]:
        streams = [ChoiceStream(branch_events=reply.branch_events) for _ in heads]
        for index, head in enumerate(heads):
            if head or reply.kind == "chat":
                yield reply.chunk(index, head, first=True)
        async for index, events in self._answers:
            stream = streams[index]
            text, told = stream.take(events)
            if text or told:
                yield reply.chunk(index, text, told)
            if stream.output is not None:
                yield reply.last(index, stream.output)
        if reply.includes_usage:
            yield reply.used([stream.output for stream in streams if stream.output])


def no_output(prompt_ids: Sequence[int]) -> Output:
    """An answer of no tokens, for a prompt that is only to be scored."""
    stats = AnswerStats(
        prompt_tokens=len(prompt_ids),
        tokens=0,
        useful_tokens=0,
        steps=0,
        parallel_steps=0,
        blocks=0,
        branches=0,
        branch_tokens=0,
        title_tokens=0,
        max_lanes=0,
        ttft_s=0.0,
        time_s=0.0,
        parallel_s=0.0,
        parallel_useful_tokens=0,
    )
    return Output("", "", Document(()), "length", [], stats, ())
