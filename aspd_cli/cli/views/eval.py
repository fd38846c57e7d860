"""A run of `aspd eval` as its user sees it: progress, tables, files."""

import json as jsonlib
import logging
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from aspd_cli.cli.progress import ProgressReporter
from aspd_cli.cli.views.eval_tables import legend, tables
from aspd_cli.cli.views.prompts_file import read_prompts
from aspd_cli.errors import DataError, UsageError
from aspd_cli.files import json_safe, write_jsonl, write_text
from aspd_cli.outputs import STDOUT, check_apart, claim, holds_something, same
from aspd_cli.recipe import Recipe
from aspd_cli.resume import is_as_saved, saved_facts, settings_text
from aspd_cli.safe_text import shown

if TYPE_CHECKING:
    from aspd_cli.evaluate.prompt_sets import Prompted
    from aspd_cli.evaluate.results import Evaluation

PIPE_WIDTH = 160
"""Columns of a table that no terminal limits."""


def run(
    recipe: Recipe,
    *,
    recipe_file: Path | None,
    documents: Path | None,
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
        _check_places(recipe, folder, {"--documents": documents, "--replay": replay}, recipe_file)
        _make(folder)
    prompts, rejected = (None, []) if source is None else _prompts(Path(source))
    _hush()
    from aspd_cli.evaluate.job import Job
    from aspd_cli.evaluate.processes import Processes
    from aspd_cli.evaluate.run import evaluate

    processes = Processes()
    quiet = quiet or not processes.is_first
    held: AbstractContextManager[None] = nullcontext()
    if folder is not None and processes.is_first:
        held = claim(folder, "--output", folder="directory")
    with held:
        counted = "answers" if documents is None else "losses"
        with ProgressReporter(counted, quiet=quiet, before="loading") as progress:
            job = Job(
                recipe,
                processes,
                documents=documents,
                replay=replay,
                random_weights=random_weights,
                prompts=prompts,
                rejected=rejected,
                confirm_run_unsafe_code=confirm_run_unsafe_code,
                expect=progress.expect,
                advance=progress.advance,
            )
            evaluation = evaluate(job)
        if not processes.is_first:
            return 0
        # Files first: a reader of the tables who leaves early must not cost the results.
        written = write(evaluation, recipe, folder) if folder is not None else []
    if json:
        print(jsonlib.dumps(json_safe(evaluation.results()), ensure_ascii=False))
    else:
        limited = sys.stdout.isatty() or "COLUMNS" in os.environ
        show(evaluation, Console(width=None if limited else PIPE_WIDTH, markup=False))
    if written and not quiet:
        print(f"written: {', '.join(map(str, written))}", file=sys.stderr)
    missing = any(bench["missing"] for bench in evaluation.judged.values())
    return 3 if missing or evaluation.rejected else 0


def show(evaluation: "Evaluation", console: Console) -> None:
    """The tables, what their abbreviations mean, and what their reader must know."""
    for table in tables(evaluation):
        for part in table.fitted(console.width):
            console.print(part)
            console.print()
    for line in filter(None, (legend(evaluation), *evaluation.notes)):
        console.print(shown(line), markup=False, highlight=False)


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
    recipe: Recipe, folder: Path, files: dict[str, Path | None], recipe_file: Path | None
) -> None:
    """Refuses before anything is touched what would overwrite something else.

    Raises:
        UsageError: names what would be lost.
    """
    from aspd_cli.evaluate.results import RESULTS, SAMPLES
    from aspd_cli.report.evaluation_page import CHARTS, PAGE

    evaluation, saved = recipe.evaluation, folder / RECIPE
    if folder == STDOUT:
        raise UsageError("--output cannot be standard output (-); give the name of a directory")
    written = [folder / name for name in (RECIPE, SAMPLES, PAGE, RESULTS)]
    own = recipe_file and same(recipe_file, saved) and is_as_saved(recipe_file)
    check_apart(
        {
            "--model": recipe.model.path,
            "--adapter": recipe.model.adapter,
            **files,
            "--prompts": evaluation.prompts,
            "--recipe": None if own else recipe_file,
            **{f"--data {task}": path for task, path in evaluation.data.items()},
        },
        {"--output": folder, **{f"{path.name} of --output": path for path in written}},
    )
    if saved_facts(saved, "eval") is None and not _is_of_0_1(folder / RESULTS):
        charts = (path for name in CHARTS for path in folder.glob(name))
        for path in filter(holds_something, (*written, *charts)):
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
        Path(os.path.realpath(folder)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot create the directory {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise DataError(f"cannot write to the directory {folder}; choose another --output")


def _prompts(path: Path) -> "tuple[list[Prompted], list[str]]":
    """The prompts of a file, and one sentence for each line that holds none."""
    from aspd_cli.evaluate.prompt_sets import Prompted

    records, rejected = read_prompts(path)
    problems = [f"{path}:{each.line}: {each.reason}" for each in rejected]
    if not records:
        raise DataError(problems[0] if problems else f"{path} contains no prompts")
    prompts = [
        Prompted(
            str(record.index if record.id is None else record.id), record.category, record.prompt
        )
        for record in records
    ]
    return prompts, problems


def _hush() -> None:
    """Silences the libraries, lm-eval's bars included: they are read when tqdm is imported."""
    os.environ["TQDM_DISABLE"] = "1"
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    from aspd_cli.cli.libraries import hush

    hush()
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
