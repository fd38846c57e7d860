"""The engine in a thread of its own: requests come and go between any two steps.

The server's event loop submits and cancels; the thread runs steps as long as there is something
to decode. What comes of a step goes back to the event loop in one call, for all requests.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from aspd_cli.engine.events import Done, Event
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.errors import AspdError, UsageError
from aspd_cli.serve.metrics import Metrics

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder

logger = logging.getLogger("aspd")

_LONG_CACHE = 4096
"""Entries of a row beyond which the cache is given up when nothing is left to decode."""


class BusyError(AspdError):
    """As many answers wait as may; ask again in `retry_s` seconds."""

    retry_s = 1


class FailedError(AspdError):
    """The engine failed while it decoded; other requests find it well again."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One answer that is wanted."""

    prompt_ids: Sequence[int]
    options: GenerationOptions
    draw: int = 1
    """Sampled answers to one prompt differ where this does."""


Told = list[Event] | AspdError
"""Events of one step in their order, or why there will be no more of them."""


class EngineLoop:
    """Decodes what is submitted, with a bound on what is decoded and on what waits.

    Args:
        rows: answers that are decoded at once.
        max_lanes: lanes that are decoded at once, over all answers; None: no bound.
        max_waiting: answers that may wait for a row.
    """

    def __init__(
        self,
        decoder: "Decoder",
        metrics: Metrics,
        *,
        rows: int,
        max_lanes: int | None,
        max_waiting: int,
    ) -> None:
        self.decoder, self.rows, self.max_lanes = decoder, rows, max_lanes
        self.capacity = rows + max_waiting
        """Answers that may be decoded or wait."""
        self.metrics = metrics
        self._sinks: dict[int, Callable[[Told], None]] = {}
        self._called = 0
        self._numbers = count()
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._scheduler = decoder.scheduler(rows, max_lanes)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="aspd engine", daemon=True)
        self._closing = False
        metrics.watch(
            running=lambda: len(self._scheduler.active),
            waiting=lambda: len(self._sinks) - len(self._scheduler.active),
            lanes=lambda: self._scheduler.lanes,
        )

    @property
    def open(self) -> int:
        """Answers that are decoded or wait, and what else waits for the model."""
        return len(self._sinks) + self._called

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._closing

    def start(self) -> None:
        """Starts the thread; to be called in the event loop that is told of events."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the step under way."""
        self._closing = True
        self._calls.put(lambda: None)
        self._thread.join()

    def check_room(self, answers: int) -> None:
        """Raises as `submit` would for so many answers."""
        if answers > self.capacity:
            raise UsageError(f"at most {self.capacity} answers fit one request, not {answers}")
        if self.open + answers > self.capacity:
            self.metrics.count_refused()
            raise BusyError(
                f"the server is busy: {self.open} answers are decoded or wait; try again later"
            )

    def submit(self, asks: Sequence[Ask], sinks: Sequence[Callable[[Told], None]]) -> list[int]:
        """Queues answers, all or none. Their events go to their sinks, in the event loop.

        Raises:
            BusyError: too many wait.
            UsageError: more than could ever be taken.
        """
        self.check_room(len(asks))
        numbers = [next(self._numbers) for _ in asks]
        self._sinks |= dict(zip(numbers, sinks, strict=True))
        for number, ask in zip(numbers, asks, strict=True):
            self._calls.put(lambda number=number, ask=ask: self._submit(number, ask))  # type: ignore[misc]
        return numbers

    def _submit(self, number: int, ask: Ask) -> None:
        self._scheduler.submit(number, ask.prompt_ids, ask.options, draw=ask.draw)

    def cancel(self, numbers: Sequence[int]) -> None:
        """Forgets answers; their lanes are free at the next step. Finished ones are no error."""
        for number in numbers:
            if self._sinks.pop(number, None):
                self._calls.put(lambda number=number: self._scheduler.cancel(number))  # type: ignore[misc]

    async def call(self, function: Callable[[], Any]) -> Any:
        """The result of `function`, run between two steps: the model serves one at a time."""
        future: Future[Any] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except Exception as error:  # whoever waits for the result is told
                    future.set_exception(error)

        self._calls.put(run)
        self._called += 1
        try:
            return await asyncio.wrap_future(future)
        finally:
            self._called -= 1

    def _run(self) -> None:
        while not self._closing:
            self._take_calls()
            if self._scheduler.idle:
                continue
            try:
                events = list(self._scheduler.step())
            except Exception as error:
                logger.exception("a step of the engine failed")
                self._begin_anew(FailedError(f"the engine failed: {error}"))
                continue
            told: dict[int, list[Event]] = {}
            for number, event in events:
                told.setdefault(number, []).append(event)
            self.metrics.count_step(event for _, event in events)
            self._tell(dict(told))
        self._scheduler.close()

    def _take_calls(self) -> None:
        """Runs what was submitted since the last step; waits where there is nothing to decode."""
        if self._scheduler.idle:
            if self._scheduler.cache.capacity > _LONG_CACHE:
                self._renew()
            self._calls.get()()
        while not self._calls.empty():
            self._calls.get()()

    def _renew(self) -> None:
        self._scheduler.close()
        self._scheduler = self.decoder.scheduler(self.rows, self.max_lanes)

    def _begin_anew(self, error: AspdError) -> None:
        """Every answer that was decoded is told the error, and those that come find a new cache."""
        lost = [request.index for request in self._scheduler.active.values()]
        queued = list(self._scheduler.queue)
        self._renew()
        self._scheduler.queue.extend(queued)
        self._tell(dict.fromkeys(lost, error))

    def _tell(self, told: dict[int, Any]) -> None:
        assert self._loop is not None
        if told:
            self._loop.call_soon_threadsafe(self._hand_out, told)

    def _hand_out(self, told: dict[int, Told]) -> None:
        for number, said in told.items():
            sink = self._sinks.get(number)
            if sink is None:
                continue  # cancelled in the meantime
            if isinstance(said, AspdError) or isinstance(said[-1], Done):
                del self._sinks[number]
            sink(said)
