"""How the tests of this directory ask: one run of an endpoint against a server."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from aspd_cli.endpoint.client import Call, Endpoint
from aspd_cli.endpoint.journal import Journal
from aspd_cli.endpoint.usage import Tally
from aspd_cli.errors import ReplyError
from aspd_cli.recipe.endpoint import EndpointSection
from tests.endpoint_server import Server

SCHEMA = {"type": "object", "properties": {"reply": {"type": "string"}}}


def section(server: Server | None, **fields: Any) -> EndpointSection:
    return EndpointSection(
        **{"model": "m", "base_url": server.url if server else None, "timeout": 20.0, **fields}
    )


def call(text: str = "question", stage: str = "test", **fields: Any) -> Call:
    return Call(stage, ({"role": "user", "content": text},), **fields)


def reply_of(text: str) -> str:
    """The check of most tests: a JSON object with a reply."""
    try:
        return str(json.loads(text)["reply"])
    except (ValueError, KeyError, TypeError):
        raise ReplyError("it is no object with a reply") from None


def ask(
    server: Server | None,
    calls: Sequence[Call],
    check: Callable[[str], Any] = reply_of,
    journal: Journal | None = None,
    **fields: Any,
) -> tuple[list[Any], Tally]:
    """What the calls bring, asked at once: their replies, or the errors they raise."""

    async def run() -> tuple[list[Any], Tally]:
        async with Endpoint(section(server, **fields), journal) as endpoint:
            asked = (endpoint.ask(each, check) for each in calls)
            return await asyncio.gather(*asked, return_exceptions=True), endpoint.tally

    return asyncio.run(run())
