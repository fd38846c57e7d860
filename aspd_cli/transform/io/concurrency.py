"""Many things at once, their results in order, in constant memory."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

MOST_WAITING = 2048
"""Results that wait for an earlier one: so many are held in memory, and no more is begun."""


async def in_order(
    items: Iterable[A], work: Callable[[A], Awaitable[B]], *, at_once: int
) -> AsyncGenerator[B, None]:
    """The results of `work` in the order of `items`, with `at_once` of them in progress.

    A result that waits for an earlier one takes none of these places, so that one slow item does
    not stop the others.

    When one fails, nothing more is begun, what is in progress is waited for, and its error is
    raised: what was paid for is not thrown away. When the caller stops, all is cancelled.
    """
    places = asyncio.Semaphore(at_once)
    pending: deque[asyncio.Task[B]] = deque()
    broken = False

    async def run(item: A) -> B:
        nonlocal broken
        try:
            return await work(item)
        except Exception:
            broken = True
            raise
        finally:
            places.release()

    try:
        for item in items:
            await places.acquire()
            if broken:
                break
            pending.append(asyncio.create_task(run(item)))
            while pending and (pending[0].done() or len(pending) >= MOST_WAITING):
                yield await pending.popleft()
        while pending:
            yield await pending.popleft()
    except Exception:
        await asyncio.gather(*pending, return_exceptions=True)
        raise
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
