"""What a system is asked, and what is reported of its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aspd_cli.core.chat import Prompt
from aspd_cli.core.markup import Document
from aspd_cli.core.metrics import AnswerStats
from aspd_cli.engine.detokenize import defuse
from aspd_cli.evaluate.results import System
from aspd_cli.evaluate.timeline import TimelineBar

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder
    from aspd_cli.engine.options import GenerationOptions


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """One prompt as one system gets it."""

    task: str
    category: str
    doc_id: str
    prompt: str
    """As text, for people."""
    ids: tuple[int, ...]
    """As a model of this machine gets it; empty for a server."""
    options: "GenerationOptions"
    """The mode is the system's own."""
    repeat: int = 0
    target: str | None = None
    document: Document | None = None
    """What the answer has to be, whatever the model would choose; None: it is free."""
    messages: tuple[Mapping[str, str], ...] = ()
    """The conversation, as a server gets it; empty for a model of this machine."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a system made of a request."""

    text: str
    markup: str
    finish_reason: str
    stats: AnswerStats
    bars: tuple[TimelineBar, ...] = ()
    malformed: bool = False


def serial_document(text: str) -> Document:
    """A document without blocks."""
    return Document((defuse(text),) if text else ())


class DecoderSystem:
    """What systems share whose prompts a decoder encodes."""

    def __init__(self, system: System, decoder: "Decoder") -> None:
        self.system, self.decoder = system, decoder

    @property
    def device(self) -> Any:
        return self.decoder.device

    def encode(self, prompt: Prompt, options: "GenerationOptions") -> dict[str, Any]:
        """A prompt as fields of an `EvalRequest`. Raises `ModelError` when it does not fit."""
        options = replace(options, mode=self.system.mode)
        return {"ids": tuple(self.decoder.encode(prompt, options))}
