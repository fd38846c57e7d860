"""A run of `aspd eval` as its user sees it: progress, tables, files."""

import json as jsonlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aspd_cli.cli.views.eval_tables import tables
from aspd_cli.cli.views.prompts_file import read_prompts
from aspd_cli.errors import DataError, UsageError
from aspd_cli.files import json_safe, write_jsonl, write_text
from aspd_cli.outputs import STDOUT, check_apart, claim, holds_something, same
from aspd_cli.recipe import Recipe
from aspd_cli.resume import is_as_saved, saved_facts, settings_text

if TYPE_CHECKING:
    from aspd_cli.evaluate.prompt_sets import Prompted
    from aspd_cli.evaluate.results import Evaluation

SECONDS_BETWEEN_LINES = 10.0
"""How often a run tells its progress where there is no terminal."""
PIPE_WIDTH = 160
"""Columns of a table that no terminal limits."""


def run(
    recipe: Recipe,
    *,
    recipe_file: Path | None,
    replay: Path | None,
    random_weights: bool,
    confirm_run_unsafe_code: bool,
    json: bool,
    quiet: bool,
) -> int:
    """Evaluates, shows and writes; returns the exit code.

    Raises:
        UsageError, DataError, ModelError: see `evaluate.run.evaluate`.
    """
    where, source = recipe.evaluation.output_path, recipe.evaluation.prompts
    folder = None if where is None else Path(where)
    if folder is not None:
        _check_places(recipe, folder, replay, recipe_file)
        _make(folder)
    prompts = None if source is None else _prompts(Path(source))
    _hush()
    from aspd_cli.evaluate.processes import Processes
    from aspd_cli.evaluate.run import Job, evaluate

    processes = Processes()
    quiet = quiet or not processes.is_first
    held: AbstractContextManager[None] = nullcontext()
    if folder is not None and processes.is_first:
        held = claim(folder, "--output", folder="directory")
    with held:
        with _progress(quiet=quiet) as progress:
            job = Job(
                replay=replay,
                random_weights=random_weights,
                prompts=prompts,
                confirm_run_unsafe_code=confirm_run_unsafe_code,
                expect=progress.expect,
                advance=progress.advance,
            )
            evaluation = evaluate(recipe, job, processes)
        if not processes.is_first:
            return 0
        # Files first: a reader of the tables who leaves early must not cost the results.
        written = write(evaluation, recipe, folder) if folder is not None else []
    if json:
        print(jsonlib.dumps(json_safe(evaluation.results()), ensure_ascii=False))
    else:
        show(evaluation, Console(width=None if sys.stdout.isatty() else PIPE_WIDTH))
    if written and not quiet:
        print(f"written: {', '.join(map(str, written))}", file=sys.stderr)
    return 3 if any(bench["missing"] for bench in evaluation.judged.values()) else 0


def show(evaluation: "Evaluation", console: Console) -> None:
    """The tables, and what their reader must know."""
    for table in tables(evaluation):
        console.print(table)
    for note in evaluation.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def write(evaluation: "Evaluation", recipe: Recipe, folder: Path) -> list[Path]:
    """The recipe, samples.jsonl, the report and results.json, each at once or not at all.

    The recipe comes first: it says that the rest is of `aspd eval`.

    Raises:
        DataError: the directory cannot be written.
    """
    from aspd_cli.evaluate.results import RESULTS, SAMPLES
    from aspd_cli.report.evaluation_page import write_report

    results, samples = folder / RESULTS, folder / SAMPLES
    try:
        write_text(folder / RECIPE, settings_text("eval", recipe.to_yaml()))
        kept = evaluation.answers if recipe.evaluation.log_samples else ()
        write_jsonl(samples, (answer.as_dict() for answer in kept))
        report = write_report(evaluation, folder)
        text = jsonlib.dumps(json_safe(evaluation.results()), indent=2, ensure_ascii=False)
        write_text(results, text + "\n")
    except OSError as error:
        raise DataError(f"cannot write the results to {folder}: {error.strerror}") from error
    return [results, samples, *report]


RECIPE = "recipe.yaml"


def _check_places(
    recipe: Recipe, folder: Path, replay: Path | None, recipe_file: Path | None
) -> None:
    """Refuses before anything is touched what would overwrite something else.

    Raises:
        UsageError: names what would be lost.
    """
    from aspd_cli.evaluate.results import RESULTS, SAMPLES
    from aspd_cli.report.evaluation_page import PAGE

    evaluation, saved = recipe.evaluation, folder / RECIPE
    if folder == STDOUT:
        raise UsageError("--output cannot be standard output (-); give the name of a directory")
    files = [folder / name for name in (RECIPE, SAMPLES, PAGE, RESULTS)]
    own = recipe_file and same(recipe_file, saved) and is_as_saved(recipe_file)
    check_apart(
        {
            "--model": recipe.model.path,
            "--adapter": recipe.model.adapter,
            "--replay": replay,
            "--prompts": evaluation.prompts,
            "--recipe": None if own else recipe_file,
            **{f"--data {task}": path for task, path in evaluation.data.items()},
        },
        {"--output": folder, **{f"{path.name} of --output": path for path in files}},
    )
    if saved_facts(saved, "eval") is None and not _is_of_0_1(folder / RESULTS):
        for path in filter(holds_something, files):
            raise UsageError(
                f"{path} was not made by `aspd eval`, which would replace it; choose another "
                "--output"
            )


def _is_of_0_1(results: Path) -> bool:
    """Whether these are results as version 0.1 left them, whose recipe does not say so."""
    try:
        return "aspd" in jsonlib.loads(results.read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def _make(folder: Path) -> None:
    """The directory of the results, made before anything takes time."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot create the directory {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise DataError(f"cannot write to the directory {folder}; choose another --output")


def _prompts(path: Path) -> "list[Prompted]":
    from aspd_cli.evaluate.prompt_sets import Prompted

    records, rejected = read_prompts(path)
    if rejected:
        raise DataError(f"{path}:{rejected[0].line}: {rejected[0].reason}")
    if not records:
        raise DataError(f"{path} contains no prompts")
    return [
        Prompted(
            str(record.index if record.id is None else record.id), record.category, record.prompt
        )
        for record in records
    ]


def _hush() -> None:
    """Silences the libraries, lm-eval's bars included: they are read when tqdm is imported."""
    os.environ["TQDM_DISABLE"] = "1"
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    from aspd_cli.cli.libraries import hush

    hush()
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()


@dataclass(frozen=True, slots=True)
class _Told:
    """Where progress is told."""

    expect: Callable[[int], None]
    advance: Callable[[int], None]


@contextmanager
def _progress(*, quiet: bool) -> Iterator[_Told]:
    """A bar on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    shown = console.is_terminal and not quiet
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn())
    done = total = 0
    told = time.monotonic()
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not shown
    ) as bar:
        task = bar.add_task("loading", total=None)

        def expect(number: int) -> None:
            nonlocal total
            total += number
            bar.update(task, description="answered", total=total)

        def advance(number: int) -> None:
            nonlocal done, told
            done += number
            bar.advance(task, number)
            if quiet or shown or time.monotonic() - told < SECONDS_BETWEEN_LINES:
                return
            told = time.monotonic()
            print(f"answered {done} of {total}", file=sys.stderr, flush=True)

        yield _Told(expect, advance)
