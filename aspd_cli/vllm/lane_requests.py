"""What the lanes of an answer ask of vLLM: to sample on, to keep keys and values, to free them."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from aspd_cli.engine.grammar import Choice
from aspd_cli.engine.lane import Lane
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.request import Request
from aspd_cli.errors import UsageError
from aspd_cli.files import content_digest
from aspd_cli.vllm.held import Held, Use, is_causal
from aspd_cli.vllm.token_engine import TokenRequest
from aspd_cli.vllm.tracks import Plan, Track


class LaneRequests:
    """The requests of one planner, each with a name of its own.

    Args:
        runner: what is known of the model, see `model`.
    """

    def __init__(self, runner: Any) -> None:
        self._control, self._ends = runner.codec.control, tuple(runner.ends)
        self._nameless = tuple(runner.unnamed_ids.tolist())
        self._numbers = count()

    def name(self) -> str:
        """A name that no other request and nothing that is kept has."""
        return f"{id(self):x}-{next(self._numbers)}"

    def sample(self, plan: Plan, lane: Lane, track: Track, uses: Sequence[Use]) -> TokenRequest:
        """A lane goes on sampling, up to the next fork, the end of its branch or of the answer.

        Args:
            uses: what is kept and stands for its first tokens.
        """
        options, prompt, choice = plan.request.options, track.prompt, track.choice
        control = plan.answer.grammar.control
        is_branch = control is not None and lane.depth > 0
        keeps = [control.para] if control else []
        if control and is_branch:
            keeps.append(control.branch_end)
        ends = () if is_branch else self._ends
        name = self.name()
        return TokenRequest(
            name,
            prompt,
            1 if choice and choice.only else max(1, plan.limit - len(prompt)),
            (*keeps, *ends, *self._turns(choice)),
            options,
            _seed(plan.request, lane, len(prompt)) if options.temperature else None,
            self._held_to(choice),
            None if is_causal(track.base) else plan.key,
            _told(plan, name, uses, keeps, track.superseded, ends),
        )

    def keep(
        self, plan: Plan, held: Held, uses: Sequence[Use], frees: Sequence[str]
    ) -> TokenRequest:
        """Keys and values are made and kept; those that `frees` names are let go."""
        return TokenRequest(
            held.name,
            held.ids,
            max_tokens=1,
            salt=None if held.is_causal else plan.key,
            cache=_told(plan, held.name, uses, True, frees),
            streams=False,
        )

    def release(self, plan: Plan) -> TokenRequest:
        """All that is kept of an answer is let go."""
        told = {"answer": plan.key, "release": True}
        return TokenRequest(self.name(), [0], 1, cache=told, streams=False)

    def _held_to(self, choice: Choice | None) -> Choice | None:
        """A choice as vLLM is told it: tokens without a name are banned too."""
        if choice is None or choice.only:
            return choice
        return Choice(banned=(*choice.banned, *self._nameless))

    def _turns(self, choice: Choice | None) -> tuple[int, ...]:
        """Tokens after which another choice holds; none where vLLM need not keep to one."""
        control = self._control if choice else None
        if choice is None or control is None:
            return ()
        return tuple(t for t in (control.title, control.title_end) if choice.allows(t))


def _told(
    plan: Plan,
    name: str,
    uses: Sequence[Use],
    keeps: bool | Sequence[int],
    frees: Sequence[str],
    ends: Sequence[int] = (),
) -> dict[str, Any]:
    """What the connector is told with a request."""
    return {
        "answer": plan.key,
        "name": name,
        "uses": [use.as_list() for use in uses],
        "keeps": keeps,
        "frees": list(frees),
        "ends": list(ends),
    }


def check_options(options: GenerationOptions) -> None:
    """Refuses what vLLM would sample from another distribution.

    Raises:
        UsageError: names the option.
    """
    if options.repetition_penalty != 1.0:
        raise UsageError(
            "repetition_penalty is not possible with vLLM, which penalises control tokens too: "
            "leave it out, or use aspd's own engine"
        )
    if options.temperature and options.min_p and options.top_p not in (None, 1.0):
        raise UsageError(
            "min_p and top_p together are not possible with vLLM, which applies them in another "
            "order: leave one out, or use aspd's own engine"
        )


def warps(options: GenerationOptions) -> bool:
    """Whether the distribution depends on which tokens are banned, beyond its norm."""
    return bool(options.temperature and (options.top_k or options.top_p or options.min_p))


def _seed(request: Request, lane: Lane, at: int) -> int:
    """The seed of one request of a lane: a function of (seed, request, path, place)."""
    digest = content_digest(f"{request.options.seed}|{request.identity}|{lane.path}|{at}")
    return int.from_bytes(digest[:7], "little")
