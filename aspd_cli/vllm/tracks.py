"""What stands in vLLM for an answer, lane by lane, and what the answer waits for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from aspd_cli.engine.answer import Answer
from aspd_cli.engine.grammar import Choice
from aspd_cli.engine.lane import Lane
from aspd_cli.engine.request import Request
from aspd_cli.vllm.held import Held, State, Use, whole


@dataclass(eq=False, slots=True)
class Track:
    """What stands in vLLM for one lane."""

    context: list[int] = field(default_factory=list)
    """All that the lane sees, in document order: index = position."""
    base: tuple[Use, ...] = ()
    """What must stand for its first tokens."""
    own: Held | None = None
    """What its last request left behind; it covers more than `base`."""
    end: Held | None = None
    """The whole lane, once it is closed."""
    call: str | None = None
    """The request that is under way."""
    tokens: list[int] = field(default_factory=list)
    """Sampled and not yet taken by the answer."""
    choice: Choice | None = None
    """What the request under way may sample at every place; None: anything."""
    is_tight: bool = False
    """Whether vLLM itself must hold the grammar, because the model left it."""
    spent: list[str] = field(default_factory=list)
    """Names of what nobody needs any more once this lane has a newer `own`."""

    @property
    def prompt(self) -> list[int]:
        return self.context + self.tokens

    @property
    def superseded(self) -> list[str]:
        """Names of what nobody needs any more once the next request has ended."""
        return [*self.spent, *([self.own.name] if self.own else [])]

    def retract(self) -> None:
        """Drops what was sampled and not taken, and what is kept of it."""
        self.tokens.clear()
        if self.own and len(self.own.ids) > len(self.context):
            self.own.ids = self.own.ids[: len(self.context)]

    def forget(self) -> None:
        """What the lane stood on is gone, and its request; the tokens that it sampled stay good."""
        held = [*filter(None, (self.own, self.end)), *(use.held for use in self.base)]
        for each in (below for one in held for below in one.walk()):
            each.state = State.ABSENT
        self.spent, self.call, self.choice = [], None, None

    def fork(self) -> "Track":
        """The beginning of a branch."""
        kept = self.own if self.own and len(self.own.ids) == len(self.context) - 1 else None
        return Track(list(self.context), (whole(kept),) if kept else self.base)

    def merge(self, branches: Sequence["Track"]) -> None:
        """Goes on after branches that are closed."""
        fork = len(self.context)
        ends = [branch.end for branch in branches if branch.end]
        self.spent += [use.held.name for use in self.base] + ([self.own.name] if self.own else [])
        self.spent += [end.name for end in ends]
        first, *others = ends
        uses = [whole(first)]
        uses += [Use(end, fork, len(end.ids) - fork) for end in others]
        for end in ends:
            self.context += end.ids[fork:]
        self.base, self.own = tuple(uses), None


@dataclass(eq=False, slots=True)
class Plan:
    """One answer: its tracks, and what it waits for."""

    request: Request
    answer: Answer
    at: float
    """When its last step ended."""
    key: str = field(default_factory=lambda: uuid4().hex)
    """Names the answer to the connector; another one after a loss."""
    tracks: dict[int, Track] = field(default_factory=dict)
    """By lanes."""
    wanted: list[Lane] = field(default_factory=list)
    """The lanes that sample in the step under way."""
    calls: dict[str, Track | Held] = field(default_factory=dict)
    """Requests under way, and what they are for."""
    losses: int = 0
    """Since the last step."""
    is_parked: bool = False
    """Whether it waits until others have left room for it."""
    is_released: bool = True
    """Whether the connector keeps nothing of it."""

    @property
    def limit(self) -> int:
        """Most tokens of prompt and answer."""
        return len(self.request.prompt_ids) + self.answer.budget

    def track(self, lane: Lane) -> Track:
        """The track of a lane; a new one begins where its parent stands."""
        if lane.id not in self.tracks:
            parent = self.tracks[lane.parent.id] if lane.parent else None
            self.tracks[lane.id] = parent.fork() if parent else Track()
        return self.tracks[lane.id]

    def lose(self) -> None:
        """All that it stood on is gone: it is made again, under another name."""
        self.losses += 1
        for track in self.tracks.values():
            track.forget()
        self.key, self.is_parked = uuid4().hex, True
