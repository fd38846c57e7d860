"""A run of `aspd eval` as its user sees it: progress, tables, files."""

import json as jsonlib
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from aspd_cli.cli.progress import ProgressReporter
from aspd_cli.cli.views.answers_file import read_prompts
from aspd_cli.cli.views.eval_tables import legend, tables
from aspd_cli.errors import DataError
from aspd_cli.files import json_safe, write_jsonl, write_text
from aspd_cli.recipe import Recipe
from aspd_cli.safe_text import shown

if TYPE_CHECKING:
    from aspd_cli.evaluate.prompt_sets import Prompted
    from aspd_cli.evaluate.results import Evaluation

PIPE_WIDTH = 160
"""Columns of a table that no terminal limits."""


def run(
    recipe: Recipe,
    *,
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
    folder = None if where is None else _folder(Path(where))
    prompts, rejected = (None, []) if source is None else _prompts(Path(source))
    _hush()
    from aspd_cli.evaluate.processes import Processes
    from aspd_cli.evaluate.run import Job, evaluate

    processes = Processes()
    quiet = quiet or not processes.is_first
    with ProgressReporter("answers", quiet=quiet, before="loading") as progress:
        job = Job(
            replay=replay,
            random_weights=random_weights,
            prompts=prompts,
            rejected=rejected,
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
    """results.json, samples.jsonl, the recipe and the report, each at once or not at all.

    Raises:
        DataError: the directory cannot be written.
    """
    from aspd_cli.evaluate.results import RESULTS, SAMPLES
    from aspd_cli.report.evaluation_page import write_report

    results, samples = folder / RESULTS, folder / SAMPLES
    try:
        text = jsonlib.dumps(json_safe(evaluation.results()), indent=2, ensure_ascii=False)
        write_text(results, text + "\n")
        kept = evaluation.answers if recipe.evaluation.log_samples else ()
        write_jsonl(samples, (answer.as_dict() for answer in kept))
        write_text(folder / "recipe.yaml", recipe.to_yaml())
    except OSError as error:
        raise DataError(f"cannot write the results to {folder}: {error.strerror}") from error
    return [results, samples, *write_report(evaluation, folder)]


def _folder(path: Path) -> Path:
    """The directory of the results, made before anything takes time."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot create the directory {path}: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise DataError(f"cannot write to the directory {path}; choose another --output")
    return path


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
