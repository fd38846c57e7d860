"""One request until it is answered: sent at the agreed pace, and again after a failure.

What a failed attempt means is said in `failures`. The client's own retries are off: they know
neither our limits on requests and tokens nor a pause that another call was told to make, and a
response that is not a chat completion passes them.
"""

import asyncio
import base64
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from aspd_cli.endpoint.failures import Again, Refusal, diagnose, pause
from aspd_cli.endpoint.messages import ADJUSTABLE, Response, adjust, complained, read_response
from aspd_cli.endpoint.rate_limits import Pace
from aspd_cli.errors import EndpointError, ReplyError
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.safe_text import HIDDEN, keep_secret, redact

FUTILE = 10
"""Refused requests after which an endpoint that took none is given up."""
LOST = 3
"""Requests in a row that must spend their retries before an endpoint that answered is given up."""
CONNECT_SECONDS = 15.0


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
        self._counts = False
        """The endpoint has given several replies to one request."""
        self._failed: EndpointError | None = None
        """Why the endpoint was given up."""

    async def open(self) -> None:
        """Makes the client.

        Raises:
            EndpointError: there is no key, or it is no key; or the address is none.
        """
        import openai

        section = self._section
        key = read_key(section)
        where, query, headers = _address(section)
        timeout = openai.Timeout(section.timeout, connect=min(CONNECT_SECONDS, section.timeout))
        try:
            self._client = openai.AsyncOpenAI(
                base_url=where,
                api_key=key or "none",
                max_retries=0,
                timeout=timeout,
                default_headers=headers,
                # Takes half the processor time of the default transport. Where a redirect leads,
                # neither the key nor what is asked belongs.
                http_client=openai.DefaultAioHttpClient(timeout=timeout, follow_redirects=False),
            )
        except Exception as error:  # httpx2 has no common base for what is wrong with a URL
            raise EndpointError(
                f"cannot use the endpoint {redact(where or '')}: {error}; "
                "correct transform.endpoint in the recipe"
            ) from error
        self.url = redact(str(self._client.base_url)).rstrip("/")
        self._path = "/chat/completions" + (f"?{query}" if query else "")

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
        refused = self._unsupported
        guesses: Iterator[frozenset[str]] | None = None
        while True:
            sent = adjust(request, refused)
            result, attempts = await self._repeated(sent, tokens)
            if isinstance(result, Response):
                self._learn(result, refused, sure=attempts == 1)
                return result
            if parameter := complained(result.message, result.parameter, sent):
                refused |= {parameter}
                continue
            if guesses is None:
                guesses = _guesses(sent, refused, result, counts=self._counts)
            if (guess := next(guesses, None)) is None:
                raise self._refused(result)
            refused = guess

    def _learn(self, response: Response, refused: frozenset[str], *, sure: bool) -> None:
        """Remembers what the endpoint takes.

        Args:
            sure: it took the request at once; an endpoint that failed and is well again may take
                what it is thought to refuse.
        """
        if len(response.texts) > 1:
            self._counts = True
            self._unsupported -= {"n"}
        self._unsupported |= refused if sure else refused - {"n"}

    async def _repeated(
        self, request: dict[str, Any], tokens: int
    ) -> tuple[Response | Refusal, int]:
        """Attempts, until one is answered or refused, and how many it took."""
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
                return response, failures + 1
            self._tokens.settle(tokens)
            if isinstance(trouble, Refusal):
                return trouble, failures + 1
            if isinstance(trouble, EndpointError):
                raise self._give_up(trouble)
            if trouble.internal and not failures and not self._counts and "n" in request:
                # Some servers fail at `n` instead of refusing it.
                return Refusal(trouble.reason, "n"), 1
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
            content = await self._client.post(self._path, cast_to=str, body=request)
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


def read_key(section: EndpointSection) -> str:
    """The key of an endpoint; empty for a server that needs none.

    Raises:
        EndpointError: there is none for the OpenAI API, or what there is cannot be a key.
    """
    name = section.api_key_env
    key = os.environ.get(name, "").strip()
    if not key and section.base_url is None:
        raise EndpointError(
            f"no API key: set the environment variable {name}, "
            "or endpoint.base_url in the recipe for a server that needs none"
        )
    keep_secret(key)
    odd = {
        "a quotation mark": any(each in key for each in "\"'"),
        "a line end": any(each in key for each in "\r\n"),
        "a blank": any(each.isspace() for each in key),
        "a character that is not ASCII": not key.isascii(),
        "a control character": not key.isprintable(),
    }
    if fault := next((what for what, found in odd.items() if found), None):
        raise EndpointError(
            f"the API key in {name} contains {fault}; set that variable to the key alone"
        )
    return key


def _address(section: EndpointSection) -> tuple[str | None, str, dict[str, str]]:
    """The address of an endpoint alone, and the query and further headers of every request.

    A user and a password in it take the place of the key.

    Raises:
        EndpointError: a secret is missing: the recipe was saved without it.
    """
    secrets = section.secrets()
    for secret in secrets:
        keep_secret(secret)
    if HIDDEN in secrets:
        raise EndpointError(
            f"a secret of the endpoint is {HIDDEN!r}: aspd saves recipes without secrets; set it "
            "anew in endpoint.base_url or endpoint.extra_body"
        )
    if section.base_url is None:
        return None, "", {}
    where, _, query = section.base_url.partition("#")[0].partition("?")
    scheme, _, rest = where.partition("://")
    host, slash, path = rest.partition("/")
    user, at, host = host.rpartition("@")
    if not at:
        return where, query, {}
    code = base64.b64encode(unquote(user).encode()).decode()
    keep_secret(code)
    return f"{scheme}://{host}{slash}{path}", query, {"Authorization": f"Basic {code}"}


def _guesses(
    request: dict[str, Any], refused: frozenset[str], refusal: Refusal, *, counts: bool
) -> Iterator[frozenset[str]]:
    """What a refusal without a name may be about, one after another.

    The number of replies first, for it costs nothing to ask for them one by one; then the schema,
    which is what endpoints lack most often.

    Args:
        counts: the endpoint is known to take `n`.
    """
    if refusal.parameter and refusal.parameter.split(".")[0] in request.keys() - ADJUSTABLE:
        return
    several = "n" in request and not counts
    if several:
        yield refused | {"n"}
    if "response_format" in request:
        yield refused | {"response_format"}
        if several:
            yield refused | {"n", "response_format"}
