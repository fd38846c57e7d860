"""Limits on what is sent: requests and tokens a minute, and what an output may cost."""

import asyncio
import time
from collections.abc import Callable

from aspd_cli.endpoint.usage import Tally, dollars
from aspd_cli.errors import BudgetError
from aspd_cli.recipe.endpoint import EndpointSection

NAP = 0.2
"""Seconds."""


class Pace:
    """At most `per_minute` units in any minute, spread evenly over it.

    A full second's worth may go at once, so that timers need not be exact; the rate after it is
    that much lower. Those that wait are served in the order of their coming.

    Args:
        per_minute: the limit; None: none.
        clock: seconds.
    """

    def __init__(
        self, per_minute: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._burst = max(1.0, (per_minute or 0) / 60)
        spread = (per_minute or 0) - self._burst + 1
        self._interval = 60 / max(spread, 1e-9) if per_minute else 0.0
        self._next = 0.0
        """When the next unit may be sent."""
        self._line = asyncio.Lock()
        """Whoever holds it is at the head of the line."""

    async def wait(self, units: float = 1.0) -> None:
        """Takes `units` and returns when they may be sent."""
        if not self._interval:
            return
        async with self._line:
            while (delay := self._next - self._clock()) > 0:
                # In short naps, for units that are given back bring the time nearer.
                await asyncio.sleep(min(delay, NAP))
            earliest = self._clock() - (self._burst - 1) * self._interval
            self._next = max(self._next, earliest) + units * self._interval

    def settle(self, units: float) -> None:
        """Gives back units that were taken and not needed; negative ones are taken."""
        self._next -= units * self._interval


class Budget:
    """What may still be spent. Calls in flight count with what they are expected to cost.

    Args:
        section: limits and prices.
        tally: what was spent, earlier runs included.
    """

    def __init__(self, section: EndpointSection, tally: Tally) -> None:
        self._section = section
        self._tally = tally
        self._in_flight = 0
        self._tokens = 0
        self._dollars = 0.0
        """Expected cost of the calls in flight."""
        self._settled = asyncio.Event()
        self._over = False
        """A call was turned away; none begins after it, for its run is about to end."""

    async def reserve(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Sets this much aside; waits for calls in flight where they may cost less than expected.

        Raises:
            BudgetError: it is more than what is left, and no call is in flight any more.
        """
        while self._over or not self._fits(prompt_tokens, completion_tokens):
            if not self._in_flight:
                self._over = True
                raise BudgetError(self._spent())
            self._settled.clear()
            await self._settled.wait()
        self._in_flight += 1
        self._tokens += prompt_tokens + completion_tokens
        self._dollars += dollars(self._section, prompt_tokens, completion_tokens) or 0.0

    def release(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Takes back what was set aside: its real cost, if any, is in the tally now."""
        self._in_flight -= 1
        self._tokens -= prompt_tokens + completion_tokens
        self._dollars -= dollars(self._section, prompt_tokens, completion_tokens) or 0.0
        self._settled.set()

    def _fits(self, prompt_tokens: int, completion_tokens: int) -> bool:
        section, spent = self._section, self._tally.total
        if section.budget_tokens is not None:
            tokens = prompt_tokens + completion_tokens
            if spent.tokens + self._tokens + tokens > section.budget_tokens:
                return False
        if section.budget is not None:
            cost = dollars(section, prompt_tokens, completion_tokens) or 0.0
            return (spent.dollars or 0.0) + self._dollars + cost <= section.budget
        return True

    def _spent(self) -> str:
        section, spent = self._section, self._tally.total
        limits = []
        if section.budget is not None:
            limits.append(f"{spent.price()} of ${section.budget:g}")
        if section.budget_tokens is not None:
            limits.append(f"{spent.tokens:,} of {section.budget_tokens:,} tokens")
        return (
            f"the budget is spent: {' and '.join(limits)} used, and the next call may cost more "
            "than what is left; raise the budget and run the same command to resume"
        )
