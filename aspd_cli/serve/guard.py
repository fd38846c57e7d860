"""Who may ask: the API key, and what a web page of someone else must not do through a browser.

Cross-origin requests of browsers find no CORS headers, and every body must be declared as JSON,
which a page cannot do without asking first. Without a key, a server on the loopback interface also
answers to local names only: a foreign name that resolves to this machine is an attack.
"""

import secrets
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from aspd_cli.serve.page import PATHS

OPEN = ("/health", *PATHS)
"""Paths that need no key: what they give is the same for everyone."""

_LOCAL = {"localhost", "127.0.0.1", "::1"}
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        b"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]


class Guard:
    """Refuses requests before they reach the routes, and adds headers to every response."""

    def __init__(self, app: ASGIApp, *, api_key: str | None, local_only: bool) -> None:
        self.app, self._key = app, api_key
        self._local_only = local_only and api_key is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        refusal = self._refusal(scope)
        app = self.app if refusal is None else refusal
        await app(scope, receive, send_with_headers)  # type: ignore[arg-type]

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if self._local_only and not _is_local(headers.get(b"host", b"").decode("latin-1")):
            return error_response(
                403, "this server answers to localhost only: start it with an API key to open it"
            )
        if self._key is not None and scope["path"] not in OPEN:
            given = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
            if not secrets.compare_digest(given, self._key.encode()):
                return error_response(
                    401, "the API key is missing or wrong: send Authorization: Bearer KEY"
                )
        if scope["method"] == "POST":
            kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
            if kind != b"application/json":
                return error_response(415, "send JSON, with Content-Type: application/json")
        return None


def error_response(
    status: int, message: str, *, param: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error in OpenAI's form."""
    return JSONResponse(error_body(status, message, param), status, headers)


def error_body(status: int, message: str, param: str | None = None) -> dict[str, object]:
    kind = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    named = kind.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": named, "param": param, "code": status}}


def _is_local(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in _LOCAL
    except ValueError:
        return False
