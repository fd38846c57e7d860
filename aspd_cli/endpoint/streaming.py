"""Answers as a server streams them: each whole, in time, with what the server tells of it.

What a chunk holds is OpenAI's; `aspd serve` adds what each branch writes (`delta.aspd`), and how
the answer was decoded.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aspd_cli.endpoint.failures import Again, diagnose
from aspd_cli.endpoint.messages import BadResponse, Response
from aspd_cli.endpoint.transport import Sender
from aspd_cli.engine.events import CutBy
from aspd_cli.errors import EndpointError
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.safe_text import excerpt

Chunk = Mapping[str, Any]

_USAGE = {"prompt_tokens": "prompt_tokens", "completion_tokens": "tokens"}
"""A count of OpenAI's usage -> the measure of `AnswerStats`."""
_DETAILS = ("useful_tokens", "steps", "blocks", "branches")
"""Counts that `aspd serve` adds to the details of the usage."""


@dataclass(frozen=True, slots=True)
class ServedAnswer:
    """A finished answer of a server."""

    text: str
    """What the reader sees."""
    finish_reason: str
    """"stop" or "length", as the server says."""
    stats: Mapping[str, Any]
    """Measures by their names in `AnswerStats`: what the server tells, and the times as they were
    here, the way over the network included."""
    markup: str | None = None
    """The document written with control tokens; None where the server does not tell."""
    cut_by: CutBy | None = None
    """The budget that closed something; None where the server does not tell."""


@dataclass(frozen=True, slots=True)
class Streamed(Response):
    """A response that came in chunks."""

    answer: ServedAnswer | None = None


class StreamingSender(Sender):
    """A sender whose replies come as streams.

    Args:
        section: an empty or unknown model is looked for when it is opened.
        model: the name of the model; empty: the only one that the server lists.
    """

    def __init__(self, section: EndpointSection, model: str) -> None:
        super().__init__(section)
        self.model = model
        self.is_aspd = False
        """Whether the server is `aspd serve`: it knows modes and tells of branches."""
        self.hear: Callable[[Chunk], None] = lambda _: None
        """Is given each chunk of the one request that is under way."""

    async def open(self) -> None:
        """Makes the client and finds the model.

        Raises:
            EndpointError: see `Sender.open`; or nothing answers, or there is not just one model.
        """
        await super().open()
        try:
            cards = await self._cards()
        except BaseException:
            await self.close()
            raise
        if not self.model:
            names = [str(card.get("id")) for card in cards]
            if len(names) != 1:
                await self.close()
                listed = excerpt(", ".join(names)) if names else "does not list its models"
                few = f"{self.url} serves {listed}" if names else f"{self.url} {listed}"
                raise EndpointError(f"{few}: choose one by its name with --model")
            self.model = names[0]
        card = next((card for card in cards if card.get("id") == self.model), {})
        self.is_aspd = card.get("owned_by") == "aspd"
        self._section = self._section.model_copy(update={"model": self.model})

    async def _cards(self) -> list[dict[str, Any]]:
        """What the server says of its models; nothing where it does not."""
        import openai

        try:
            content = await self._client.get("/models", cast_to=str)
            data = json.loads(content)["data"]
        except (openai.NotFoundError, ValueError, KeyError, TypeError):
            return []
        except Exception as error:
            trouble = diagnose(error, self._section, self.url, answered=False)
            if isinstance(trouble, EndpointError):
                raise trouble from error
            if isinstance(trouble, Again) and trouble.unreachable:
                raise self._unreachable(trouble) from error
            told = trouble.reason if isinstance(trouble, Again) else trouble.message
            raise EndpointError(f"{self.url} does not list its models: {told}") from error
        return [card for card in data if isinstance(card, dict)] if isinstance(data, list) else []

    async def _attempt(self, request: dict[str, Any]) -> Response:
        import openai

        reading = _Reading()
        asked = {**request, "stream": True, "stream_options": {"include_usage": True}}
        try:
            stream = await self._client.post(
                self._path,
                cast_to=object,
                body=asked,
                stream=True,
                stream_cls=openai.AsyncStream[object],
            )
            async for chunk in stream:
                if isinstance(chunk, dict):
                    reading.take(chunk)
                    self.hear(chunk)
        except ValueError as error:
            raise BadResponse(f"what is not JSON ({excerpt(error, 40)})") from error
        except openai.APIError as error:
            if type(error) is openai.APIError:  # told within the stream
                raise BadResponse(f"an error amid the answer: {excerpt(error)}") from error
            raise
        answer = reading.answer()
        counts = answer.stats
        return Streamed(
            (answer.text,), counts.get("prompt_tokens"), counts.get("tokens"), answer=answer
        )

    def _spent(self, trouble: Again, failures: int, alone: bool) -> Exception:
        if failures > 1:
            return super()._spent(trouble, failures, alone)
        return EndpointError(
            f"{self.url} gave no whole answer: {trouble.reason}; run the same command again"
        )


class _Reading:
    """The chunks of one answer as they come."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._first: float | None = None
        self._texts: list[str] = []
        self._reason: str | None = None
        self._told: Mapping[str, Any] = {}
        self._usage: Mapping[str, Any] = {}

    def take(self, chunk: Chunk) -> None:
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = usage
        choice = choice_of(chunk)
        delta = choice.get("delta") or {}
        if delta.get("content"):
            self._texts.append(delta["content"])
        if self._first is None and (delta.get("content") or delta.get("aspd")):
            self._first = time.perf_counter() - self._began
        self._reason = choice.get("finish_reason") or self._reason
        if isinstance(told := choice.get("aspd"), dict):
            self._told = told

    def answer(self) -> ServedAnswer:
        """The answer, which has ended. Raises `BadResponse` when it has not."""
        if self._reason is None:
            raise BadResponse("only the begin of an answer")
        seconds = time.perf_counter() - self._began
        details = self._usage.get("completion_tokens_details") or {}
        counts = {
            **{ours: self._usage.get(theirs) for theirs, ours in _USAGE.items()},
            **{name: details.get(name) for name in _DETAILS},
            **(self._told.get("stats") or {}),
        }
        stats = {name: value for name, value in counts.items() if value is not None}
        first = seconds if self._first is None else self._first
        stats |= {"ttft_s": round(first, 4), "time_s": round(seconds, 4)}
        if (read := stats.get("useful_tokens", stats.get("tokens"))) is not None:
            stats["tps"] = round(read / seconds, 4)
        return ServedAnswer(
            "".join(self._texts),
            self._reason,
            stats,
            self._told.get("markup"),
            self._told.get("cut_by"),
        )


def choice_of(chunk: Chunk) -> Mapping[str, Any]:
    """The one choice of a chunk; nothing in a chunk of other news."""
    choices = chunk.get("choices")
    found = choices[0] if isinstance(choices, list) and choices else {}
    return found if isinstance(found, dict) else {}
