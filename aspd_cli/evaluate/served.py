"""A server as a system: what it answers, and how long that took over HTTP."""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from aspd_cli.core.chat import Prompt, to_messages
from aspd_cli.core.markup import render
from aspd_cli.core.metrics import AnswerStats
from aspd_cli.errors import ReplyError
from aspd_cli.evaluate.requests import EvalRequest, Reply, serial_document
from aspd_cli.evaluate.results import System
from aspd_cli.recipe.endpoint import ServerSection

if TYPE_CHECKING:
    from aspd_cli.endpoint.served import ServedModel
    from aspd_cli.endpoint.streaming import ServedAnswer
    from aspd_cli.engine.options import GenerationOptions

SERVER = "server"
"""Library and device of a system that is not on this machine, as far as it is known here."""


class ServedSystem:
    """A running `aspd serve`, or any other OpenAI-compatible server; it decodes as it is set up.

    Args:
        model: entered.
    """

    device = None
    """What it runs on is not known here."""

    def __init__(self, name: str, model: "ServedModel") -> None:
        self.model = model
        self.system = System(
            name=name,
            library=SERVER,
            mode="parallel" if model.is_aspd else "plain",
            model=f"{model.name} at {model.url}",
            device=SERVER,
            dtype="",
        )

    def encode(self, prompt: Prompt, options: "GenerationOptions") -> dict[str, Any]:
        """A prompt as fields of an `EvalRequest`."""
        return {"ids": (), "messages": tuple(to_messages(prompt, options.system))}

    def answer(self, requests: Sequence[EvalRequest], concurrency: int) -> "list[ServedAnswer]":
        """The answers to requests, so many at a time; in their order.

        Raises:
            ReplyError: the server does not take one.
            EndpointError: the server cannot be used any more.
        """
        asked = [
            (request.messages, self.model.fields(request.options, draw=request.repeat))
            for request in requests
        ]
        found: dict[int, ServedAnswer] = {}
        for index, answer in self.model.answers(asked, concurrency):
            if isinstance(answer, ReplyError):
                raise ReplyError(f"{self.system.name}, {requests[index].doc_id}: {answer}")
            found[index] = answer
        return [found[index] for index in range(len(requests))]

    def reply(self, answer: "ServedAnswer") -> Reply:
        """What is reported of an answer."""
        stats = answer_stats(answer.stats)
        markup = answer.markup or render(serial_document(answer.text))
        mended = stats.blocks > 0 and answer.finish_reason == "length"
        return Reply(answer.text, markup, answer.finish_reason, stats, (), mended)


def open_served(name: str, url: str, held: ExitStack) -> ServedSystem:
    """The system at an address, whose fragment is the model's name where there are several.

    Args:
        held: closes the connection.

    Raises:
        EndpointError: nothing answers there, or no one model is found.
    """
    from aspd_cli.endpoint.served import ServedModel

    address, _, model = url.partition("#")
    section = ServerSection(base_url=address, model=model)
    return ServedSystem(name, held.enter_context(ServedModel(section)))


def answer_stats(told: Mapping[str, Any]) -> AnswerStats:
    """Measures of a server: NaN for tokens and steps that it does not tell, no branches."""
    tokens = told.get("tokens", math.nan)
    known: dict[str, Any] = {field.name: 0 for field in fields(AnswerStats)}
    known |= {"tokens": tokens, "useful_tokens": tokens, "steps": math.nan, "decoded_tokens": None}
    known |= {"max_lanes": 1, "prompt_tokens": math.nan}
    known |= {name: value for name, value in told.items() if name in known}
    return AnswerStats(**known)
