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
    """Asks the judge of a recipe about every block, `samples` times.

    Raises:
        UsageError: the recipe has no endpoint.
    """

    def __init__(self, transform: TransformSection) -> None:
        section = transform.judge or transform.endpoint
        if section is None:
            raise UsageError(
                "--judge needs an endpoint, and none is configured; set one in the recipe, or with "
                "--set transform.judge.model=NAME"
            )
        self._samples, self._accept = transform.votes_of(section)
        self._at_once = 2 * section.concurrency
        self._endpoint = Endpoint(section)
        self._judge = Judge(self._endpoint, self._samples, self._accept)

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
                votes = await self._judge.independence(checked.prompt, before, block)
            except ReplyError as error:
                findings.append(Finding(checked.line, "judge", f"no verdict: {error}"))
                continue
            near = around(block.texts[0], 0)
            refused: dict[int, list[str]] = {}
            for branch, yes in zip(block.branches, votes, strict=True):
                if yes < self._accept:
                    refused.setdefault(yes, []).append(repr(branch.title))
            for yes, titles in refused.items():
                reason = f"{yes} of {self._samples} votes find {', '.join(titles)} independent"
                found = Finding(checked.line, "judge", reason, excerpt=near, block=block)
                findings.append(found)
        return replace(checked, findings=tuple(findings))


async def _next(results: AsyncGenerator[Checked, None]) -> Checked | None:
    return await anext(results, None)
