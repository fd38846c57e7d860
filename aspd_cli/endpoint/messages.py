"""What is said to an endpoint and what it says: requests, responses, and the text of replies.

A `Call` becomes the parameters of a request, its digest, and from a response the texts of its
choices. Models put thoughts before a reply and a fence or a sentence around its JSON;
`without_thoughts` and `read_json` take both away.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from aspd_cli.errors import ReplyError
from aspd_cli.files import content_digest
from aspd_cli.recipe.endpoint import EndpointSection
from aspd_cli.safe_text import excerpt

Message = dict[str, Any]
ADJUSTABLE = ("response_format", "max_tokens", "temperature", "top_p", "n")
"""Parameters without which a request still makes sense; endpoints differ in what they take."""

_OPEN, _CLOSE = "<think>", "</think>"
_BRACKET = re.compile(r"[{\[]")
_MOST_STARTS = 200
"""Brackets of a reply that are tried as the begin of its JSON: each may cost a pass over it."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked."""

    stage: str
    """What it is for; costs are counted by it."""
    messages: tuple[Message, ...]
    """The conversation, as the chat API takes it."""
    n: int = 1
    """Samples wanted."""
    schema: dict[str, Any] | None = None
    """JSON schema of the reply, where the endpoint takes one; the reply may not keep to it."""
    max_tokens: int | None = None
    """Longest reply in tokens; None: the section's."""
    temperature: float | None = None
    """None: the section's."""


class BadResponse(Exception):
    """The endpoint answered 200 with what is no chat completion; the message says with what."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a request brought."""

    texts: tuple[str, ...]
    """The replies; an empty text for a reply without content."""
    prompt_tokens: int | None
    """As the endpoint counts them; None when it does not."""
    completion_tokens: int | None
    cut: bool = False
    """Whether the token limit ended any of the replies."""

    @property
    def tokens(self) -> int:
        """Prompt and replies together; 0 when they are not counted."""
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)


def parameters(section: EndpointSection, call: Call) -> dict[str, Any]:
    """The request of a call, `n` apart, as the API's own documentation has it."""
    given = {
        "model": section.model,
        "messages": [_sendable(message) for message in call.messages],
        "temperature": section.temperature if call.temperature is None else call.temperature,
        "top_p": section.top_p,
        "max_tokens": call.max_tokens or section.max_tokens,
        **section.extra_body,
    }
    if call.schema is not None:
        given["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": call.stage, "schema": call.schema, "strict": True},
        }
    return {name: value for name, value in given.items() if value is not None}


def _sendable(message: Message) -> Message:
    """`message`, with a question mark for each lone surrogate: JSON has them, UTF-8 has not."""
    content = message["content"]
    if isinstance(content, str) and not content.isascii():
        return {**message, "content": content.encode("utf-8", "replace").decode("utf-8")}
    return message


def digest(request: dict[str, Any]) -> bytes:
    """Sixteen bytes that stand for a request in the journal."""
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return content_digest(text)


def adjust(request: dict[str, Any], refused: frozenset[str]) -> dict[str, Any]:
    """`request` for an endpoint that refuses these parameters.

    Reasoning models of the OpenAI API call the longest reply `max_completion_tokens`.
    """
    adjusted = {name: value for name, value in request.items() if name not in refused}
    if "max_tokens" in refused and "max_tokens" in request:
        adjusted["max_completion_tokens"] = request["max_tokens"]
    return adjusted


def complained(message: str, parameter: str | None, request: dict[str, Any]) -> str | None:
    """Which adjustable parameter of `request` a refusal names; None when it names none."""
    candidates = [name for name in ADJUSTABLE if name in request]
    about = (parameter or "").split(".")[0]
    if about in candidates:
        return about
    for name in candidates:
        if re.search(rf"['\"`]{name}['\"`]|\b{name} (is|must|does)\b", message):
            return name
    return None


def read_response(content: str) -> Response:
    """The replies and the usage in the body of a response.

    Raises:
        BadResponse: it is not a chat completion, or one without replies.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise BadResponse(f"what is not JSON ({excerpt(content, 40)!r})") from None
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices:
        reason = "no replies" if choices == [] else "no chat completion"
        error = body.get("error") if isinstance(body, dict) else None
        raise BadResponse(f"{reason} ({excerpt(error)})" if error else reason)
    usage = body.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Response(
        tuple(_text(choice) for choice in choices),
        _count(counts.get("prompt_tokens")),
        _count(counts.get("completion_tokens")),
        any(map(_is_cut, choices)),
    )


def _text(choice: Any) -> str:
    """The text of one choice; parts are joined, and JSON that came as an object is JSON again.

    What the token limit ended before any reply is a thought that never ends.
    """
    message = choice.get("message") if isinstance(choice, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in content
    ):
        content = "".join(part["text"] for part in content)
    if isinstance(content, dict | list):
        content = json.dumps(content, ensure_ascii=False)
    if not isinstance(content, str) or not content.strip():
        return _OPEN if _is_cut(choice) else ""
    # A lone surrogate, legal in JSON, can be neither stored nor written to a file.
    return content.encode("utf-8", "replace").decode("utf-8")


def _is_cut(choice: Any) -> bool:
    return isinstance(choice, dict) and choice.get("finish_reason") == "length"


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 1 << 63 else None


def without_thoughts(reply: str) -> str:
    """`reply` without the `<think>` block that reasoning models on local servers put before it.

    Chat templates that open the block themselves leave only its end in the reply.
    """
    thoughts, close, rest = reply.partition(_CLOSE)
    opened = thoughts.lstrip().removeprefix(_OPEN)
    return rest.lstrip() if close and _OPEN not in opened else reply


def ends_in_thoughts(reply: str) -> bool:
    """Whether a reply is a `<think>` block without an end."""
    return reply.lstrip().startswith(_OPEN) and _CLOSE not in reply


def read_json(reply: str) -> Any:
    """The JSON object or array in a reply: the whole of it, or the longest one among other words.

    Raises:
        ReplyError: there is none.
    """
    try:
        whole = json.loads(reply)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, str):  # JSON that was encoded twice
        return read_json(whole)
    if isinstance(whole, dict | list):
        return whole
    decoder, best, longest, end = json.JSONDecoder(), None, 0, 0
    for _ in range(_MOST_STARTS):
        if (bracket := _BRACKET.search(reply, end)) is None:
            break
        try:
            value, end = decoder.raw_decode(reply, bracket.start())
        except (ValueError, RecursionError):
            end = bracket.end()
            continue
        if end - bracket.start() > longest:
            best, longest = value, end - bracket.start()
    if best is None:
        raise ReplyError("the reply contains no JSON")
    return best
