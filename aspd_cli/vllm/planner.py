"""The step loop on vLLM: each lane is a request of its own, and blocks are stitched together.

What an answer is, which tokens it may hold and when it is cut is the engine's `Answer`, as ever. It
takes a step once vLLM has sampled a token for each of its lanes, so its steps are those that our
own engine would make. vLLM samples freely; a token that the grammar forbids is thrown away and
sampled again under the grammar's constraint, which draws from the same distribution.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

from aspd_cli.engine.answer import Answer
from aspd_cli.engine.events import Done, Event
from aspd_cli.engine.forced_tokens import Script
from aspd_cli.engine.grammar import Choice
from aspd_cli.engine.lane import Lane, OpenBlock
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.scheduler import OpenAnswer, Request, Scheduler
from aspd_cli.errors import ModelError, UsageError
from aspd_cli.files import content_digest
from aspd_cli.vllm.held import Held, State, Track, Use, is_causal, whole
from aspd_cli.vllm.token_engine import TokenEngine, TokenOutput, TokenRequest

logger = logging.getLogger("aspd")

_PATIENCE = 8
"""Times in a row that an answer may lose what it stands on, before it is cut."""


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


class Planner(Scheduler):
    """Decodes a queue of requests on vLLM, at most `rows` at once.

    Args:
        runner: what is known of the model, see `model`.
    """

    def __init__(
        self,
        runner: Any,
        engine: TokenEngine,
        open_answer: OpenAnswer,
        rows: int,
        max_lanes: int | None = None,
    ) -> None:
        super().__init__(runner, open_answer, rows, max_lanes)
        self.engine = engine
        self._plans: dict[int, Plan] = {}  # by rows
        self._owners: dict[str, Plan] = {}  # of requests under way
        self._numbers = count()
        self._nameless = tuple(runner.unnamed_ids.tolist())
        self._never = frozenset(self._nameless)
        self._has_room = False  # since an answer has ended

    def submit(
        self,
        index: int,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        script: Script | None = None,
        *,
        draw: int = 1,
    ) -> None:
        """Queues a prompt.

        Raises:
            UsageError: vLLM cannot do what is asked.
        """
        if script is not None:
            raise UsageError("vLLM cannot replay given answers: leave out --engine vllm")
        check_options(options)
        super().submit(index, prompt_ids, options, draw=draw)

    def cancel(self, index: int) -> None:
        """Forgets a request: what it holds in vLLM is free at once."""
        for row, plan in list(self._plans.items()):
            if plan.request.index == index:
                self._end(row)
        super().cancel(index)

    def close(self) -> None:
        """Ends what is still under way."""
        for row in list(self._plans):
            self._end(row)
        super().close()

    def _step(self) -> Iterator[tuple[int, Event]]:
        """What has come of vLLM since the last time, and the steps that answers take by it."""
        for row in sorted(self.active.keys() - self._plans.keys()):
            request = self.active[row]
            assert request.answer is not None
            self._plans[row] = Plan(request, request.answer, request.started)
            yield from self._advance(row)
        self._resume()
        for output in self.engine.poll():
            self._hear(output)
        for row in sorted(self._plans):
            yield from self._advance(row)

    def _advance(self, row: int) -> Iterator[tuple[int, Event]]:
        """Takes steps of an answer as long as all of its lanes have a token."""
        plan = self._plans[row]
        answer, index = plan.answer, plan.request.index
        while not answer.finish_reason:
            if not plan.wanted:
                self._share_lanes()
                self._feed(plan)
            ready = [self._is_ready(plan, lane) for lane in plan.wanted]
            if not all(ready):
                return
            for event in self._accept(plan):
                yield index, event
        for event in answer.flush():
            yield index, event
        self._end(row)
        del self.active[row]
        yield index, Done(self._output(plan.request))

    def _feed(self, plan: Plan) -> None:
        """Adds the tokens of the next step to the tracks of their lanes."""
        control = plan.answer.grammar.control
        fed = plan.answer.drain()
        for each in fed:
            lane, track = each.lane, self._track(plan, each.lane)
            if control and each.samples and control.para_end in each.ids:
                block = lane.parts[-1]
                assert isinstance(block, OpenBlock)
                branches = [plan.tracks[branch.id] for branch in block.branches]
                for branch in branches:
                    self._complete(plan, branch)
                track.merge(branches)
            track.context += each.ids
            if each.samples:
                plan.wanted.append(lane)
        for each in fed:
            if each.lane.closed:
                self._complete(plan, plan.tracks[each.lane.id])

    def _track(self, plan: Plan, lane: Lane) -> Track:
        if lane.id not in plan.tracks:
            parent = plan.tracks[lane.parent.id] if lane.parent else None
            plan.tracks[lane.id] = parent.fork() if parent else Track()
        return plan.tracks[lane.id]

    def _complete(self, plan: Plan, track: Track) -> None:
        """Has the keys and values of a closed branch made to its last token."""
        if track.end is None:
            self._drop_call(plan, track)
            track.end = Held(self._name(), tuple(track.context), track.base)
            self._make(plan, track.end, track)

    def _is_ready(self, plan: Plan, lane: Lane) -> bool:
        """Whether vLLM has sampled the next token of a lane; where not, it is asked to."""
        track = plan.tracks[lane.id]
        if track.call and not (track.tokens or track.choice):
            return False
        choice = plan.answer.choice(lane)
        if track.choice not in (None, choice):  # sampled under what holds no longer
            self._drop_call(plan, track)
            track.is_tight = False
        elif track.tokens:
            token = track.tokens[0]
            if choice.allows(token) and token not in self._never:
                return True
            if track.choice is not None:
                raise ModelError(f"vLLM does not keep to the tokens that it may sample ({token})")
            self._drop_call(plan, track)
            track.is_tight = True
        if track.call is None and not plan.is_parked:
            self._open(plan, lane, track, choice)
        return False

    def _accept(self, plan: Plan) -> Iterator[Event]:
        """One step: each lane takes its token."""
        request, answer, lanes = plan.request, plan.answer, plan.wanted
        now = time.perf_counter()
        seconds, plan.at = now - plan.at, now
        plan.wanted, plan.losses = [], 0
        request.first_token = request.first_token or now
        request.steps += 1
        request.max_lanes = max(request.max_lanes, len(lanes))
        before = sum(lane.text_tokens for lane in lanes)
        for lane in lanes:
            yield from answer.accept(lane, plan.tracks[lane.id].tokens.pop(0))
        if len(lanes) > 1:
            request.parallel_steps += 1
            request.parallel_s += seconds
            request.parallel_useful += sum(lane.text_tokens for lane in lanes) - before
        if answer.exhausted and not answer.finish_reason:
            answer.finish("length")
        for lane in lanes:
            if lane.closed:  # by a stop string, it may have been amid its text
                self._drop_call(plan, plan.tracks[lane.id])

    def _open(self, plan: Plan, lane: Lane, track: Track, choice: Choice) -> None:
        """Has a lane go on, once what it stands on is there."""
        uses = track.sources
        if uses is None:
            for use in track.base:
                self._make(plan, use.held)
            return
        control, ends, options = plan.answer.grammar.control, self.runner.ends, plan.request.options
        stays = control is None or control.title in choice.banned  # in this state to its end
        if _warps(options) or track.is_tight or stays:
            track.choice = choice
        forks = [control.para] if control else []
        is_branch = control is not None and lane.depth > 0
        keeps = [*forks, control.branch_end] if control and is_branch else forks
        last = () if is_branch else tuple(ends)
        prompt = track.prompt
        name = self._name()
        request = TokenRequest(
            name,
            prompt,
            1 if choice.only and track.choice else max(1, plan.limit - len(prompt)),
            (*keeps, *last, *self._turns(track.choice)),
            options,
            _seed(plan.request, lane, len(prompt)) if options.temperature else None,
            self._held_to(track.choice),
            None if is_causal(track.base) else plan.key,
            self._told(plan, name, uses, keeps, [*track.spent, *_names([track.own])], last),
        )
        track.call = name
        self._begin(plan, track, request)

    def _make(self, plan: Plan, held: Held, track: Track | None = None) -> None:
        """Has keys and values made that are not kept, after what they stand on.

        Args:
            track: whose end it is; most of it is kept already.
        """
        if held.state is not State.ABSENT or plan.is_parked:
            return
        uses = held.base
        if track and track.own and track.own.state is State.KEPT:
            uses = (whole(track.own),)
        elif not all(use.held.state is State.KEPT for use in uses):
            if not is_causal(uses):
                for use in uses:
                    self._make(plan, use.held)
                return
            uses = ()
        spent = [*track.spent, *_names([track.own])] if track else []
        request = TokenRequest(
            held.name,
            held.ids,
            max_tokens=1,
            salt=None if held.is_causal else plan.key,
            cache=self._told(plan, held.name, uses, True, spent),
            streams=False,
        )
        held.state = State.ASKED
        self._begin(plan, held, request)

    def _told(
        self,
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

    def _held_to(self, choice: Choice | None) -> Choice | None:
        """A choice as vLLM is told it: tokens without a name are banned too."""
        if choice is None or choice.only:
            return choice
        return Choice(banned=(*choice.banned, *self._nameless))

    def _turns(self, choice: Choice | None) -> tuple[int, ...]:
        """Tokens after which another choice holds; none where vLLM need not keep to one."""
        control = self.runner.codec.control if choice else None
        if choice is None or control is None:
            return ()
        return tuple(t for t in (control.title, control.title_end) if choice.allows(t))

    def _begin(self, plan: Plan, target: Track | Held, request: TokenRequest) -> None:
        plan.calls[request.id] = target
        self._owners[request.id] = plan
        self.engine.submit(request)

    def _hear(self, output: TokenOutput) -> None:
        """What has come of one request."""
        plan = self._owners.get(output.id)
        if plan is None:
            return
        if output.lost:
            self._lose(plan)
            return
        target = plan.calls[output.id]
        if isinstance(target, Track):
            target.tokens += output.tokens
        if not output.finished:
            return
        del plan.calls[output.id], self._owners[output.id]
        if isinstance(target, Track):
            self._leave(plan, target, output)
        elif output.told is None:
            raise ModelError(
                "this vLLM has no connector of aspd and cannot decode as aspd does: start it with "
                "the command of `aspd serve --engine vllm --print-command`"
            )
        elif output.told["kept"] == len(target.ids):
            target.state, plan.is_released = State.KEPT, False
        else:
            self._lose(plan)

    def _leave(self, plan: Plan, track: Track, output: TokenOutput) -> None:
        """A request of a lane has ended: what it has left behind."""
        track.call = None
        if output.stopped_by in self.runner.ends:
            plan.is_released = True
        ids = tuple(track.prompt[:-1])
        told = output.told if self.engine.tells_all else {"kept": len(ids)}
        control = plan.answer.grammar.control
        kept_at = (control.para, control.branch_end) if control else ()
        if output.stopped_by in kept_at and told and told["kept"] == len(ids):
            track.own = Held(output.id, ids, track.base, State.KEPT)
            track.spent, plan.is_released = [], False

    def _lose(self, plan: Plan) -> None:
        """What an answer stood on is gone: it is made again, under another name."""
        plan.losses += 1
        for track in plan.tracks.values():
            # Tokens that were sampled stay good.
            self._drop_call(plan, track, keep_tokens=True)
            held = [*filter(None, (track.own, track.end)), *(use.held for use in track.base)]
            for each in (below for one in held for below in one.walk()):
                each.state = State.ABSENT
            track.spent = []
        self._abort(plan, list(plan.calls))
        self._release(plan)
        plan.key, plan.is_parked = uuid4().hex, True
        alone = all(other.is_parked for other in self._plans.values())
        if plan.losses >= _PATIENCE and alone:
            logger.warning(
                "an answer was cut after %d tokens: vLLM's key-value cache has no room for more",
                plan.answer.tokens,
            )
            plan.answer.budget = plan.answer.tokens
            plan.answer.finish("length")

    def _resume(self) -> None:
        """Lets an answer that has lost something go on, once there may be room for it."""
        parked = [plan for plan in self._plans.values() if plan.is_parked]
        if parked and (self._has_room or len(parked) == len(self._plans)):
            parked[0].is_parked = False
        self._has_room = False

    def _drop_call(self, plan: Plan, track: Track, *, keep_tokens: bool = False) -> None:
        """Ends the request of a lane, and forgets what it sampled."""
        self._abort(plan, [track.call] if track.call else [])
        track.call = track.choice = None
        if not keep_tokens:
            track.forget()

    def _abort(self, plan: Plan, names: Iterable[str]) -> None:
        known = [name for name in names if plan.calls.pop(name, None)]
        for name in known:
            del self._owners[name]
        if known:
            self.engine.abort(known)

    def _release(self, plan: Plan) -> None:
        """Has the connector let go what it keeps of an answer."""
        if not plan.is_released:
            told = {"answer": plan.key, "release": True}
            self.engine.submit(TokenRequest(self._name(), [0], 1, cache=told, streams=False))
            plan.is_released = True

    def _end(self, row: int) -> None:
        plan = self._plans.pop(row)
        self._abort(plan, list(plan.calls))
        self._release(plan)
        self._has_room = True

    def _name(self) -> str:
        return f"{id(self):x}-{next(self._numbers)}"


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


def _warps(options: GenerationOptions) -> bool:
    """Whether the distribution depends on which tokens are banned, beyond its norm."""
    return bool(options.temperature and (options.top_k or options.top_p or options.min_p))


def _seed(request: Request, lane: Lane, at: int) -> int:
    """The seed of one request of a lane: a function of (seed, request, path, place)."""
    digest = content_digest(f"{request.options.seed}|{request.identity}|{lane.path}|{at}")
    return int.from_bytes(digest[:7], "little")


def _names(held: Iterable[Held | None]) -> list[str]:
    return [each.name for each in held if each]
