"""Tasks of lm-eval for several systems at once, prompt by prompt.

lm-eval evaluates one model from its first document to its last, so it is asked twice: first what it
would ask each system, then, when all systems have answered in turn, what it makes of the answers.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aspd_cli.errors import AspdError, DataError, UsageError
from aspd_cli.evaluate.figures import Score
from aspd_cli.evaluate.interleave import interleave
from aspd_cli.evaluate.lm_eval.scores import category_of, metrics_by_answer, scores_of
from aspd_cli.evaluate.lm_eval.silence import silence
from aspd_cli.evaluate.requests import EvalRequest
from aspd_cli.evaluate.results import EvalAnswer
from aspd_cli.evaluate.served import ServedSystem
from aspd_cli.evaluate.systems import VLLM, Runner

if TYPE_CHECKING:
    from aspd_cli.engine.options import GenerationOptions
    from aspd_cli.evaluate.lm_eval.model import AspdLM
    from aspd_cli.evaluate.lm_eval.served import ServedLM
    from aspd_cli.evaluate.lm_eval.tasks import Tasks
    from aspd_cli.evaluate.processes import Processes


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """How lm-eval asks; the names are its own."""

    limit: float | None = None
    num_fewshot: int | None = None
    apply_chat_template: bool | None = None
    """None: where the model has a chat template."""
    system_instruction: str | None = None
    gen_kwargs: Mapping[str, Any] | None = None
    confirm_run_unsafe_code: bool = False


@dataclass(frozen=True, slots=True)
class Quality:
    """What came out, on the first process; on the others without scores and lm-eval's results."""

    answers: list[EvalAnswer]
    scores: list[Score]
    lm_eval: dict[str, dict[str, Any]]


class _Asked(Exception):
    """Ends lm-eval's first run: it has asked for all that is to be generated."""


def evaluate_tasks(
    runners: Sequence[Runner],
    tasks: "Tasks",
    settings: TaskSettings,
    base: "GenerationOptions",
    processes: "Processes",
    *,
    concurrency: Sequence[int] = (1,),
    repeats: int = 1,
    advance: Callable[[int], None] = lambda _: None,
    expect: Callable[[int], None] = lambda _: None,
) -> Quality:
    """Runs tasks on all systems.

    Args:
        base: options that tasks and `gen_kwargs` say nothing about.
        concurrency: the answers to the first number are scored; all are timed.
        advance: is told how many more answers there are.
        expect: is told how many answers there will be, when that is known.

    Raises:
        DataError: the documents of a task cannot be reached, or do not fit the task.
        UsageError: a generation argument that the engine does not have, or a task that a server
            cannot be asked.
    """
    _check_servers(runners, tasks, settings)
    models = _language_models(runners)
    requests = {
        r.system.name: _requests(models[r.system.name], tasks, settings, base) for r in runners
    }
    total = len(requests[runners[0].system.name])
    expect(total * len(runners) * len(concurrency) * repeats)
    answers: list[EvalAnswer] = []
    for number in concurrency if total else ():
        answers += interleave(
            runners, requests, concurrency=number, repeats=repeats, advance=advance
        )
    scores: list[Score] = []
    lm_eval: dict[str, dict[str, Any]] = {}
    scored: dict[tuple[str, str, str, int], dict[str, float]] = {}
    for runner in runners:
        name = runner.system.name
        texts = [a.text for a in answers if (a.system, a.concurrency) == (name, concurrency[0])]
        results = _simple_evaluate(models[name], tasks, settings, _given(texts))
        if results is not None:
            samples = results.pop("samples", {})
            scores += scores_of(name, samples, results.get("group_subtasks", {}))
            scored |= metrics_by_answer(name, samples)
            results["config"]["model"] = name
            lm_eval[name] = json.loads(json.dumps(results, default=str))
    answers = _in_order(processes.gather(answers), runners)
    answers = [replace(a, scores=scored.get((a.system, *a.key[:3]), {})) for a in answers]
    return Quality(answers, scores, lm_eval)


def _given(texts: list[str]) -> Callable[[Sequence[Any]], list[str]]:
    """Answers requests with what was answered before, in the same order.

    What lm-eval asks beyond that, to give all processes equally many requests, counts nowhere.
    """
    return lambda requests: [*texts, *[""] * (len(requests) - len(texts))]


def _in_order(answers: Sequence[EvalAnswer], runners: Sequence[Runner]) -> list[EvalAnswer]:
    """By concurrency, task, document and system, whichever process they come from."""
    systems = [runner.system.name for runner in runners]
    tasks = list(dict.fromkeys(answer.task for answer in answers))
    return sorted(
        answers,
        key=lambda a: (
            a.concurrency,
            tasks.index(a.task),
            int(a.doc_id),
            a.repeat,
            systems.index(a.system),
        ),
    )


