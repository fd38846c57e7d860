"""One run of `aspd eval`: systems opened, everything asked, tables made."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aspd_cli.errors import UsageError
from aspd_cli.evaluate import content_loss
from aspd_cli.evaluate.job import Job
from aspd_cli.evaluate.judge.bench import Judged, prepare, run_benches
from aspd_cli.evaluate.judge.questions import BENCHES
from aspd_cli.evaluate.latency import cut_note, latency, length_note
from aspd_cli.evaluate.lm_eval.runner import Quality, TaskSettings, evaluate_tasks
from aspd_cli.evaluate.machine import machine
from aspd_cli.evaluate.results import Evaluation
from aspd_cli.evaluate.speed import measure_speed
from aspd_cli.evaluate.systems import Engine, Runner, baseline, check_systems
from aspd_cli.pretrained import gguf_file, names_code

if TYPE_CHECKING:
    from aspd_cli.evaluate.lm_eval.tasks import Tasks

TIMED = ["parallel", "serial", "hf"]
"""What is compared when nobody says and speed alone is measured."""
TIMED_ON_VLLM = ["parallel", "plain"]
"""The same where vLLM decodes, which has the weights."""
SCORED = ["parallel"]
LAID_OUT = ["parallel", "plain"]
"""The same where documents are scored."""


def evaluate(job: Job) -> Evaluation:
    """Runs what a job asks for.

    On all processes but the first the answers are there and lm-eval's results are not.

    Raises:
        UsageError: what is asked for does not exist or does not go together.
        DataError: documents, prompts or a transform output cannot be reached or read.
        ModelError: a model cannot be loaded, or cannot decode as asked.
        EndpointError: a server, or the judge of a judged bench, cannot be used.
    """
    recipe = job.recipe
    if recipe.model.endpoint is not None:
        raise UsageError("model.endpoint is for `aspd generate`: compare a server by NAME=URL")
    if recipe.model.engine == "vllm" and (job.documents is not None or job.replay is not None):
        raise UsageError(
            "--replay and --documents need the weights, which vLLM has: use aspd's own engine"
        )
    with ExitStack() as held:
        return _evaluate(job, held)


def _evaluate(job: Job, held: ExitStack) -> Evaluation:
    """The run; `held` closes what was opened for it."""
    began, clock = time.time(), time.perf_counter()
    recipe, processes = job.recipe, job.processes
    evaluation = recipe.evaluation
    alone = TIMED_ON_VLLM if recipe.model.engine == "vllm" else TIMED
    words = evaluation.compare
    if words is None:
        words = SCORED if evaluation.tasks else LAID_OUT if job.documents else alone
    names = [name for name, _ in check_systems(words, recipe.model)]
    notes: list[str] = []
    rejected = list(job.rejected)
    judged = Judged()
    documents: dict[str, Any] = {}
    if job.documents is not None:
        runners, found = _score_documents(job, words, job.documents, held)
        quality, documents = Quality([], found.scores, {}), found.documents
        notes += found.notes
        rejected += found.rejected
    elif evaluation.tasks:
        benches = prepare(evaluation, rejected)
        tasks = _find_tasks(job)
        notes += tasks.notes if tasks else []
        runners = job.open(words, held)
        quality = Quality([], [], {})
        if tasks is not None:
            quality = _run_tasks(job, runners, tasks)
        if benches:
            judged = run_benches(
                benches,
                runners,
                baseline(names),
                job.options(),
                evaluation,
                processes,
                expect=job.expect,
                advance=job.advance,
            )
    else:
        timed = measure_speed(job, words, held)
        runners, quality = timed.runners, Quality(timed.answers, [], {})
        notes += timed.notes
        rejected += timed.rejected
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


def _find_tasks(job: Job) -> "Tasks | None":
    """The tasks of lm-eval with their documents in reach; None where all are judged benches."""
    from aspd_cli.evaluate.lm_eval.tasks import Tasks

    evaluation, model = job.recipe.evaluation, job.recipe.model
    names = [name for name in evaluation.tasks if name not in BENCHES]
    if not names:
        return None
    files = {k: v for k, v in evaluation.data.items() if k.partition(".")[0] not in BENCHES}
    # Tasks that cut their documents to length read the tokenizer themselves, and run its code.
    path = None if model.path is None or gguf_file(model.path) else model.path
    told = path is not None and (model.trust_remote_code or not names_code(path))
    pretrained = {"pretrained": path} if told else None
    tasks = Tasks(names, files, num_fewshot=evaluation.num_fewshot, metadata=pretrained)
    tasks.load()  # what cannot be reached is told before a model is loaded
    return tasks


def _run_tasks(job: Job, runners: Sequence[Runner], tasks: "Tasks") -> Quality:
    evaluation = job.recipe.evaluation
    settings = TaskSettings(
        limit=evaluation.limit,
        num_fewshot=evaluation.num_fewshot,
        apply_chat_template=evaluation.apply_chat_template,
        system_instruction=job.recipe.generation.system,
        gen_kwargs=evaluation.gen_kwargs,
        confirm_run_unsafe_code=job.confirm_run_unsafe_code,
    )
    return evaluate_tasks(
        runners,
        tasks,
        settings,
        job.options(),
        job.processes,
        concurrency=evaluation.concurrency,
        repeats=evaluation.repeats,
        advance=job.advance,
        expect=job.expect,
    )


def _score_documents(
    job: Job, words: Sequence[str], documents: Path, held: ExitStack
) -> tuple[list[Runner], content_loss.Losses]:
    """Systems, and the losses of given documents."""
    named = check_systems(words, job.recipe.model)
    content_loss.check(named)
    limit = job.whole_limit("documents")
    runners = job.open(words, held)
    found = content_loss.measure(
        documents,
        [runner for runner in runners if isinstance(runner, Engine)],
        baseline([name for name, _ in named]),
        job.processes,
        limit=limit,
        max_length=job.recipe.evaluation.max_length,
        expect=job.expect,
        advance=job.advance,
    )
    return runners, found
