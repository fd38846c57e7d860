"""A second vote on finished data: is every block still found independent? (`validate --judge`)"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import replace

from aspd_cli.endpoint.client import Endpoint
from aspd_cli.endpoint.usage import StageTally
from aspd_cli.errors import ReplyError, UsageError
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.blocks import in_context
from aspd_cli.transform.io.concurrency import in_order
from aspd_cli.transform.llm.judge import Judge
from aspd_cli.transform.validation.findings import Checked, Finding, around


class Revote:
    """Asks the endpoint of a recipe about every block, `samples` times.

    Raises:
        UsageError: the recipe has no endpoint.
    """

    def __init__(self, transform: TransformSection) -> None:
        if transform.endpoint is None:
            raise UsageError(
                "--judge needs an endpoint, and none is configured; set one in the recipe, or with "
                "--set transform.endpoint.model=NAME"
            )
        self._transform = transform
        self._at_once = 2 * transform.endpoint.concurrency
        self._endpoint = Endpoint(transform.endpoint)
        self._judge = Judge(self._endpoint, transform.samples, transform.accept)

    @property
    def spent(self) -> StageTally:
        """What the votes have cost so far."""
        return self._endpoint.tally.total

    def judged(self, checks: Iterable[Checked]) -> Iterator[Checked]:
        """`checks` in their order, each with a finding for every block that is not accepted.

        Raises:
            EndpointError: the endpoint cannot be used, or the budget is spent.
        """
        # The calls stand still between two results, which are a moment apart.
        with asyncio.Runner() as runner:
            results = self._results(checks)
            try:
                while (checked := runner.run(_next(results))) is not None:
                    yield checked
            finally:
                runner.run(results.aclose())

    async def _results(self, checks: Iterable[Checked]) -> AsyncGenerator[Checked, None]:
        async with self._endpoint:
            results = in_order(checks, self._vote, at_once=self._at_once)
            try:
                async for checked in results:
                    yield checked
            finally:
                await results.aclose()

    async def _vote(self, checked: Checked) -> Checked:
        if checked.document is None:
            return checked
        findings = list(checked.findings)
        for block, before in in_context(checked.document):
            try:
                yes = await self._judge.independence(checked.prompt, before, block)
            except ReplyError as error:
                findings.append(Finding(checked.line, "judge", f"no verdict: {error}"))
                continue
            if yes < self._transform.accept:
                titles = ", ".join(repr(branch.title) for branch in block.branches)
                reason = f"{yes} of {self._transform.samples} votes find {titles} independent"
                near = around(block.texts[0], 0)
                found = Finding(checked.line, "judge", reason, excerpt=near, block=block)
                findings.append(found)
        return replace(checked, findings=tuple(findings))


async def _next(results: AsyncGenerator[Checked, None]) -> Checked | None:
    return await anext(results, None)
