"""One request until it is answered: sent at the agreed pace, and again after a failure.

`diagnose` says what a failed attempt means: send it again, give up this call, or give up the
endpoint. The client's own retries are off: they know neither our limits on requests and tokens nor
a pause that another call was told to make, and a response that is not a chat completion passes
them.
"""

import asyncio
import math
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from aspd_cli.endpoint.messages import BadResponse, Response, adjust, complained, read_response
from aspd_cli.endpoint.rate_limits import Pace
from aspd_cli.errors import EndpointError, ReplyError
from aspd_cli.recipe.sections import EndpointSection

if TYPE_CHECKING:
    import openai

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the first repetition, and at most before a later one."""
LONGEST_WAIT = 600.0
"""Seconds; an endpoint that asks for a longer pause is given up: its day's quota is spent."""

FUTILE = 10
"""Refused requests after which an endpoint that took none is given up."""
LOST = 3
"""Requests in a row that must spend their retries before an endpoint that answered is given up."""
CONNECT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Again:
    """The attempt may succeed later."""

    reason: str
    after: float | None = None
    """Seconds that the endpoint asks all requests to wait."""
    limited: bool = False
    """It is about the rate of requests, not about this one."""
    unreachable: bool = False
    """Nothing listens at the endpoint's address."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The endpoint does not take this request."""

    message: str
    parameter: str | None
    """Which parameter it is about, where the endpoint says so."""


def diagnose(
    error: Exception, section: EndpointSection, url: str, answered: bool
) -> Again | Refusal | EndpointError:
    """What `error`, raised by an attempt, means.

    Args:
        answered: the endpoint has answered other requests of this run.
    """
    import aiohttp
    import openai

    if isinstance(error, BadResponse):
        return Again(f"it sent {error}")
    if isinstance(error, openai.APIStatusError):
        return _status(error, section, url, answered)
    causes = _causes(error)
    if any(isinstance(cause, aiohttp.InvalidURL) for cause in causes):
        return EndpointError(f"{url} is not an endpoint address; correct endpoint.base_url")
    if any(isinstance(cause, aiohttp.ClientConnectorError) for cause in causes):
        return Again(f"no connection ({_line(causes[-1])})", unreachable=True)
    # A connection that the server closes is a timeout, too, by the name that httpx2 gives it.
    dropped = aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError
    if any(isinstance(cause, TimeoutError) for cause in causes) and not any(
        isinstance(cause, dropped) for cause in causes
    ):
        return Again(f"no reply within {section.timeout:g} seconds")
    if isinstance(error, openai.OpenAIError | aiohttp.ClientError | OSError):
        return Again(f"the connection broke ({_line(causes[-1])})")
    raise error


def _causes(error: BaseException) -> list[BaseException]:
    """`error`, what it was raised from, and so on to the first."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    return causes


def _status(
    error: "openai.APIStatusError", section: EndpointSection, url: str, answered: bool
) -> Again | Refusal | EndpointError:
    status, message = error.status_code, _message(error)
    if status == 429 and error.code != "insufficient_quota":
        after = retry_after(error.response.headers)
        if after is not None and after > LONGEST_WAIT:
            return EndpointError(
                f"{url} asks to wait {after / 60:.0f} minutes ({message}); "
                "run the same command again after that"
            )
        return Again(f"429: {message}", after, limited=True)
    if status in (408, 409, 425) or status >= 500:
        return Again(f"{status}: {message}", retry_after(error.response.headers))
    if status in (400, 413, 422) or (status == 403 and answered):
        return Refusal(f"{status}: {message}", error.param)
    if status in (401, 403):
        return EndpointError(
            f"{url} does not accept the key in {section.api_key_env} ({status}: {message}); "
            "set that variable to a valid one, or name another in endpoint.api_key_env"
        )
    if status == 404:
        return EndpointError(
            f"{url} has no model {section.model!r} ({status}: {message}); "
            "correct endpoint.model or endpoint.base_url"
        )
    if status in (402, 429):
        return EndpointError(f"the account at {url} has no credit left ({status}: {message})")
    return EndpointError(f"{url} answers {status}: {message}; correct the endpoint of the recipe")


def _message(error: "openai.APIStatusError") -> str:
    """What the endpoint says, in one line."""
    body: Any = error.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body
    return _line(body or error.message)


def _line(value: object) -> str:
    """`value` in one line that is not too long."""
    text = " ".join(str(value).split())
    return text if len(text) <= 200 else text[:197] + "..."


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a response asks to wait, in any of the three ways in use."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * scale
        except (KeyError, ValueError):
            continue
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, TypeError, ValueError):
        return None


def pause(failures: int) -> float:
    """Seconds before the next attempt after so many failures: doubling, with jitter."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (failures - 1))
    return longest * random.uniform(0.5, 1.0)


