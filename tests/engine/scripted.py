"""Decoding with the choice taken out of the model's hands, or made wild."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aspd_cli.core.markup import Document
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.events import Close, Done, Event, Fork, Merge, Output, Text
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.scheduler import Scheduler

Path = tuple[tuple[int, int], ...]
Script = Mapping[Path, Sequence[int]]
"""Path of a lane -> its sampled tokens; a lane whose script is over ends."""


def fork(codec: Any, *titles: str) -> list[int]:
    """The sampled tokens that announce a block: its titles and `<|para|>`."""
    control = codec.control
    spelled = [[control.title, *codec.encode(title), control.title_end] for title in titles]
    return [*(token for title in spelled for token in title), control.para]


def scripted_events(
    decoder: Decoder, script: Script, *, strict: bool = True, **options: Any
) -> Iterator[Event]:
    """Decodes with the sampled tokens given for each lane; the model runs, its choice is not.

    A token that the grammar forbids where it comes is an error; when not `strict` it is skipped.
    """
    chosen = GenerationOptions(**options)
    queues = {path: deque(tokens) for path, tokens in script.items()}

    class Scripted(Scheduler):
        def _sample(self, work: Any, logits: Tensor) -> list[int]:
            lanes = [(r.answer, p.lane) for r, pending in work for p in pending if p.samples]
            return [self.next_token(answer, lane) for answer, lane in lanes]

        def next_token(self, answer: Any, lane: Any) -> int:
            queue, choice = queues.get(lane.path), answer.choice(lane)
            end = decoder.codec.control.branch_end if lane.depth else decoder.ends[0]
            for token in [*(queue or ()), end]:
                if queue:
                    queue.popleft()
                if token in choice.only if choice.only else token not in choice.banned:
                    return token
                assert not strict, f"the grammar forbids {token} in lane {lane.path}: {choice}"
            raise AssertionError(f"the script of lane {lane.path} stops where it cannot end")

    scheduler = Scripted(decoder.runner, decoder.open_answer, rows=1)
    scheduler.submit(0, decoder.encode("Fruits?", chosen), chosen)
    with torch.inference_mode():
        yield from (event for _, event in scheduler.run())


def scripted(decoder: Decoder, script: Script, **options: Any) -> Output:
    """The finished answer of `scripted_events`."""
    [*_, done] = scripted_events(decoder, script, **options)
    assert isinstance(done, Done)
    return done.output


def make_structure_likely(monkeypatch: Any, tilt: float) -> None:
    """Raises control tokens, wherever a lane stands, by `tilt` standard deviations of its logits:
    random models then walk all over the grammar."""
    sample = Scheduler._sample

    def tilted(self: Scheduler, work: Any, logits: Tensor) -> list[int]:
        raised = torch.zeros(logits.shape[-1])
        raised[[*self.runner.codec.control]] = tilt
        return sample(self, work, logits + raised * logits.std(dim=-1, keepdim=True))

    monkeypatch.setattr(Scheduler, "_sample", tilted)


def shown_texts(events: Sequence[Event]) -> list[str]:
    """The texts that lanes showed, in document order. Asserts the order that every stream keeps."""
    told: dict[int, list[Text | Fork]] = {0: []}
    forks, closed = {}, set()
    for event in events[:-1]:
        match event:
            case Text(lane, text):
                assert text, "an event says something"
                assert lane in told, "a lane speaks after its fork"
                assert lane not in closed, "and not after its end"
                told[lane].append(event)
            case Fork(lane, block, titles, lanes):
                assert len(titles) == len(lanes)
                assert not told.keys() & set(lanes), "every branch is a new lane"
                assert block not in forks
                told[lane].append(event)
                told |= {branch: [] for branch in lanes}
                forks[block] = event
            case Close(lane):
                assert lane in told
                assert lane not in closed, "a lane ends once"
                closed.add(lane)
            case Merge(block, lane):
                assert lane == forks[block].lane
                assert closed.issuperset(forks[block].lanes), "all its branches are closed"
            case _:
                raise AssertionError(f"{event} comes before the end")
    assert isinstance(events[-1], Done)

    def walk(lane: int) -> list[str]:
        own, below = "", []
        for event in told[lane]:
            if isinstance(event, Text):
                own += event.text
                continue
            branches = [walk(branch) for branch in event.lanes]
            if len(branches) == 1:  # one title over and over: the content of its parent
                own += branches[0].pop(0)
            below += [text for branch in branches for text in branch]
        return [own, *below]

    return walk(0)


def lane_texts(document: Document) -> list[str]:
    """The serial text of each lane of a document, in document order."""
    own = "".join(part for part in document.parts if isinstance(part, str))
    out = [own]
    for block in (part for part in document.parts if not isinstance(part, str)):
        for lead, branch in zip(block.leads, block.branches, strict=True):
            first, *below = lane_texts(branch.content)
            out += [lead + first, *below]
    return out
