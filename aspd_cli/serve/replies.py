"""Answers as OpenAI's objects, whole and in chunks.

A stream is one text for each choice in document order: the first open branch live, its siblings
held back until it is their turn, so that every client shows it rightly. With `branch_events` the
same chunks hold `delta.aspd` too: what each branch writes, as soon as it is written.
"""

import time
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from aspd_cli.engine.document_order import DocumentOrder
from aspd_cli.engine.events import Close, Done, Event, Fork, Merge, Output, Text
from aspd_cli.serve.protocol import ChatBody, CompletionBody

Kind = Literal["chat", "completion"]

_OBJECTS = {"chat": "chat.completion", "completion": "text_completion"}
_CHUNKS = {"chat": "chat.completion.chunk", "completion": "text_completion"}
_PREFIXES = {"chat": "chatcmpl", "completion": "cmpl"}


class Reply:
    """The reply to one request, of either kind.

    Args:
        model: the name under which the model is served.
        prompts: how many prompts the choices belong to, in equal shares.
    """

    def __init__(
        self, kind: Kind, model: str, body: ChatBody | CompletionBody, *, prompts: int
    ) -> None:
        self.kind, self.model, self._prompts = kind, model, prompts
        self.id = f"{_PREFIXES[kind]}-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self._markup, self._token_ids = body.return_markup, body.return_token_ids
        self.branch_events, self.includes_usage = bool(body.branch_events), body.includes_usage

    def whole(
        self,
        outputs: Sequence[Output],
        *,
        heads: Sequence[str] = (),
        logprobs: Sequence[dict[str, Any]] = (),
    ) -> dict[str, Any]:
        """The object of a reply that is not streamed.

        Args:
            heads: what each choice begins with.
        """
        choices = []
        for index, output in enumerate(outputs):
            text = (heads[index] if heads else "") + output.text
            message = {"message": {"role": "assistant", "content": text}}
            choices.append(
                {
                    "index": index,
                    **(message if self.kind == "chat" else {"text": text}),
                    "logprobs": logprobs[index] if logprobs else None,
                    "finish_reason": output.finish_reason,
                    **self._extra(output),
                }
            )
        used = usage(outputs, self._prompts)
        return {**self._head(_OBJECTS[self.kind]), "choices": choices, "usage": used}

    def chunk(
        self,
        index: int,
        text: str,
        aspd: list[dict[str, Any]] | None = None,
        *,
        first: bool = False,
    ) -> dict[str, Any]:
        """More of a choice, and what its branches wrote."""
        if self.kind == "completion":
            choice: dict[str, Any] = {"text": text}
            if aspd:
                choice["aspd"] = aspd
        else:
            delta: dict[str, Any] = {"role": "assistant"} if first else {}
            delta |= {"content": text} if text or first else {}
            delta |= {"aspd": aspd} if aspd else {}
            choice = {"delta": delta}
        choice |= {"index": index, "logprobs": None, "finish_reason": None}
        return {**self._head(_CHUNKS[self.kind]), "choices": [choice]}

    def last(self, index: int, output: Output) -> dict[str, Any]:
        """The end of a choice."""
        said: dict[str, Any] = {"delta": {}} if self.kind == "chat" else {"text": ""}
        choice = {
            "index": index,
            **said,
            "logprobs": None,
            "finish_reason": output.finish_reason,
            **self._extra(output),
        }
        return {**self._head(_CHUNKS[self.kind]), "choices": [choice]}

    def used(self, outputs: Sequence[Output]) -> dict[str, Any]:
        """The chunk that ends a stream with `include_usage`."""
        used = usage(outputs, self._prompts)
        return {**self._head(_CHUNKS[self.kind]), "choices": [], "usage": used}

    def _head(self, name: str) -> dict[str, Any]:
        return {"id": self.id, "object": name, "created": self.created, "model": self.model}

    def _extra(self, output: Output) -> dict[str, Any]:
        extra: dict[str, Any] = {}
        if self._token_ids:
            extra["token_ids"] = output.token_ids
        if self._markup:
            extra["aspd"] = {
                "markup": output.markup,
                "cut_by": output.cut_by,
                "stats": output.stats.as_dict(),
            }
        return extra


def usage(outputs: Sequence[Output], prompts: int = 1) -> dict[str, Any]:
    """Tokens of all choices: each prompt once, everything that was generated, markup included."""
    stats = [output.stats for output in outputs]
    share = max(1, len(outputs) // prompts)
    asked = sum(each.prompt_tokens for each in stats[::share])
    tokens = sum(each.tokens for each in stats)
    useful = sum(each.useful_tokens for each in stats)
    return {
        "prompt_tokens": asked,
        "completion_tokens": tokens,
        "total_tokens": asked + tokens,
        "completion_tokens_details": {
            "useful_tokens": useful,
            "markup_tokens": tokens - useful,
            "steps": sum(each.steps for each in stats),
            "blocks": sum(each.blocks for each in stats),
            "branches": sum(each.branches for each in stats),
        },
    }


class ChoiceStream:
    """One choice of a stream: takes the engine's events, gives what a client is told."""

    def __init__(self, *, branch_events: bool) -> None:
        self._order, self._written = DocumentOrder(), 0
        self._branch_events = branch_events
        self._blocks: dict[int, tuple[int, str]] = {}
        """Lane -> its block and title."""
        self.output: Output | None = None

    def take(self, events: Sequence[Event]) -> tuple[str, list[dict[str, Any]]]:
        """(new text in document order, what branches wrote) of the events of a step."""
        text, told = "", []
        for event in events:
            if isinstance(event, Done):
                # Lanes that a budget or a stop string ended were never closed by an event.
                self.output = event.output
                text = event.output.text[self._written :]
                break
            text += "".join(e.text for e in self._order.take(event) if isinstance(e, Text))
            if self._branch_events:
                told.append(self._described(event))
        self._written += len(text)
        return text, told

    def _described(self, event: Event) -> dict[str, Any]:
        match event:
            case Fork(lane, block, titles, lanes):
                branches = dict(zip(lanes, titles, strict=True))
                self._blocks |= {branch: (block, title) for branch, title in branches.items()}
                listed = [{"branch": branch, "title": title} for branch, title in branches.items()]
                return {"type": "fork", "block": block, "from": lane, "branches": listed}
            case Text(lane, text):
                return {"type": "text", **self._place(lane), "text": text}
            case Close(lane):
                return {"type": "close", **self._place(lane)}
            case Merge(block, lane):
                return {"type": "merge", "block": block, "into": lane}
        raise AssertionError(f"{event} is no event of a stream")

    def _place(self, lane: int) -> dict[str, Any]:
        block, title = self._blocks.get(lane, (None, None))
        return {"block": block, "branch": lane, "title": title}
