"""The judge: a model that is asked for a verdict several times, and how many said yes."""

import re
from typing import Any

from aspd_cli.core.markup import Block
from aspd_cli.endpoint.client import Endpoint
from aspd_cli.endpoint.messages import Call, read_json
from aspd_cli.errors import ReplyError
from aspd_cli.transform.llm.prompts import fill

INDEPENDENCE, INTEGRITY, ANSWER = "independence", "integrity", "answer"
"""The stages, which are the names of their prompts."""

_KEYS = {INDEPENDENCE: "independent", INTEGRITY: "intact", ANSWER: "same"}
_WORD = re.compile(r"\W*(\w+)\W*")
_YES = frozenset("true yes 是 对".split())
_NO = frozenset("false no 否 不是 不".split())


class Judge:
    """Asks an endpoint for `samples` verdicts on one thing.

    Each method returns how many said yes. They raise `ReplyError` when too few verdicts are to be
    had, `EndpointError` when the endpoint cannot be used, `BudgetError` when the budget is spent.

    Args:
        accept: how many yes decide for yes, whatever the other verdicts would be.
    """

    def __init__(self, endpoint: Endpoint, samples: int, accept: int) -> None:
        self.endpoint = endpoint
        self.samples = samples
        self.accept = accept

    async def independence(self, question: str, before: str, block: Block) -> int:
        """Votes for no branch of a block needing another.

        Args:
            question: what the user asked.
            before: all of the answer that the branches see.
        """
        return await self._votes(INDEPENDENCE, independence_messages(question, before, block))

    async def integrity(self, question: str, original: str, rewritten: str) -> int:
        """Votes for a rewritten answer saying what the original said, and nothing else."""
        return await self._votes(INTEGRITY, _compared(INTEGRITY, question, original, rewritten))

    async def answer(self, question: str, original: str, rewritten: str) -> int:
        """Votes for a rewritten answer still giving the original's reply to the question."""
        return await self._votes(ANSWER, _compared(ANSWER, question, original, rewritten))

    async def _votes(self, stage: str, messages: tuple[dict[str, str], ...]) -> int:
        key = _KEYS[stage]
        call = Call(stage, messages, n=self.samples, schema=_schema(key))
        try:
            return sum(await self.endpoint.ask(call, lambda reply: read_verdict(reply, key)))
        except ReplyError as error:
            yes: int = sum(error.valid)
            if yes < self.accept:
                raise
            return yes


def independence_messages(question: str, before: str, block: Block) -> tuple[dict[str, str], ...]:
    """The messages that ask whether the branches of a block are independent."""
    branches = "\n".join(
        f'<part number="{n}" title="{branch.title}">\n{text.strip()}\n</part>'
        for n, (branch, text) in enumerate(zip(block.branches, block.texts, strict=True), start=1)
    )
    return fill(INDEPENDENCE, question=question, before=before.rstrip(), branches=branches)


def read_verdict(reply: str, key: str) -> bool:
    """The verdict in a reply: under `key`, as the only truth value of its object, or as one word.

    Raises:
        ReplyError: there is none.
    """
    word = _WORD.fullmatch(reply)
    if word is not None and (verdict := _truth(word[1])) is not None:
        return verdict
    value = read_json(reply)
    if isinstance(value, dict):
        if (verdict := _truth(value.get(key))) is not None:
            return verdict
        verdicts = [truth for truth in map(_truth, value.values()) if truth is not None]
        if len(verdicts) == 1:
            return verdicts[0]
    raise ReplyError(f"no verdict `{key}` in {reply[:60]!r}")


def _compared(
    prompt: str, question: str, original: str, rewritten: str
) -> tuple[dict[str, str], ...]:
    return fill(prompt, question=question, original=original, rewritten=rewritten)


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    word = value.strip().strip(".!。").lower() if isinstance(value, str) else ""
    return True if word in _YES else False if word in _NO else None


def _schema(key: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"reason": {"type": "string"}, key: {"type": "boolean"}},
        "required": ["reason", key],
        "additionalProperties": False,
    }
