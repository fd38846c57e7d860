"""One run of `aspd eval`: systems opened, everything asked, tables made."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aspd_cli.errors import UsageError
from aspd_cli.evaluate import content_loss
from aspd_cli.evaluate.interleave import interleave
from aspd_cli.evaluate.judge.bench import Judged, prepare, run_benches
from aspd_cli.evaluate.judge.questions import BENCHES
from aspd_cli.evaluate.latency import cut_note, latency, length_note
from aspd_cli.evaluate.lm_eval.runner import Quality, TaskSettings, evaluate_tasks
from aspd_cli.evaluate.machine import machine
from aspd_cli.evaluate.processes import Processes
from aspd_cli.evaluate.prompt_sets import Prompted, speed_requests
from aspd_cli.evaluate.replay import random_decoder, replay_requests
from aspd_cli.evaluate.requests import EvalRequest
from aspd_cli.evaluate.results import EvalAnswer, Evaluation
from aspd_cli.evaluate.served import ServedSystem
from aspd_cli.evaluate.systems import (
    STOCK,
    Engine,
    Runner,
    baseline,
    check_systems,
    make_runner,
    open_systems,
)
from aspd_cli.pretrained import gguf_file, names_code

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder
    from aspd_cli.engine.options import GenerationOptions
    from aspd_cli.evaluate.lm_eval.tasks import Tasks
    from aspd_cli.recipe import Recipe

TIMED = ["parallel", "serial", "hf"]
"""What is compared when nobody says and speed alone is measured."""
TIMED_ON_VLLM = ["parallel", "plain"]
"""The same where vLLM decodes, which has the weights."""
SCORED = ["parallel"]
LAID_OUT = ["parallel", "plain"]
"""The same where documents are scored."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the command line adds to the recipe."""

    documents: Path | None = None
    """Whose loss is measured, and nothing else."""
    replay: Path | None = None
    random_weights: bool = False
    prompts: Sequence[Prompted] | None = None
    """For measures of speed alone, when neither tasks nor a replay are asked for."""
    rejected: Sequence[str] = ()
    """Lines of the file of prompts that hold none, and why: one sentence each."""
    confirm_run_unsafe_code: bool = False
    expect: Callable[[int], None] = field(default=lambda _: None)
    """Is told how many more answers there will be."""
    advance: Callable[[int], None] = field(default=lambda _: None)
    """Is told how many more answers there are."""


def evaluate(recipe: "Recipe", job: Job, processes: Processes) -> Evaluation:
    """Runs what the recipe and the job ask for.

    On all processes but the first the answers are there and lm-eval's results are not.

    Raises:
        UsageError: what is asked for does not exist or does not go together.
        DataError: documents, prompts or a transform output cannot be reached or read.
        ModelError: a model cannot be loaded, or cannot decode as asked.
        EndpointError: a server, or the judge of a judged bench, cannot be used.
    """
    if recipe.model.endpoint is not None:
        raise UsageError("model.endpoint is for `aspd generate`: compare a server by NAME=URL")
    if recipe.model.engine == "vllm" and (job.documents is not None or job.replay is not None):
        raise UsageError(
            "--replay and --documents need the weights, which vLLM has: use aspd's own engine"
        )
    with ExitStack() as held:
        return _evaluate(recipe, job, processes, held)


