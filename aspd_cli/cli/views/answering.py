"""`aspd generate --input prompts.jsonl --output answers.jsonl`: many prompts, resumable."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aspd_cli.cli.progress import ProgressReporter
from aspd_cli.cli.views.answers_file import (
    COMMAND,
    Answers,
    check_places,
    check_settings,
    collect,
    part_of,
    told,
)
from aspd_cli.cli.views.generate import answer_json, cut_at, open_decoder, settings
from aspd_cli.cli.views.prompts_file import PromptRecord, RejectedPrompt, read_prompts
from aspd_cli.cli.views.served import answers_from_server, named, open_server, served_json
from aspd_cli.errors import DataError, ModelError, ReplyError, UsageError
from aspd_cli.files import write_jsonl, write_text
from aspd_cli.outputs import RECIPE, REJECTED, beside, claim
from aspd_cli.recipe import Recipe
from aspd_cli.resume import settings_text

if TYPE_CHECKING:
    from aspd_cli.endpoint.served import ServedModel
    from aspd_cli.evaluate.processes import Processes

Decode = Callable[[list[PromptRecord], Answers], list[RejectedPrompt]]
"""Answers records into the file; returns those that cannot be answered."""


def share(records: Sequence[PromptRecord], process: int, processes: int) -> list[PromptRecord]:
    """The records of one process. Equal prompts stay together: they draw one after another."""
    digests = list(dict.fromkeys(record.digest for record in records))
    mine = set(digests[process::processes])
    return [record for record in records if record.digest in mine]


def answer_file(
    recipe: Recipe, source: Path, out: Path, *, recipe_file: Path | None = None, quiet: bool
) -> int:
    """Answers every prompt of `source` into `out`; returns the exit code.

    Args:
        recipe_file: of `--recipe`.

    Raises:
        DataError: a file cannot be read, or is not what it should be.
        UsageError: `out` holds answers that were made with other settings, or another run is
            writing it.
    """
    check_places(recipe, source, out, recipe_file)
    from aspd_cli.evaluate.processes import Processes

    processes = Processes()
    records, rejected = read_prompts(source)
    if not records and not rejected:
        raise DataError(f"{source} contains no prompts")
    with claim(out, "--output") if processes.is_first else nullcontext():
        if recipe.model.endpoint is None:
            decode = partial(_decode, recipe, processes=processes, quiet=quiet)
            return _answer(recipe, records, rejected, out, processes, decode, quiet=quiet)
        with open_server(recipe, patient=True) as model:
            recipe = named(recipe, model)
            ask = partial(_ask, recipe, model, quiet=quiet)
            return _answer(recipe, records, rejected, out, processes, ask, quiet=quiet)


def _answer(
    recipe: Recipe,
    records: list[PromptRecord],
    rejected: list[RejectedPrompt],
    out: Path,
    processes: "Processes",
    decode: "Decode",
    *,
    quiet: bool,
) -> int:
    """The run, once nothing is in its way."""
    quiet = quiet or not processes.is_first
    answers = Answers(part_of(out, processes.index))

    def begin() -> set[int]:
        known = check_settings(recipe, out)
        answers.load(records, known=known)
        if answers.stale and not answers.done:
            raise UsageError(
                f"{out} was made from another source: it answers none of the prompts; choose "
                "another --output, or delete the file to start over"
            )
        with told(beside(out, RECIPE)):
            write_text(beside(out, RECIPE), settings_text(COMMAND, recipe.to_yaml()))
        answers.cut()
        collect(answers, records)
        return set(answers.done)

    done = processes.agree(begin)
    found = len(done)
    # Equal prompts draw one after another: to end like a run in one go they are redone together.
    missing = {record.digest for record in records if record.index not in done}
    owed = [record for record in records if record.digest in missing]
    mine = share(owed, processes.index, processes.number)
    try:
        refused = decode(mine, answers) if owed else []
        rejected += processes.gather(refused)
    except KeyboardInterrupt:
        if not quiet:
            left = len(records) - len(answers.done)
            print(f"interrupted; {left} left. Run the same command to resume.", file=sys.stderr)
        raise
    if not processes.is_first:
        return 3 if rejected else 0
    collect(answers, records)
    rejects = beside(out, REJECTED)
    with told(rejects):
        rejects.unlink(missing_ok=True)
        if rejected:
            write_jsonl(rejects, [r.as_dict() for r in sorted(rejected, key=lambda r: r.line)])
    answers.sort()
    if not quiet:
        parts = [f"{len(answers.done)} answers in {out}"]
        parts += [f"{found} of them from an earlier run"] if found else []
        parts += [f"{len(rejected)} records rejected, see {rejects}"] if rejected else []
        cut = Counter(by for answer in answers.done.values() if (by := answer.get("cut_by")))
        parts += [f"{n} {cut_at(by, recipe.generation)}" for by, n in cut.items()]
        print(", ".join(parts), file=sys.stderr)
    return 3 if rejected else 0


def _decode(
    recipe: Recipe,
    owed: list[PromptRecord],
    answers: Answers,
    *,
    processes: "Processes",
    quiet: bool,
) -> list[RejectedPrompt]:
    """Decodes the records that are owed; returns those whose prompt the model cannot take."""
    from aspd_cli.engine.options import GenerationOptions

    device = processes.device(recipe.model.device)
    decoder, arguments = open_decoder(recipe, quiet=quiet, device=device), settings(recipe)
    options = GenerationOptions(**arguments)
    decoder.encode("?", options)  # what fails here would fail for every record
    fit: list[PromptRecord] = []
    rejected: list[RejectedPrompt] = []
    for record in owed:
        try:
            decoder.encode(record.prompt, options)
            fit.append(record)
        except (DataError, ModelError) as error:
            rejected.append(RejectedPrompt(record.line, str(error)))
    prompts = [record.prompt for record in fit]
    batch_size = recipe.generation.batch_size
    with ProgressReporter("answers", quiet=quiet, total=len(fit)) as progress:
        for at, output in decoder.generate_iter(prompts, batch_size=batch_size, **arguments):
            answers.append(_line(fit[at], answer_json(output)))
            progress.advance()
    return rejected


def _ask(
    recipe: Recipe, model: "ServedModel", owed: list[PromptRecord], answers: Answers, *, quiet: bool
) -> list[RejectedPrompt]:
    """Has a server answer the records that are owed; returns those that it does not take."""
    rejected: list[RejectedPrompt] = []
    with ProgressReporter("answers", quiet=quiet, total=len(owed)) as progress:
        for record, answer in answers_from_server(recipe, model, owed):
            if isinstance(answer, ReplyError):
                rejected.append(RejectedPrompt(record.line, str(answer)))
            else:
                answers.append(_line(record, served_json(answer)))
            progress.advance()
    return rejected


def _line(record: PromptRecord, answer: dict[str, Any]) -> dict[str, Any]:
    """One line of the answers file."""
    head = {"index": record.index, "digest": record.digest, "id": record.id}
    return {**head, "prompt": record.prompt, **answer}
