"""`aspd generate --input prompts.jsonl --output answers.jsonl`: many prompts, resumable."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aspd_cli.cli.decoding import answer_json, open_decoder, settings
from aspd_cli.cli.parts import collect, part_of, share
from aspd_cli.cli.records import Answers, Record, Rejected, read_prompts, write_lines
from aspd_cli.errors import DataError, ModelError, UsageError
from aspd_cli.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from aspd_cli.evaluate.processes import Processes

SECONDS_BETWEEN_LINES = 10.0
"""How often a run tells its progress where there is no terminal."""


def answer_file(recipe: Recipe, source: Path, out: Path, *, quiet: bool) -> int:
    """Answers every prompt of `source` into `out`; returns the exit code.

    Raises:
        DataError: a file cannot be read, or is not what it should be.
        UsageError: `out` holds answers that were made with other settings.
    """
    if source.exists() and out.exists() and out.samefile(source):
        raise UsageError("--input and --output are the same file; choose another --output")
    from aspd_cli.evaluate.processes import Processes

    processes = Processes()
    quiet = quiet or not processes.is_first
    records, rejected = read_prompts(source)
    out.parent.mkdir(parents=True, exist_ok=True)
    answers = Answers(part_of(out, processes.index))

    def begin() -> set[int]:
        answers.load(records)
        collect(answers, records)
        _claim(recipe, out)
        return set(answers.done)

    done = processes.agree(begin)
    found = len(done)
    # Equal prompts draw one after another: to end like a run in one go they are redone together.
    missing = {record.digest for record in records if record.index not in done}
    owed = [record for record in records if record.digest in missing]
    mine = share(owed, processes.index, processes.number)
    try:
        refused = _decode(recipe, mine, answers, processes, quiet=quiet) if owed else []
        rejected += processes.gather(refused)
    except KeyboardInterrupt:
        if not quiet:
            left = len(records) - len(answers.done)
            print(f"stopped with {left} to go; the same command goes on", file=sys.stderr)
        raise
    if not processes.is_first:
        return 3 if rejected else 0
    collect(answers, records)
    answers.sort()
    rejects = out.with_suffix(".rejected.jsonl")
    rejects.unlink(missing_ok=True)
    if rejected:
        write_lines(rejects, [r.as_dict() for r in sorted(rejected, key=lambda r: r.line)])
    if not quiet:
        parts = [f"{len(answers.done)} answers in {out}"]
        parts += [f"{found} of them from an earlier run"] if found else []
        parts += [f"{len(rejected)} records refused, see {rejects}"] if rejected else []
        print(", ".join(parts), file=sys.stderr)
    return 3 if rejected else 0


def _decode(
    recipe: Recipe, owed: list[Record], answers: Answers, processes: "Processes", *, quiet: bool
) -> list[Rejected]:
    """Decodes the records that are owed; returns those whose prompt the model cannot take."""
    from aspd_cli.engine.options import GenerationOptions

    device = processes.device(recipe.model.device)
    decoder, arguments = open_decoder(recipe, quiet=quiet, device=device), settings(recipe)
    options = GenerationOptions(**arguments)
    decoder.encode("?", options)  # what fails here would fail for every record
    fit: list[Record] = []
    rejected: list[Rejected] = []
    for record in owed:
        try:
            decoder.encode(record.prompt, options)
            fit.append(record)
        except (DataError, ModelError) as error:
            rejected.append(Rejected(record.line, str(error)))
    prompts = [record.prompt for record in fit]
    batch_size = recipe.generation.batch_size
    with _progress(len(fit), quiet=quiet) as advance:
        for at, output in decoder.generate_iter(prompts, batch_size=batch_size, **arguments):
            record = fit[at]
            head = {"index": record.index, "digest": record.digest, "id": record.id}
            answers.append({**head, "prompt": record.prompt, **answer_json(output)})
            advance()
    return rejected


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, a line now and then elsewhere; the function counts one more."""
    console = Console(stderr=True)
    if console.is_terminal and not quiet:
        columns = (TextColumn("answered"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda: bar.advance(task)
        return
    done, told = 0, time.monotonic()

    def advance() -> None:
        nonlocal done, told
        done += 1
        if not quiet and time.monotonic() - told >= SECONDS_BETWEEN_LINES:
            print(f"answered {done} of {total}", file=sys.stderr, flush=True)
            told = time.monotonic()

    yield advance


def _claim(recipe: Recipe, out: Path) -> None:
    """Saves the recipe beside the answers, unless they were begun with another one."""
    path = out.with_suffix(".recipe.yaml")
    if out.exists() and path.exists():
        before, now = _decisive(load_recipe(path)), _decisive(recipe)
        if changed := [name for name in now if now[name] != before[name]]:
            raise UsageError(
                f"{out} holds answers made with another {' and '.join(changed)}; "
                "choose another --output, or remove it to begin again"
            )
    path.write_text(recipe.to_yaml(), encoding="utf-8")


def _decisive(recipe: Recipe) -> dict[str, Any]:
    """The fields that decide what an answer says; the batch and the device do not."""
    model = recipe.model.model_dump(include={"path", "adapter", "dtype"})
    generation = recipe.generation.model_dump(exclude={"batch_size"})
    return {f"model.{k}": v for k, v in model.items()} | {
        f"generation.{k}": v for k, v in generation.items()
    }
