"""Prompts to all systems in turn, so that a machine that slows down slows all of them alike.

Each answer is timed, with the most memory that it took (`PeakMemory`).
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aspd_cli.evaluate.requests import EvalRequest, Reply
from aspd_cli.evaluate.results import EvalAnswer
from aspd_cli.evaluate.systems import Runner, warm_up

AT_ONCE = 4
"""Prompts of a round, as a multiple of the concurrency above one."""


class PeakMemory:
    """Most bytes held between `start` and `stop`: the GPU's allocator, or else the process.

    Args:
        device: None: another machine's; its memory is not known.
    """

    def __init__(self, device: Any) -> None:
        self.known = device is not None
        self.cuda = device if self.known and device.type == "cuda" else None

    def start(self) -> None:
        if self.cuda is not None:
            import torch

            torch.cuda.reset_peak_memory_stats(self.cuda)
            return
        try:  # Linux: makes the high-water mark of the process begin anew
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        except OSError:
            pass

    def stop(self) -> int:
        if not self.known:
            return 0
        if self.cuda is not None:
            import torch

            return int(torch.cuda.max_memory_allocated(self.cuda))
        try:
            with open("/proc/self/status") as file:
                line = next(line for line in file if line.startswith("VmHWM"))
            return int(line.split()[1]) * 1024
        except (OSError, StopIteration):
            import resource

            unit = 1 if os.uname().sysname == "Darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def interleave(
    runners: Sequence[Runner],
    requests: Mapping[str, Sequence[EvalRequest]],
    *,
    concurrency: int = 1,
    repeats: int = 1,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[EvalAnswer]:
    """The answers of all systems, round by round.

    A round is one prompt, or a few times `concurrency` of them; every system answers it before the
    next begins, and each time another one is first.

    Args:
        requests: name of a system -> its prompts: of all systems the same ones, in the same order.
        repeats: timed runs of each round.
        advance: is told how many answers a system has given.
    """
    for runner in runners:
        if mine := requests[runner.system.name]:
            warm_up(runner, mine[0])
    for number, (start, stop) in enumerate(_rounds(requests[runners[0].system.name], concurrency)):
        runs: dict[str, list[_Timed]] = {runner.system.name: [] for runner in runners}
        for repeat in range(repeats):
            first = (number + repeat) % len(runners)
            for runner in [*runners[first:], *runners[:first]]:
                name = runner.system.name
                runs[name].append(_Timed(runner, requests[name][start:stop], concurrency))
                advance(stop - start)
        for at in range(stop - start):
            for name, timed in runs.items():
                yield _answer(name, requests[name][start + at], timed, at, concurrency)


class _Timed:
    """One run of one system over a round."""

    def __init__(self, runner: Runner, requests: Sequence[EvalRequest], concurrency: int) -> None:
        memory = PeakMemory(runner.device)
        memory.start()
        began = time.perf_counter()
        outputs = runner.answer(requests, concurrency)
        self.share_s = (time.perf_counter() - began) / len(requests)
        self.peak_memory = memory.stop()
        self.replies: list[Reply] = [runner.reply(output) for output in outputs]  # type: ignore[arg-type]


def _rounds(requests: Sequence[EvalRequest], concurrency: int) -> Iterator[tuple[int, int]]:
    """(first, behind the last) of the requests of each round: equal options, at most so many."""
    most = 1 if concurrency == 1 else AT_ONCE * concurrency
    start = 0
    for at in range(1, len(requests) + 1):
        if (
            at == len(requests)
            or at - start == most
            or requests[at].options != requests[start].options
        ):
            yield start, at
            start = at


def _answer(
    system: str, request: EvalRequest, runs: Sequence[_Timed], at: int, concurrency: int
) -> EvalAnswer:
    times = tuple(run.share_s for run in runs)
    middle = runs[times.index(statistics.median_low(times))]
    reply = middle.replies[at]
    return EvalAnswer(
        system=system,
        task=request.task,
        category=request.category,
        doc_id=request.doc_id,
        repeat=request.repeat,
        concurrency=concurrency,
        prompt=request.prompt,
        text=reply.text,
        markup=reply.markup,
        finish_reason=reply.finish_reason,
        stats=reply.stats,
        times_s=times,
        bars=reply.bars,
        malformed=reply.malformed,
        peak_memory=max(run.peak_memory for run in runs),
        target=request.target,
    )
