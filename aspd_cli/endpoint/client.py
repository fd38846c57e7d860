"""The endpoint of a run: asks, checks, asks again, and counts what it costs."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from weakref import WeakValueDictionary

from aspd_cli.endpoint.journal import Entry, Journal
from aspd_cli.endpoint.messages import (
    Call,
    Response,
    digest,
    ends_in_thoughts,
    parameters,
    without_thoughts,
)
from aspd_cli.endpoint.rate_limits import Budget
from aspd_cli.endpoint.transport import Sender
from aspd_cli.endpoint.usage import StageTally, Tally, dollars, estimate_tokens
from aspd_cli.errors import ReplyError
from aspd_cli.recipe.endpoint import EndpointSection

__all__ = ["Call", "Endpoint"]

T = TypeVar("T")
TRIES = 3
"""Most replies that are asked for each that is wanted, when others are not valid."""
REPLY_TOKENS = 1024
"""Expected length of a reply as long as none has come and nothing bounds it."""
CUT = "the token limit cut it off; raise endpoint.max_tokens"
"""Why a reply may be of no use."""


@dataclass(slots=True)
class Asked:
    """A call, and what it has brought so far."""

    call: Call
    request: dict[str, Any]
    key: bytes
    texts: list[str]
    """All replies, valid or not, in the order of their numbers in the journal."""
    replayed: int
    """How many of them an earlier call brought."""
    cut: bool = False
    """Whether the token limit ended any of the others."""


class Endpoint:
    """An endpoint, for one run; an async context manager.

    To keep all its slots busy, keep a few more calls going than `section.concurrency`: a reply that
    is being checked holds no slot; one that the journal writes still does.

    Args:
        section: which endpoint, its limits and its prices.
        journal: holds the replies of earlier runs and gets those of this one; None keeps none.
        budget: that of another endpoint of the same run, whose calls count in it as well; None: one
            of its own.
    """

    def __init__(
        self,
        section: EndpointSection,
        journal: Journal | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.budget = budget or Budget(section, Tally(journal.history if journal else None))
        """What may be spent, by all endpoints that share it."""
        self.tally = self.budget.tally
        """What they have spent."""
        self.section = section
        self._named = section.without_secrets()
        """What a request is known by in the journal: a new key asks for nothing new."""
        self._journal = journal
        self._sender = Sender(section)
        self._slots = asyncio.Semaphore(section.concurrency)
        self._longest: dict[str, int] = {}
        """Longest reply of each stage so far, in tokens."""
        self._keys: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        """Calls being asked; an equal one waits and finds its replies in the journal."""

    async def __aenter__(self) -> Self:
        await self._sender.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sender.close()

    async def ask(self, call: Call, check: Callable[[str], T]) -> list[T]:
        """`call.n` valid replies, as `check` returns them.

        Replies that the journal holds are taken from there. One that `check` raises `ReplyError`
        for counts as invalid and is asked for again, at most `TRIES` times for each that is wanted.

        Raises:
            ReplyError: too few replies are valid, or the endpoint refuses or fails this one call.
            BudgetError: the call would cost more than what is left.
            EndpointError: the endpoint cannot be used.
        """
        request = parameters(self.section, call)
        if self._journal is None:
            return await self._collect(Asked(call, request, b"", [], 0), check)
        key = digest(parameters(self._named, call))
        async with self._keys.setdefault(key, asyncio.Lock()):
            texts = await self._journal.replies(key)
            return await self._collect(Asked(call, request, key, texts, len(texts)), check)

    async def _collect(self, asked: Asked, check: Callable[[str], T]) -> list[T]:
        """Looks at the replies in their order, and asks for more while too few are valid."""
        wanted, most = asked.call.n, asked.call.n * TRIES
        valid: list[T] = []
        looked, reason = 0, ""
        while True:
            for text in asked.texts[looked:most]:
                seen = StageTally(used=1, replayed=looked < asked.replayed)
                looked += 1
                try:
                    valid.append(_checked(text, check))
                except ReplyError as error:
                    reason, seen.invalid = str(error), 1
                    if asked.cut and CUT not in reason:
                        reason += f"; {CUT}"
                self.tally.add(asked.call.stage, seen)
                if len(valid) == wanted:
                    return valid
            if looked == most:
                raise ReplyError(
                    f"{looked - len(valid)} of {looked} replies are invalid; the last: {reason}",
                    valid,
                )
            await self.more(asked, min(wanted - len(valid), most - looked))

    async def more(self, asked: Asked, wanted: int) -> None:
        """Asks for so many further replies, in one request where the endpoint counts to n."""
        had = len(asked.texts)
        if wanted == 1 or self._sender.takes("n"):
            await self._request(asked, wanted)
        missing = had + wanted - len(asked.texts)
        if missing > 0:
            # All are awaited also when one fails: what they bring is paid for.
            results = await asyncio.gather(
                *(self._request(asked, 1) for _ in range(missing)), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    async def _request(self, asked: Asked, n: int) -> None:
        """One request: its replies are in the journal and in `asked` when it returns."""
        call = asked.call
        prompt, reply = self.expected(asked, n)
        expected = prompt + reply, dollars(self.section, prompt, reply) or 0.0
        request = asked.request if n == 1 else {**asked.request, "n": n}
        async with self._slots:
            if self._journal:
                self._journal.check()
            await self.budget.reserve(*expected)
            try:
                response = await self._sender.send(request, prompt + reply)
                paid = self._price(asked, response)
                entry = Entry(asked.key, len(asked.texts), response.texts, call.stage, paid)
                asked.texts.extend(response.texts)
                asked.cut |= response.cut
                self.tally.add(call.stage, paid)
            finally:
                self.budget.release(*expected)
            longest = paid.completion_tokens // len(response.texts)
            self._longest[call.stage] = max(self._longest.get(call.stage, 0), longest)
            if self._journal:  # within the slot: a slow disk must not let what was paid pile up
                await self._journal.record(entry)

    def expected(self, asked: Asked, n: int) -> tuple[int, int]:
        """Tokens of the prompt and of the replies of a request, rather too many than too few."""
        request = asked.request
        bound = request.get("max_tokens") or request.get("max_completion_tokens")
        longest = self._longest.get(asked.call.stage)
        guess = REPLY_TOKENS if longest is None else 2 * longest
        reply = min(bound or guess, guess)
        return _prompt_tokens(request), n * reply

    def _price(self, asked: Asked, response: Response) -> StageTally:
        """What a response cost; its tokens are estimated where the endpoint does not count them."""
        prompt, completion = response.prompt_tokens, response.completion_tokens
        if prompt is None or completion is None:
            prompt = _prompt_tokens(asked.request)
            completion = estimate_tokens(response.texts)
        return StageTally(
            calls=1,
            replies=len(response.texts),
            prompt_tokens=prompt,
            completion_tokens=completion,
            dollars=dollars(self.section, prompt, completion),
        )


def _prompt_tokens(request: dict[str, Any]) -> int:
    """About how many tokens a request has that the endpoint reads."""
    read = [request["messages"], request.get("response_format", "")]
    return estimate_tokens(json.dumps(part, ensure_ascii=False) for part in read)


def _checked(text: str, check: Callable[[str], T]) -> T:
    if ends_in_thoughts(text):
        raise ReplyError(f"it ends inside the model's thoughts: {CUT}")
    reply = without_thoughts(text)
    if not reply.strip():
        raise ReplyError("it is empty")
    return check(reply)
