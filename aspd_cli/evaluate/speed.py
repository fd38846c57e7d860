"""Speed alone: systems answer prompts in turn, or are led through given documents."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from aspd_cli.errors import UsageError
from aspd_cli.evaluate.interleave import interleave
from aspd_cli.evaluate.job import Job
from aspd_cli.evaluate.prompt_sets import speed_requests
from aspd_cli.evaluate.replay import Replay, left_out, random_decoder, replay_requests
from aspd_cli.evaluate.requests import EvalRequest
from aspd_cli.evaluate.results import EvalAnswer
from aspd_cli.evaluate.served import ServedSystem
from aspd_cli.evaluate.systems import STOCK, Runner, check_systems, make_runner


@dataclass(frozen=True, slots=True)
class Timed:
    """Systems, their answers, and what must be said of them."""

    runners: list[Runner]
    answers: list[EvalAnswer]
    """Of all processes, on each of them."""
    notes: Sequence[str] = ()
    rejected: Sequence[str] = ()
    """Lines of the replayed file that hold no document, and why: one sentence each."""


def measure_speed(job: Job, words: Sequence[str], held: ExitStack) -> Timed:
    """Answers to the prompts of a job, or its replay.

    Args:
        words: the systems.
        held: closes what is opened for them.

    Raises:
        UsageError, DataError, ModelError, EndpointError: see `evaluate.run.evaluate`.
    """
    number = job.whole_limit("prompts")
    if job.replay is not None:
        runners, notes = _replaying(job, words)
        found = _replayed(job, job.replay, runners, number)
        notes += left_out(job.replay, found.serial, found.too_long)
        requests = {runner.system.name: found.requests for runner in runners}
        return Timed(runners, _answers(job, runners, requests), notes, found.rejected)
    runners = job.open(words, held)
    requests = speed_requests(runners, job.prompts, job.options(), number)
    return Timed(runners, _answers(job, runners, requests))


def _replaying(job: Job, words: Sequence[str]) -> tuple[list[Runner], list[str]]:
    """The systems that a document is led through, and what must be said of their weights."""
    model = job.recipe.model
    if second := [name for name, path in check_systems(words, model) if path]:
        raise UsageError(f"--replay runs one model through given answers; leave out {second[0]}")
    if not job.random_weights:
        return job.open(words, ExitStack()), []  # no server replays
    decoder, place = random_decoder(
        model.path,
        model.tokenizer,
        job.processes.device(model.device),
        model.dtype,
        keep_stock=STOCK in words,
        trust_remote_code=model.trust_remote_code,
        quantize=model.quantize,
        compile=model.compile,
    )
    runners: list[Runner] = [make_runner(name, decoder, model.path, None) for name in words]
    return runners, [f"random weights: the texts are replayed, with the tokenizer of {place}"]


def _replayed(job: Job, path: Path, runners: Sequence[Runner], limit: int | None) -> Replay:
    assert not isinstance(runners[0], ServedSystem)
    return replay_requests(
        path,
        runners[0].decoder,
        limit=limit,
        max_length=job.recipe.evaluation.max_length,
        draft=job.recipe.generation.draft,
    )


def _answers(
    job: Job, runners: Sequence[Runner], requests: dict[str, list[EvalRequest]]
) -> list[EvalAnswer]:
    """The answers of all systems, on every process."""
    evaluation, processes, size = job.recipe.evaluation, job.processes, len(runners)
    requests = {name: processes.share(mine) for name, mine in requests.items()}
    total = len(requests[runners[0].system.name])
    job.expect(total * size * len(evaluation.concurrency) * evaluation.repeats)
    answers: list[EvalAnswer] = []
    for number in evaluation.concurrency:
        mine = list(
            interleave(
                runners,
                requests,
                concurrency=number,
                repeats=evaluation.repeats,
                advance=job.advance,
            )
            if total
            else ()
        )
        groups = [mine[at : at + size] for at in range(0, len(mine), size)]
        answers += [answer for group in processes.gather(groups) for answer in group]
    return answers