class Sender:
    """A connection to an endpoint; `open` and `close` it."""

    def __init__(self, section: EndpointSection) -> None:
        self._section = section
        self._requests = Pace(section.requests_per_minute)
        self._tokens = Pace(section.tokens_per_minute)
        self._resume = 0.0
        """Seconds of `time.monotonic`; the endpoint asked to send nothing before."""
        self._answered = 0
        """Requests that were answered with replies."""
        self._lost = 0
        """Requests since the last answer whose retries were all spent."""
        self._refusals = 0
        """Requests that were not taken, before the first that was."""
        self._unsupported: frozenset[str] = frozenset()
        """Parameters that the endpoint does not take."""
        self._failed: EndpointError | None = None
        """Why the endpoint was given up."""

    async def open(self) -> None:
        """Makes the client.

        Raises:
            EndpointError: there is no key.
        """
        import openai

        section = self._section
        key = os.environ.get(section.api_key_env, "").strip()
        if not key and section.base_url is None:
            raise EndpointError(
                f"no API key: set the environment variable {section.api_key_env}, "
                "or endpoint.base_url in the recipe for a server that needs none"
            )
        timeout = openai.Timeout(section.timeout, connect=min(CONNECT_SECONDS, section.timeout))
        try:
            self._client = openai.AsyncOpenAI(
                base_url=section.base_url,
                api_key=key or "none",
                max_retries=0,
                timeout=timeout,
                # Takes half the processor time of the default transport.
                http_client=openai.DefaultAioHttpClient(timeout=timeout),
            )
        except Exception as error:  # httpx2 has no common base for what is wrong with a URL
            raise EndpointError(
                f"cannot use the endpoint {section.base_url}: {error}; "
                "correct transform.endpoint in the recipe"
            ) from error
        self.url = str(self._client.base_url).rstrip("/")

    async def close(self) -> None:
        await self._client.close()

    def takes(self, parameter: str) -> bool:
        """Whether the endpoint is not known to refuse `parameter`."""
        return parameter not in self._unsupported

    async def send(self, request: dict[str, Any], tokens: int) -> Response:
        """The replies to a request, which loses the parameters that the endpoint does not take.

        Args:
            tokens: how many the request and its replies are expected to have.

        Raises:
            ReplyError: the endpoint refuses this request, or fails at this one alone.
            EndpointError: the endpoint cannot be used.
        """
        unsupported = self._unsupported
        while True:
            result = await self._repeated(adjust(request, unsupported), tokens)
            if isinstance(result, Response):
                self._unsupported |= unsupported
                return result
            parameter = complained(result.message, result.parameter, adjust(request, unsupported))
            if parameter is None:
                raise self._refused(result)
            unsupported |= {parameter}

    async def _repeated(self, request: dict[str, Any], tokens: int) -> Response | Refusal:
        """Attempts, until one is answered or refused."""
        failures, answered = 0, self._answered
        while True:
            await self._turn(tokens)
            try:
                response = await self._attempt(request)
            except Exception as error:
                trouble = diagnose(error, self._section, self.url, self._answered > 0)
            else:
                self._answered += 1
                self._lost = 0
                used = response.tokens
                self._tokens.settle(tokens - used if used else 0)
                return response
            self._tokens.settle(tokens)
            if isinstance(trouble, Refusal):
                return trouble
            if isinstance(trouble, EndpointError):
                raise self._give_up(trouble)
            others = self._answered > answered  # got through since the attempt before
            answered = self._answered
            failures = 1 if trouble.limited and others else failures + 1
            patience = min(2, self._section.max_retries)
            if trouble.unreachable and not self._answered and failures > patience:
                raise self._give_up(self._unreachable(trouble))
            if failures > self._section.max_retries:
                raise self._spent(trouble, failures, alone=others)
            if trouble.after is not None:
                self._resume = max(self._resume, time.monotonic() + trouble.after)
            await asyncio.sleep(pause(failures))

    async def _turn(self, tokens: int) -> None:
        """Returns when the next request may go."""
        while not self._failed and (left := self._resume - time.monotonic()) > 0:
            await asyncio.sleep(left)
        await self._tokens.wait(tokens)
        await self._requests.wait()  # last, for its limit holds to the letter
        if self._failed:
            raise EndpointError(str(self._failed))

    async def _attempt(self, request: dict[str, Any]) -> Response:
        # The client's own timeout is between two bytes, and a reply can drip for ever.
        async with asyncio.timeout(self._section.timeout):
            content = await self._client.post("/chat/completions", cast_to=str, body=request)
        return read_response(content)

    def _give_up(self, error: EndpointError) -> EndpointError:
        """Lets no other call begin."""
        self._failed = error
        return error

    def _refused(self, refusal: Refusal) -> Exception:
        self._refusals += 1
        if not self._answered and self._refusals >= FUTILE:
            return self._give_up(
                EndpointError(
                    f"{self.url} refuses every request ({refusal.message}); "
                    "correct the endpoint of the recipe"
                )
            )
        return ReplyError(f"the endpoint refuses the request ({refusal.message})")

    def _unreachable(self, trouble: Again) -> EndpointError:
        return EndpointError(
            f"nothing answers at {self.url}: {trouble.reason}; "
            "start the server there, or correct endpoint.base_url"
        )

    def _spent(self, trouble: Again, failures: int, alone: bool) -> Exception:
        """All retries are spent; `alone`: other calls were answered meanwhile.

        Where nothing else was asked meanwhile, an endpoint that has answered before gets a chance.
        """
        times = f"after {failures} attempts ({trouble.reason})"
        self._lost += 1
        if alone or (self._answered and self._lost < LOST):
            return ReplyError(f"the endpoint gave no reply {times}")
        return self._give_up(
            EndpointError(
                f"{self.url} gives no reply {times}; run the same command again when it is well"
            )
        )
