"""What a failed attempt means: send it again, give up this call, or give up the endpoint."""

import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from aspd_cli.endpoint.messages import BadResponse
from aspd_cli.errors import EndpointError
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.safe_text import excerpt

if TYPE_CHECKING:
    import openai

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the first repetition, and at most before a later one."""
LONGEST_WAIT = 600.0
"""Seconds; an endpoint that asks for a longer pause is given up: its day's quota is spent."""


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
    internal: bool = False
    """The server says that it failed; some do at parameters that they do not know."""


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
        return Again(f"no connection ({excerpt(causes[-1])})", unreachable=True)
    # A connection that the server closes is a timeout, too, by the name that httpx2 gives it.
    dropped = aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError
    if any(isinstance(cause, TimeoutError) for cause in causes) and not any(
        isinstance(cause, dropped) for cause in causes
    ):
        return Again(f"no reply within {section.timeout:g} seconds")
    if isinstance(error, openai.OpenAIError | aiohttp.ClientError | OSError):
        return Again(f"the connection broke ({excerpt(causes[-1])})")
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
    if 300 <= status < 400:
        place = urljoin(str(error.request.url), error.response.headers.get("location", ""))
        return EndpointError(
            f"{url} redirects to {excerpt(place)} ({status}), where the key was not sent; "
            "if that is the right address, set endpoint.base_url to it"
        )
    if status == 429 and error.code != "insufficient_quota":
        after = retry_after(error.response.headers)
        if after is not None and after > LONGEST_WAIT:
            return EndpointError(
                f"{url} asks to wait {after / 60:.0f} minutes ({message}); "
                "run the same command again after that"
            )
        return Again(f"429: {message}", after, limited=True)
    if status in (408, 409, 425) or status >= 500:
        after = retry_after(error.response.headers)
        return Again(f"{status}: {message}", after, internal=status in (500, 501))
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
    return excerpt(body or error.message)


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
