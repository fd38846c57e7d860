"""Bodies of requests: OpenAI's fields, vLLM's for sampling, ours for branches.

A field that would change the answer and is not supported is refused; fields of no consequence, such
as `user`, are ignored. No field names a file, a model other than the one that is served, or a chat
template.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aspd_cli.engine.options import GenerationOptions
from aspd_cli.errors import AspdError

MAX_CHOICES = 16
"""Most answers that one request may ask for."""
_COMPLETION_TOKENS = 16
"""Longest completion where the request does not say: OpenAI's default."""


class RequestError(AspdError):
    """A request that cannot be served as it is.

    Args:
        status: HTTP status, 4xx.
        param: the field at fault.
    """

    def __init__(self, message: str, *, status: int = 400, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param = status, param


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


Parsed = TypeVar("Parsed", bound=_Body)


class StreamOptions(_Body):
    include_usage: bool | None = None


class _Generation(_Body):
    """What both kinds of completions have."""

    model: str | None = None
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=100)
    seed: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    mode: Literal["parallel", "serial", "plain"] | None = None
    max_branch_tokens: int | None = Field(None, ge=1)
    max_branches: int | None = Field(None, ge=2, le=64)
    branch_events: bool | None = None
    """Whether chunks of a stream also hold `delta.aspd`, the branches side by side."""
    return_markup: bool | None = None
    """Whether choices also hold `aspd`: markup, and how they were decoded."""
    return_token_ids: bool | None = None
    """Whether choices also hold `token_ids`, in document order; vLLM's name."""

    @model_validator(mode="after")
    def _supported(self) -> Self:
        for name in ("presence_penalty", "frequency_penalty", "logit_bias"):
            if getattr(self, name):
                raise ValueError(f"{name} is not supported: leave it out")
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if not all(stops):
            raise ValueError("a stop string must not be empty")
        if len(stops) > 16 or any(len(stop) > 1000 for stop in stops):
            raise ValueError("at most 16 stop strings of at most 1000 characters")
        return self

    @property
    def choices(self) -> int:
        return self.n or 1

    @property
    def includes_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def options(
        self, base: GenerationOptions, max_new_tokens: int | None, mode: str | None = None
    ) -> GenerationOptions:
        """The engine's options: what the request says, else `base`."""
        named = ("temperature", "top_p", "min_p", "repetition_penalty", "max_branches")
        given = {name: getattr(self, name) for name in (*named, "max_branch_tokens", "seed")}
        given["mode"] = self.mode or mode
        given["max_new_tokens"] = max_new_tokens
        given["stop"] = (self.stop,) if isinstance(self.stop, str) else self.stop
        fields = {name: value for name, value in given.items() if value is not None}
        if self.top_k is not None:
            fields["top_k"] = self.top_k if self.top_k > 0 else None  # vLLM: 0 and -1 are none
        if self.seed is None and fields.get("temperature", base.temperature):
            fields["seed"] = secrets.randbits(63)
        return replace(base, **fields)


class _JsonSchema(_Body):
    type: str = "text"


class ChatBody(_Generation):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    response_format: _JsonSchema | None = None

    @model_validator(mode="after")
    def _chat(self) -> Self:
        if (self.tools and self.tool_choice != "none") or self.functions:
            raise ValueError("tools are not supported: leave them out")
        if self.response_format and self.response_format.type != "text":
            raise ValueError("response_format can only be text")
        if self.logprobs and self.stream:
            raise ValueError("logprobs are not streamed: leave out stream")
        return self

    @property
    def budget(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def conversation(self) -> list[dict[str, str]]:
        """The messages with their contents as text. Raises `RequestError`."""
        return conversation(self.messages)


class CompletionBody(_Generation):
    """`POST /v1/completions`."""

    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: int | None = Field(None, ge=0)
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=20)
    suffix: str | None = None
    best_of: int | None = None

    @model_validator(mode="after")
    def _completion(self) -> Self:
        if self.suffix:
            raise ValueError("suffix is not supported: leave it out")
        if self.best_of not in (None, self.choices):
            raise ValueError("best_of is not supported: leave it out")
        if self.logprobs is not None and self.stream:
            raise ValueError("logprobs are not streamed: leave out stream")
        if self.budget == 0 and not self.echo:
            raise ValueError("max_tokens must be at least 1 without echo")
        if not self.prompt or not all(self.prompts):
            raise ValueError("the prompt is empty")
        return self

    @property
    def budget(self) -> int:
        return _COMPLETION_TOKENS if self.max_tokens is None else self.max_tokens

    @property
    def prompts(self) -> Sequence[str | list[int]]:
        """Each a text, or token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        return [self.prompt] if isinstance(self.prompt[0], int) else self.prompt


class TokenizeBody(_Body):
    """`POST /tokenize`: a text, or messages as the chat template writes them."""

    model: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        return self


class DetokenizeBody(_Body):
    """`POST /detokenize`."""

    model: str | None = None
    tokens: list[int]


def parse(kind: type[Parsed], data: Any) -> Parsed:
    """A body of a kind.

    Raises:
        RequestError: one sentence on the first thing that is wrong.
    """
    if not isinstance(data, Mapping):
        raise RequestError("the body must be a JSON object")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = [part for part in first["loc"] if part in kind.model_fields or isinstance(part, int)]
        place = "".join(f"[{p}]" if isinstance(p, int) else str(p) for p in at)
        message = first["msg"].removeprefix("Value error, ")
        if place:
            message = f"{place}: {message[:1].lower()}{message[1:]}"
        raise RequestError(message, param=place or None) from None


def conversation(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Messages as roles and texts.

    Raises:
        RequestError: one is something else.
    """
    turns = []
    for at, message in enumerate(messages):
        role = message.get("role")
        if not isinstance(role, str):
            raise RequestError(f"messages[{at}] has no role", param="messages")
        text = _text_of(message.get("content"), f"messages[{at}]")
        turns.append({"role": "system" if role == "developer" else role, "content": text})
    return turns


def checked_text(text: str, param: str) -> str:
    """A text that can be encoded. Raises `RequestError` for half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError(
            f"{param} contains half of a surrogate pair, which is not a valid character",
            param=param,
        ) from None
    return text


def _text_of(content: Any, place: str) -> str:
    """A content as text: a string, or parts of type text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [_part(part, place) for part in content]
        return "".join(texts)
    raise RequestError(f"the content of {place} is not a text", param="messages")


def _part(part: Any, place: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    named = f" of type {kind}" if isinstance(kind, str) and len(kind) < 40 else ""
    raise RequestError(f"{place} has a part{named}: only text is supported", param="messages")
