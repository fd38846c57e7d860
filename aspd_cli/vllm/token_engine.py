"""What the planner asks of vLLM and what it is told, whichever way vLLM is reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aspd_cli.engine.grammar import Choice
from aspd_cli.engine.options import GenerationOptions

NEVER = -100.0
"""The bias of banned tokens: the lowest that vLLM takes. What comes all the same is refused."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request: the tokens of a lane so far, to be gone on with."""

    id: str
    prompt_ids: Sequence[int]
    max_tokens: int
    stop_ids: Sequence[int] = ()
    options: GenerationOptions | None = None
    """How to sample; None: greedily."""
    seed: int | None = None
    choice: Choice | None = None
    """What may be sampled; None: anything."""
    salt: str | None = None
    """Sets what vLLM remembers of the prompt apart from that of other requests."""
    cache: Mapping[str, Any] = field(default_factory=dict)
    """What the connector is told, see `connector`."""
    streams: bool = True
    """Whether tokens are told as they come."""
    logprobs: int | None = None
    """How many of the likeliest tokens are told with their log-probabilities."""

    def sampling(self) -> dict[str, Any]:
        """Parameters that `SamplingParams` and the body of a completion name alike."""
        given, choice = self.options, self.choice
        fields: dict[str, Any] = {
            "max_tokens": self.max_tokens,
            "stop_token_ids": list(self.stop_ids),
            "ignore_eos": True,
            "temperature": given.temperature if given else 0.0,
            "top_k": (given and given.top_k) or 0,
            "top_p": (given and given.top_p) or 1.0,
            "min_p": (given and given.min_p) or 0.0,
            "repetition_penalty": 1.0,
            "seed": self.seed,
        }
        if choice and choice.only:
            fields["allowed_token_ids"] = list(choice.only)
        elif choice and choice.banned:
            fields["logit_bias"] = {str(token): NEVER for token in choice.banned}
        if self.logprobs is not None:
            fields["logprobs"] = self.logprobs
        return fields


@dataclass(frozen=True, slots=True)
class TokenOutput:
    """What has come of a request since the last time."""

    id: str
    tokens: Sequence[int] = ()
    finished: bool = False
    stopped_by: int | None = None
    """The token of `stop_ids` that ended it."""
    lost: bool = False
    """It failed because keys and values that it uses are no longer kept."""
    told: Mapping[str, Any] | None = None
    """What the connector says of a finished request; None: it has not said anything."""
    logprobs: Sequence[Mapping[int, float]] = ()
    """The likeliest tokens at each place, where they were asked for."""


class TokenEngine(Protocol):
    """vLLM: in this process, or behind a server."""

    max_model_len: int | None
    """Most tokens of a request, its prompt included; None: not known."""
    tells_all: bool
    """Whether the connector's word comes with streamed requests too."""

    def submit(self, request: TokenRequest) -> None:
        """Begins a request.

        Raises:
            ModelError: vLLM does not take it.
        """

    def abort(self, ids: Sequence[str]) -> None:
        """Ends requests; nothing more is told of them. Finished ones are no error."""

    def poll(self) -> list[TokenOutput]:
        """What has come, after a step or a short wait.

        Raises:
            EndpointError: the server is gone.
        """

    def close(self) -> None:
        """Ends the use of vLLM."""