def _evaluate(recipe: "Recipe", job: Job, processes: Processes, held: ExitStack) -> Evaluation:
    """The run; `held` closes what was opened for it."""
    began, clock = time.time(), time.perf_counter()
    evaluation = recipe.evaluation
    timed = TIMED_ON_VLLM if recipe.model.engine == "vllm" else TIMED
    words = evaluation.compare or (
        SCORED if evaluation.tasks else LAID_OUT if job.documents else timed
    )
    names = [name for name, _ in check_systems(words, recipe.model)]
    notes: list[str] = []
    rejected = list(job.rejected)
    judged = Judged()
    documents: dict[str, Any] = {}
    if job.documents is not None:
        runners, found = _score_documents(recipe, words, job.documents, job, processes, held)
        quality, documents = Quality([], found.scores, {}), found.documents
        notes += found.notes
    elif evaluation.tasks:
        benches = prepare(evaluation, rejected)
        tasks = _find_tasks(recipe, notes)
        runners = _open(recipe, words, processes, held)
        quality = Quality([], [], {})
        if tasks is not None:
            quality = _run_tasks(recipe, runners, tasks, job, processes)
        if benches:
            judged = run_benches(
                benches,
                runners,
                baseline(names),
                _options(recipe),
                evaluation,
                processes,
                expect=job.expect,
                advance=job.advance,
            )
    else:
        runners, requests = _timed(recipe, words, job, processes, notes, held)
        quality = Quality(_answers(recipe, runners, requests, job, processes), [], {})
    systems = tuple(runner.system for runner in runners)
    answers = (*quality.answers, *judged.answers)
    rows = tuple(latency(systems, answers))
    return Evaluation(
        systems=systems,
        baseline=baseline(names),
        answers=answers,
        scores=(*quality.scores, *judged.scores),
        latency=rows,
        lm_eval=quality.lm_eval,
        judged=judged.benches,
        documents=documents,
        settings=recipe.without_secrets().model_dump(),
        machine=machine(runners, began, time.perf_counter() - clock, processes),
        notes=(
            *(f"left out: {each}" for each in rejected),
            *notes,
            *judged.notes,
            *filter(None, (cut_note(rows), length_note(rows))),
        ),
        rejected=len(rejected),
    )


def _find_tasks(recipe: "Recipe", notes: list[str]) -> "Tasks | None":
    """The tasks of lm-eval with their documents in reach; None where all are judged benches."""
    from aspd_cli.evaluate.lm_eval.tasks import Tasks

    evaluation = recipe.evaluation
    names = [name for name in evaluation.tasks if name not in BENCHES]
    if not names:
        return None
    files = {k: v for k, v in evaluation.data.items() if k.partition(".")[0] not in BENCHES}
    model = recipe.model
    # Tasks that cut their documents to length read the tokenizer themselves, and run its code.
    path = None if model.path is None or gguf_file(model.path) else model.path
    told = path is not None and (model.trust_remote_code or not names_code(path))
    pretrained = {"pretrained": path} if told else None
    tasks = Tasks(names, files, num_fewshot=evaluation.num_fewshot, metadata=pretrained)
    tasks.load()  # what cannot be reached is told before a model is loaded
    notes += tasks.notes
    return tasks


def _run_tasks(
    recipe: "Recipe",
    runners: Sequence[Runner],
    tasks: "Tasks",
    job: Job,
    processes: Processes,
) -> Quality:
    evaluation = recipe.evaluation
    settings = TaskSettings(
        limit=evaluation.limit,
        num_fewshot=evaluation.num_fewshot,
        apply_chat_template=evaluation.apply_chat_template,
        system_instruction=recipe.generation.system,
        gen_kwargs=evaluation.gen_kwargs,
        confirm_run_unsafe_code=job.confirm_run_unsafe_code,
    )
    return evaluate_tasks(
        runners,
        tasks,
        settings,
        _options(recipe),
        processes,
        concurrency=evaluation.concurrency,
        repeats=evaluation.repeats,
        advance=job.advance,
        expect=job.expect,
    )


def _score_documents(
    recipe: "Recipe",
    words: Sequence[str],
    documents: Path,
    job: Job,
    processes: Processes,
    held: ExitStack,
) -> tuple[list[Runner], content_loss.Losses]:
    """Systems, and the losses of given documents."""
    named = check_systems(words, recipe.model)
    content_loss.check(named)
    limit = _whole_limit(recipe, "documents")
    runners = _open(recipe, words, processes, held)
    found = content_loss.measure(
        documents,
        [runner for runner in runners if isinstance(runner, Engine)],
        baseline([name for name, _ in named]),
        processes,
        limit=limit,
        max_length=recipe.evaluation.max_length,
        expect=job.expect,
        advance=job.advance,
    )
    return runners, found


