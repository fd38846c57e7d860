"""A run that a test kills: asks COUNT questions of three samples each, and tells each that it has.

python -m tests.endpoint.killed URL JOURNAL COUNT
"""

import asyncio
import sys
from pathlib import Path

from aspd_cli.endpoint.client import Endpoint
from aspd_cli.endpoint.journal import Journal
from aspd_cli.recipe.endpoint import EndpointSection
from tests.endpoint.asking import call, reply_of

CONCURRENCY = 16


async def run(url: str, journal: Journal, count: int) -> None:
    section = EndpointSection(model="m", base_url=url, concurrency=CONCURRENCY, timeout=5.0)

    async with Endpoint(section, journal) as endpoint:

        async def one(number: int) -> None:
            await endpoint.ask(call(f"question {number}", n=3), reply_of)
            print(number, flush=True)

        await asyncio.gather(*map(one, range(count)))


if __name__ == "__main__":
    with Journal(Path(sys.argv[2]), {}) as opened:
        asyncio.run(run(sys.argv[1], opened, int(sys.argv[3])))
