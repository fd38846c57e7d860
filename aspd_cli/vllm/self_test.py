"""Whether this vLLM stitches right, asked of vLLM itself before the first answer.

What comes after a block sees its branches as a set: each was made at the positions of the fork, so
their order in the cache does not count. Two blocks, stitched in both orders, must therefore leave
the same log-probabilities; a text without branches, stitched of two pieces, those of its plain
recomputation; and the blocks recomputed from their tokens alone others, or nothing is shown.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import count
from random import Random
from typing import Any
from uuid import uuid4

from aspd_cli.errors import ModelError
from aspd_cli.vllm.model import RemoteModel
from aspd_cli.vllm.token_engine import TokenEngine, TokenOutput, TokenRequest

_LIKELY = 20
_SHARE = 0.2
"""Most of the effect of stitching that may be error; half precision takes a few hundredths."""


def self_test(engine: TokenEngine, model: RemoteModel) -> float:
    """The largest error of a log-probability.

    Raises:
        ModelError: this vLLM has no connector, or another text would come out.
    """
    asking = _Asking(engine)
    draw = Random(0)
    ordinary = sorted(set(model.codec.tokenizer.get_vocab().values()) - model.codec.special)
    start, one, two, middle, three, four, end = (
        draw.choices(ordinary, k=length) for length in (37, 11, 19, 5, 23, 7, 3)
    )
    try:
        asking.keep("both", [*start, *one, *two])
        flat = asking.ask([*start, *one, *two, *end])
        cut = len(start) + len(one)
        pieces = asking.ask([*start, *one, *two, *end], [("both", 0, cut), ("both", cut, len(two))])

        orders = []
        odd, even = [one, three], [two, four]
        for name, first, second in (("a", odd, even), ("b", even, odd)):
            text = list(start)
            uses: list[Any] = []
            for block, (left, right) in enumerate(zip(first, second, strict=True)):
                here, stem = len(text), f"{name}{block}"
                asking.keep(f"{stem}l", [*text, *left], uses)
                asking.keep(f"{stem}r", [*text, *right], uses)
                stitched = [(f"{stem}l", 0, here + len(left)), (f"{stem}r", here, len(right))]
                text += [*left, *right, *(end if block else middle)]
                if not block:
                    asking.keep(stem, text, stitched)
                    uses = [(stem, 0, len(text))]
            orders.append(asking.ask(text, stitched))
        linear = asking.ask([*start, *one, *two, *middle, *three, *four, *end])
    finally:
        asking.end()
    error = max(_distance(flat, pieces), _distance(*orders))
    effect = _distance(orders[0], linear)
    if not error <= _SHARE * effect:
        raise ModelError(
            f"this vLLM does not stitch branches right (self-test: log-probabilities are off by "
            f"{error:.2g}, where a recomputation is by {effect:.2g}): it cannot be decoded exactly"
        )
    return error


Uses = Sequence[tuple[str, int, int]]


class _Asking:
    """Requests one after another, all of one answer."""

    def __init__(self, engine: TokenEngine) -> None:
        self.engine, self.key, self.numbers = engine, uuid4().hex, count()

    def keep(self, name: str, ids: Sequence[int], uses: Uses = ()) -> None:
        """Has keys and values of `ids` kept."""
        told = self._send(ids, uses, {"name": name, "keeps": True}).told
        if told is None:
            raise ModelError(
                "this vLLM has no connector of aspd and cannot decode as aspd does: start it with "
                "the command of `aspd serve --engine vllm --print-command`"
            )
        if told["kept"] != len(ids):
            raise ModelError(
                "vLLM's key-value cache has no room for the self-test: give it more memory"
            )

    def ask(self, ids: Sequence[int], uses: Uses = ()) -> Mapping[int, float]:
        """The likeliest tokens after `ids`, and their log-probabilities."""
        output = self._send(ids, uses, {"name": "asked"}, logprobs=_LIKELY)
        if not output.logprobs:
            raise ModelError("this vLLM failed in the self-test: its log tells why")
        return output.logprobs[0]

    def end(self) -> None:
        told = {"answer": self.key, "release": True}
        self.engine.submit(TokenRequest(f"{self.key}-end", [0], 1, cache=told, streams=False))

    def _send(
        self, ids: Sequence[int], uses: Uses, cache: dict[str, Any], logprobs: int | None = None
    ) -> TokenOutput:
        # Each has a salt of its own: equal tokens stand for different keys and values here.
        name = f"{self.key}-{next(self.numbers)}"
        told = {"answer": self.key, "uses": [list(use) for use in uses], **cache}
        self.engine.submit(
            TokenRequest(name, ids, 1, salt=name, cache=told, streams=False, logprobs=logprobs)
        )
        while True:
            for output in self.engine.poll():
                if output.id == name and output.finished:
                    return output


def _distance(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    """Largest difference of the log-probabilities that both tell; infinite where few are."""
    common = one.keys() & other.keys()
    if len(common) < _LIKELY // 2:
        return math.inf
    return max(abs(one[token] - other[token]) for token in common)