def _check_servers(runners: Sequence[Runner], tasks: "Tasks", settings: TaskSettings) -> None:
    """Refuses by name what a server cannot be asked."""
    server = next((r.system.name for r in runners if isinstance(r, ServedSystem)), None)
    if server is not None and settings.apply_chat_template is False:
        raise UsageError(
            f"the server {server} is asked by chat turns: leave out --no-chat-template or {server}"
        )
    if server is not None:
        untold, cure = f"the server {server} does not tell", f"leave out {{}} or {server}"
    elif any(r.system.library == VLLM for r in runners):
        untold, cure = "vLLM is not asked for", "leave out {} or --engine vllm"
    else:
        return
    loaded = tasks.load()
    grouped = [task for group in loaded["groups"].values() for task in group.get_all_tasks()]
    for task in (*grouped, *_single(loaded)):
        if task.OUTPUT_TYPE != "generate_until":
            raise UsageError(
                f"the task {task.task_name} compares likelihoods, which {untold}: "
                + cure.format(task.task_name)
            )


def _language_models(runners: Sequence[Runner]) -> "dict[str, AspdLM | ServedLM]":
    """lm-eval's model of each system; systems on the same weights share one."""
    from aspd_cli.evaluate.lm_eval.model import AspdLM
    from aspd_cli.evaluate.lm_eval.served import ServedLM

    shared: dict[int, AspdLM] = {}
    found: dict[str, AspdLM | ServedLM] = {}
    for runner in runners:
        name = runner.system.name
        if isinstance(runner, ServedSystem):
            found[name] = ServedLM(name)
        else:
            decoder = runner.decoder
            found[name] = shared.setdefault(id(decoder), AspdLM(decoder))
    return found


def _requests(
    model: "AspdLM | ServedLM", tasks: "Tasks", settings: TaskSettings, base: "GenerationOptions"
) -> list[EvalRequest]:
    """What lm-eval would have a model generate."""
    instances: list[Any] = []

    def note(requests: Sequence[Any]) -> list[str]:
        instances.extend(requests)
        raise _Asked

    with contextlib.suppress(_Asked):
        _simple_evaluate(model, tasks, settings, note)
    seen: dict[tuple[str, int], int] = {}
    requests = []
    for instance in instances:
        place = (instance.task_name, instance.doc_id)
        repeat = seen[place] = seen.get(place, -1) + 1
        if repeat >= instance.repeats:
            continue  # lm-eval fills up processes with fewer documents
        context, arguments = instance.args
        options = model.options(arguments, base)
        requests.append(
            EvalRequest(
                task=instance.task_name,
                category=category_of(instance.doc, instance.task_name),
                doc_id=str(instance.doc_id),
                prompt=model.questions.get(context, str(context)),
                options=options,
                repeat=repeat,
                **model.encode(context, options),
            )
        )
    return requests


def _simple_evaluate(
    model: "AspdLM | ServedLM",
    tasks: "Tasks",
    settings: TaskSettings,
    generate: Callable[[Sequence[Any]], list[str]],
) -> dict[str, Any] | None:
    import lm_eval

    template = settings.apply_chat_template
    if template is None:
        template = model.has_chat_template
    loaded = tasks.load()
    model._answer = generate
    try:
        with silence():
            results: dict[str, Any] | None = lm_eval.simple_evaluate(
                model=model,
                tasks=[*loaded["groups"].values(), *_single(loaded)],
                task_manager=tasks.manager,
                limit=_limit(settings.limit),
                num_fewshot=settings.num_fewshot,
                apply_chat_template=template,
                system_instruction=settings.system_instruction,
                gen_kwargs=dict(settings.gen_kwargs) if settings.gen_kwargs else None,
                confirm_run_unsafe_code=settings.confirm_run_unsafe_code,
                batch_size=1,
            )
    except (_Asked, AspdError):
        raise
    except Exception as error:  # templates on documents of another shape, metrics that need more
        names = ", ".join(tasks.names)
        raise DataError(
            f"lm-eval cannot run {names}: {type(error).__name__}: {str(error).splitlines()[0]}"
            if str(error)
            else f"lm-eval cannot run {names}: {type(error).__name__}"
        ) from error
    return results


def _single(loaded: Mapping[str, Any]) -> list[Any]:
    """The tasks that belong to no group that is run."""
    grouped = {task.task_name for g in loaded["groups"].values() for task in g.get_all_tasks()}
    return [task for name, task in loaded["tasks"].items() if name not in grouped]


def _limit(limit: float | None) -> float | int | None:
    return int(limit) if limit is not None and limit >= 1 else limit