def _whole_limit(recipe: "Recipe", what: str) -> int | None:
    """`--limit` where it counts prompts or documents. Raises `UsageError` for a fraction."""
    limit = recipe.evaluation.limit
    if limit is not None and (limit < 1 or limit != int(limit)):
        raise UsageError(f"--limit {limit:g} is a fraction; give a whole number of {what}")
    return None if limit is None else int(limit)


def _timed(
    recipe: "Recipe",
    words: Sequence[str],
    job: Job,
    processes: Processes,
    notes: list[str],
    held: ExitStack,
) -> tuple[list[Runner], dict[str, list[EvalRequest]]]:
    """Systems and prompts where speed alone is measured."""
    number = _whole_limit(recipe, "prompts")
    if job.replay is None:
        runners = _open(recipe, words, processes, held)
        requests = speed_requests(runners, job.prompts, _options(recipe), number)
    else:
        runners, requests = _replay(recipe, words, job, processes, number, notes)
    return runners, {name: processes.share(mine) for name, mine in requests.items()}


def _replay(
    recipe: "Recipe",
    words: Sequence[str],
    job: Job,
    processes: Processes,
    limit: int | None,
    notes: list[str],
) -> tuple[list[Runner], dict[str, list[EvalRequest]]]:
    model = recipe.model
    if second := [name for name, path in check_systems(words, model) if path]:
        raise UsageError(f"--replay runs one model through given answers; leave out {second[0]}")
    if job.random_weights:
        decoder, place = random_decoder(
            model.path,
            model.tokenizer,
            processes.device(model.device),
            model.dtype,
            keep_stock=STOCK in words,
            trust_remote_code=model.trust_remote_code,
            quantize=model.quantize,
        )
        notes.append(f"random weights: the texts are replayed, with the tokenizer of {place}")
        runners: list[Runner] = [make_runner(name, decoder, model.path, None) for name in words]
    else:
        runners = _open(recipe, words, processes, ExitStack())  # no server replays
        assert not isinstance(runners[0], ServedSystem)
        decoder = runners[0].decoder
    assert job.replay is not None
    evaluation = recipe.evaluation
    found = replay_requests(job.replay, decoder, limit=limit, max_length=evaluation.max_length)
    left = [(found.serial, "have no block"), (found.too_long, "are too long")]
    told = [f"{number} {why}" for number, why in left if number]
    notes += [f"left out of {job.replay}: {' and '.join(told)}"] if told else []
    return runners, {runner.system.name: found.requests for runner in runners}


def _answers(
    recipe: "Recipe",
    runners: Sequence[Runner],
    requests: dict[str, list[EvalRequest]],
    job: Job,
    processes: Processes,
) -> list[EvalAnswer]:
    evaluation = recipe.evaluation
    total = len(requests[runners[0].system.name])
    job.expect(total * len(runners) * len(evaluation.concurrency) * evaluation.repeats)
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
        size = len(runners)
        groups = [mine[at : at + size] for at in range(0, len(mine), size)]
        answers += [answer for group in processes.gather(groups) for answer in group]
    return answers


def _open(
    recipe: "Recipe", words: Sequence[str], processes: Processes, held: ExitStack
) -> list[Runner]:
    model = recipe.model

    def open_model(path: str | None, adapter: str | None, keep_stock: bool) -> "Decoder":
        if model.engine == "vllm":
            from aspd_cli.vllm.decoder import open_vllm

            if (path, adapter) != (model.path, model.adapter):
                raise UsageError("vLLM runs one model: leave NAME=PATH out, or evaluate it apart")
            decoder = open_vllm(recipe)
            held.callback(decoder.close)
            return decoder
        from aspd_cli.engine.loading import load

        return load(
            path,
            adapter,
            processes.device(model.device),
            model.dtype,
            device_map=model.device_map,
            keep_stock=keep_stock,
            trust_remote_code=model.trust_remote_code,
            chat_template_kwargs=recipe.data.chat_template_kwargs or None,
            quantize=model.quantize,
        )

    return open_systems(words, model, open_model, held)


def _options(recipe: "Recipe") -> "GenerationOptions":
    from aspd_cli.engine.options import GenerationOptions

    return GenerationOptions(**recipe.generation.model_dump(exclude={"batch_size"}))
