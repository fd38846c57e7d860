"""`aspd generate --endpoint`: a server answers, and the answer is shown as a local one is.

What the server does not tell of an answer is left out: markup, steps and branches are known of
`aspd serve` only.
"""

import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from aspd_cli.cli.views.generate import (
    OutputForm,
    cut_at,
    settings,
    show_stream,
    tell_measures,
    write_answer,
    write_json,
)
from aspd_cli.cli.views.prompts_file import PromptRecord
from aspd_cli.core.chat import to_messages
from aspd_cli.endpoint.served import ServedModel
from aspd_cli.endpoint.streaming import ServedAnswer
from aspd_cli.engine.events import CutBy, Done
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.errors import ReplyError, UsageError
from aspd_cli.recipe import Recipe


def open_server(recipe: Recipe, *, patient: bool) -> ServedModel:
    """The server of a recipe, to be entered.

    Args:
        patient: whether requests are repeated after failures.
    """
    assert recipe.model.endpoint is not None
    return ServedModel(recipe.model.endpoint, patient=patient)


def named(recipe: Recipe, model: ServedModel) -> Recipe:
    """The recipe with the name of the model that was found."""
    assert recipe.model.endpoint is not None
    endpoint = recipe.model.endpoint.model_copy(update={"model": model.name})
    changed = recipe.model.model_copy(update={"endpoint": endpoint})
    return recipe.model_copy(update={"model": changed})


def answer_from_server(
    recipe: Recipe, prompt: str, *, form: OutputForm, stats: bool, quiet: bool
) -> None:
    """Writes the answer to standard output and, where asked for, its measures to standard error."""
    console = Console()
    messages = to_messages(prompt, recipe.generation.system)
    with open_server(recipe, patient=False) as model:
        fields = _fields(recipe, model)
        if form == "markup" and not model.is_aspd:
            raise UsageError(f"{model.url} is not `aspd serve` and has no markup: leave it out")
        events = model.stream(messages, fields)
        answer: ServedAnswer
        if form == "stream":
            answer = show_stream(events, console, quiet=quiet)
        else:
            [answer] = [event.output for event in events if isinstance(event, Done)]
    if form == "json":
        write_json(served_json(answer))
    elif form != "stream":
        write_answer((answer.markup or "") if form == "markup" else answer.text, console)
    if stats or (console.is_terminal and not quiet):
        tell_measures([_measures(answer)])
    if (budget := _cut_by(answer)) and not quiet:
        print(cut_at(budget, recipe.generation), file=sys.stderr)


def answers_from_server(
    recipe: Recipe, model: ServedModel, records: list[PromptRecord]
) -> Iterator[tuple[PromptRecord, ServedAnswer | ReplyError]]:
    """The answers to the prompts of a file as they are finished; or why one was not taken.

    Equal prompts draw with one seed after another.
    """
    drawn: dict[str, int] = {}
    asked = []
    for record in records:
        draw = drawn[record.digest] = drawn.get(record.digest, -1) + 1
        messages = to_messages(record.prompt, recipe.generation.system)
        asked.append((messages, _fields(recipe, model, draw)))
    for at, answer in model.answers(asked, recipe.generation.batch_size):
        yield records[at], answer


def _fields(recipe: Recipe, model: ServedModel, draw: int = 0) -> dict[str, Any]:
    """How to decode. The mode is the server's own where the recipe does not say."""
    given = recipe.generation
    mode = given.mode if "mode" in given.model_fields_set else None
    return model.fields(GenerationOptions(**settings(recipe)), mode, draw)


def served_json(answer: ServedAnswer) -> dict[str, Any]:
    """What `--json` and an answers file say of one answer: what is known."""
    told = {
        "text": answer.text,
        "markup": answer.markup,
        "finish_reason": answer.finish_reason,
        "cut_by": _cut_by(answer),
        "stats": dict(answer.stats),
    }
    kept = ("cut_by",)
    return {name: value for name, value in told.items() if value is not None or name in kept}


def _cut_by(answer: ServedAnswer) -> CutBy | None:
    """The budget that cut an answer; the longest answer, where a server gives no other reason."""
    return answer.cut_by or ("max_new_tokens" if answer.finish_reason == "length" else None)


def _measures(answer: ServedAnswer) -> str:
    """One line on how an answer came."""
    stats = answer.stats
    counts = f"{stats['tokens']} tokens" if "tokens" in stats else ""
    if counts and "useful_tokens" in stats:
        counts += f" ({stats['useful_tokens']} useful)"
    if counts and stats.get("steps"):
        counts += f" in {stats['steps']} steps"
    parts = [counts] if counts else []
    if branches := stats.get("branches"):
        parts.append(f"{branches} branches")
        if "tokens" in stats and stats.get("steps"):
            ideal = stats.get("ideal_speedup", stats["tokens"] / stats["steps"])
            parts.append(f"ideal speed-up {ideal:.2f} (tokens / steps)")
    if "tps" in stats:
        parts.append(f"{stats['tps']:.0f} useful tokens/s")
    parts += [f"first token {stats['ttft_s'] * 1000:.0f} ms", f"{stats['time_s']:.2f} s"]
    return " | ".join(parts)
