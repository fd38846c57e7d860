"""The step loop on vLLM: each lane is a request of its own, and blocks are stitched together.

What an answer is, which tokens it may hold and when it is cut is the engine's `Answer`, as ever. It
takes a step once vLLM has sampled a token for each of its lanes, so its steps are those that our
own engine would make. vLLM samples freely; a token that the grammar forbids is thrown away and
sampled again under the grammar's constraint, which draws from the same distribution.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from aspd_cli.engine.events import Done, Event
from aspd_cli.engine.forced_tokens import Script
from aspd_cli.engine.grammar import Choice
from aspd_cli.engine.lane import Lane, OpenBlock
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.scheduler import OpenAnswer, Scheduler
from aspd_cli.errors import ModelError, UsageError
from aspd_cli.vllm.held import Held, State, Use, sources
from aspd_cli.vllm.lane_requests import LaneRequests, check_options, warps
from aspd_cli.vllm.token_engine import TokenEngine, TokenOutput, TokenRequest
from aspd_cli.vllm.tracks import Plan, Track

logger = logging.getLogger("aspd")

_PATIENCE = 8
"""Times in a row that an answer may lose what it stands on, before it is cut."""


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
        self._requests = LaneRequests(runner)
        self._never = frozenset(runner.unnamed_ids.tolist())
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
        yield index, Done(plan.request.output(self.runner.codec))

    def _feed(self, plan: Plan) -> None:
        """Adds the tokens of the next step to the tracks of their lanes."""
        control = plan.answer.grammar.control
        fed = plan.answer.drain()
        for each in fed:
            lane, track = each.lane, plan.track(each.lane)
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

    def _complete(self, plan: Plan, track: Track) -> None:
        """Has the keys and values of a closed branch made to its last token."""
        if track.end is None:
            self._drop_call(plan, track)
            track.end = Held(self._requests.name(), tuple(track.context), track.base)
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
        lanes, now = plan.wanted, time.perf_counter()
        seconds, plan.at = now - plan.at, now
        plan.wanted, plan.losses = [], 0
        plan.request.count_step(len(lanes), now, seconds)
        tokens = [plan.tracks[lane.id].tokens.pop(0) for lane in lanes]
        yield from plan.request.accept(lanes, tokens)
        for lane in lanes:
            if lane.closed:  # by a stop string, it may have been amid its text
                self._drop_call(plan, plan.tracks[lane.id])

    def _open(self, plan: Plan, lane: Lane, track: Track, choice: Choice) -> None:
        """Has a lane go on, once what it stands on is there."""
        uses = sources(track.base, track.own)
        if uses is None:
            self._make_base(plan, track.base)
            return
        options, control = plan.request.options, plan.answer.grammar.control
        stays = control is None or control.title in choice.banned  # in this state to its end
        if warps(options) or track.is_tight or stays:
            track.choice = choice
        request = self._requests.sample(plan, lane, track, uses)
        track.call = request.id
        self._begin(plan, track, request)

    def _make(self, plan: Plan, held: Held, track: Track | None = None) -> None:
        """Has keys and values made that are not kept, after what they stand on.

        Args:
            track: whose end it is; most of it is kept already.
        """
        if held.state is not State.ABSENT or plan.is_parked:
            return
        uses = sources(held.base, track.own if track else None)
        if uses is None:
            self._make_base(plan, held.base)
            return
        request = self._requests.keep(plan, held, uses, track.superseded if track else [])
        held.state = State.ASKED
        self._begin(plan, held, request)

    def _make_base(self, plan: Plan, base: Sequence[Use]) -> None:
        for use in base:
            self._make(plan, use.held)

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
        self._abort(plan, list(plan.calls))
        self._release(plan)
        plan.lose()
        if plan.losses >= _PATIENCE and all(each.is_parked for each in self._plans.values()):
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

    def _drop_call(self, plan: Plan, track: Track) -> None:
        """Ends the request of a lane, and forgets what it sampled."""
        self._abort(plan, [track.call] if track.call else [])
        track.call = track.choice = None
        track.retract()

    def _abort(self, plan: Plan, names: Iterable[str]) -> None:
        known = [name for name in names if plan.calls.pop(name, None)]
        for name in known:
            del self._owners[name]
        if known:
            self.engine.abort(known)

    def _release(self, plan: Plan) -> None:
        """Has the connector let go what it keeps of an answer."""
        if not plan.is_released:
            self.engine.submit(self._requests.release(plan))
            plan.is_released = True

    def _end(self, row: int) -> None:
        plan = self._plans.pop(row)
        self._abort(plan, list(plan.calls))
        self._release(plan)
        self._has_room = True
