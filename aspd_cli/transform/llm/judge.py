"""The judge: a model that is asked for a verdict several times, and how many said yes."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from aspd_cli.core.markup import Block
from aspd_cli.endpoint.client import Endpoint
from aspd_cli.endpoint.messages import Call, read_json
from aspd_cli.errors import ReplyError
from aspd_cli.transform.llm.prompts import fill

INDEPENDENCE, INTEGRITY, ANSWER = "independence", "integrity", "answer"
"""The stages, which are the names of their prompts."""

_KEYS = {INTEGRITY: "intact", ANSWER: "same"}
_WORD = re.compile(r"\W*(\w+)\W*")
_YES = frozenset("true yes 是 对".split())
_NO = frozenset("false no 否 不是 不".split())
_NOTHING = frozenset(("", "none", "nothing", "无", "没有"))


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

    async def independence(self, question: str, before: str, block: Block) -> list[int]:
        """For each branch of a block, the votes for it needing none of the others.

        Args:
            question: what the user asked.
            before: all of the answer that the branches see.
        """
        count = len(block.branches)
        messages = independence_messages(question, before, block)
        call = Call(INDEPENDENCE, messages, n=self.samples, schema=_DEPENDENT)
        return await self._votes(call, lambda reply: read_independent(reply, count))

    async def integrity(self, question: str, original: str, rewritten: str) -> int:
        """Votes for a rewritten answer saying what the original said, and nothing else."""
        return await self._compare(INTEGRITY, question, original, rewritten)

    async def answer(self, question: str, original: str, rewritten: str) -> int:
        """Votes for a rewritten answer still giving the original's reply to the question."""
        return await self._compare(ANSWER, question, original, rewritten)

    async def _compare(self, stage: str, question: str, original: str, rewritten: str) -> int:
        key = _KEYS[stage]
        messages = fill(stage, question=question, original=original, rewritten=rewritten)
        call = Call(stage, messages, n=self.samples, schema=_schema(key, {"type": "boolean"}))
        [yes] = await self._votes(call, lambda reply: [read_verdict(reply, key)])
        return yes

    async def _votes(self, call: Call, read: Callable[[str], list[bool]]) -> list[int]:
        """How many said yes to each of the things that one reply is about."""
        try:
            return _counted(await self.endpoint.ask(call, read))
        except ReplyError as error:
            missing = self.samples - len(error.valid)
            yes = _counted(error.valid)
            if not yes or any(n < self.accept <= n + missing for n in yes):
                raise
            return yes


def _counted(verdicts: Sequence[list[bool]]) -> list[int]:
    return [sum(each) for each in zip(*verdicts, strict=True)]


def independence_messages(question: str, before: str, block: Block) -> tuple[dict[str, str], ...]:
    """The messages that ask whether the branches of a block are independent."""
    branches = "\n".join(
        f'<part number="{n}" title="{branch.title}">\n{text.strip()}\n</part>'
        for n, (branch, text) in enumerate(zip(block.branches, block.texts, strict=True), start=1)
    )
    return fill(INDEPENDENCE, question=question, before=before.rstrip(), branches=branches)


def read_independent(reply: str, count: int) -> list[bool]:
    """For each of `count` parts, whether a reply finds it independent.

    A reply lists the parts that are not, under `dependent`; a verdict on all of them is one, too.

    Raises:
        ReplyError: it does neither, or names a part that there is not.
    """
    word = _WORD.fullmatch(reply)
    value = None if word and _truth(word[1]) is not None else read_json(reply)
    listed = value.get("dependent") if isinstance(value, dict) else value
    if listed is None:
        return [read_verdict(reply, "independent")] * count
    if (all_of_them := _truth(listed)) is not None:
        return [not all_of_them] * count
    found = {int(n) for n in re.findall(r"\d{1,6}", str(listed))}
    nothing = listed == [] or str(listed).strip(" .").lower() in _NOTHING
    if not (found or nothing) or not found <= set(range(1, count + 1)):
        raise ReplyError(f"`dependent` is {str(listed)[:60]}, not numbers of the {count} parts")
    return [n not in found for n in range(1, count + 1)]


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


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    word = value.strip().strip(".!。").lower() if isinstance(value, str) else ""
    return True if word in _YES else False if word in _NO else None


def _schema(key: str, verdict: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"reason": {"type": "string"}, key: verdict},
        "required": ["reason", key],
        "additionalProperties": False,
    }


_DEPENDENT = _schema("dependent", {"type": "array", "items": {"type": "integer"}})
