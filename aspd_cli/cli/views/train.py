"""A run of `aspd train` as its user sees it: the check before it, its progress, its result."""

import contextlib
import json as jsonlib
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aspd_cli.cli.libraries import hush
from aspd_cli.cli.progress import ProgressReporter
from aspd_cli.recipe import Recipe
from aspd_cli.report.terminal_document import sample_text
from aspd_cli.safe_text import shown

if TYPE_CHECKING:
    from aspd_cli.train.preflight import Preflight
    from aspd_cli.train.run import TrainResult

_FIGURES = {
    "loss": "loss",
    "learning_rate": "lr",
    "eval_loss": "evaluation loss",
    "eval_loss_serial": "serial text",
    "eval_loss_title": "titles",
    "eval_loss_branch": "branches",
}
"""What of a log is shown, and how it is called."""


def check(recipe: Recipe, *, json: bool) -> None:
    """Prints what a run would be: its figures, and one record as it would be trained."""
    _quiet_libraries()
    from aspd_cli.train.run import dry_run

    with _prints_on_stderr():
        figures, vocabulary = dry_run(recipe)
    if not _is_main():
        return
    if json:
        print(jsonlib.dumps({**asdict(figures), "total_memory": figures.total_memory}))
        return
    console = Console(highlight=False)
    console.print(_table(figures))
    for warning in figures.warnings:
        console.print(Text(f"warning: {warning}", "yellow"))
    console.print(
        Text("a record as token@position (prompt dim, loss plain, forced underlined)", "bold")
    )
    console.print(sample_text(vocabulary.codec, **asdict(figures.sample)))


def run(
    recipe: Recipe,
    resume: bool,
    fresh: bool,
    merge: bool,
    push: str | None,
    *,
    seq: bool,
    recipe_file: Path,
    json: bool,
    quiet: bool,
) -> None:
    """Trains, and prints the run directory, or with `json` what came of it.

    Args:
        seq: train the Seq model too; with `json` what came of it is under `seq`.
    """
    _quiet_libraries()
    from aspd_cli.train.run import seq_recipe, train
    from aspd_cli.train.run_dir import check_recipe_file

    recipes = [recipe, *([seq_recipe(recipe, resume=resume, fresh=fresh)] if seq else [])]
    found: dict[str, Any] = {}
    for each in recipes:
        check_recipe_file(recipe_file, each)
    for each in recipes:
        progress = ProgressReporter(
            "steps", quiet=quiet or not _is_main(), before="preparing the run", every=math.inf
        )
        with progress, _prints_on_stderr():
            listener = ShownRun(progress)
            done = train(
                each, resume=resume, fresh=fresh, merge=merge, push=push, listener=listener
            )
        told = {**asdict(done), "loss": done.loss}
        found |= told if each is recipe else {"seq": told}
        if _is_main() and not json:
            _tell(done, quiet=quiet)
    if _is_main() and json:
        print(jsonlib.dumps(found, default=str))


def _tell(done: "TrainResult", *, quiet: bool) -> None:
    print(done.run)
    if not quiet:
        loss = "" if done.loss is None else f", loss {done.loss:.4g}"
        print(f"{done.steps} steps in {done.seconds:.0f} s{loss}", file=sys.stderr)
        for what in filter(None, (done.merged, done.pushed)):
            print(f"merged model: {what}", file=sys.stderr)


class ShownRun:
    """A run on standard error: a line for each entry of its log, or a bar with the last figures."""

    def __init__(self, progress: ProgressReporter) -> None:
        self.progress = progress

    def say(self, sentence: str) -> None:
        """One line."""
        self.progress.say(shown(sentence))

    def step(self, step: int, total: int, logs: dict[str, float]) -> None:
        """Tells the figures; those of an evaluation stay in sight above the bar."""
        figures = figures_of(logs)
        self.progress.reach(step, [figures] if figures else None)
        if self.progress.total is None:  # a resumed run begins here
            self.progress.expect(total)
        if figures and (not self.progress.has_bar or "eval_loss" in logs):
            left = self.progress.left()
            self.say(f"step {step}/{total}: {figures}{f', {left} left' if left else ''}")


def figures_of(logs: dict[str, float]) -> str:
    """The figures of a log that a user looks at, in a fixed order."""
    return ", ".join(f"{name} {logs[key]:.4g}" for key, name in _FIGURES.items() if key in logs)


def _table(figures: "Preflight") -> Table:
    """The figures of a dry run."""
    table = Table("what", "value", show_header=False, box=None, padding=(0, 2, 0, 0))
    gib = {name: f"{size / 2**30:.2f}" for name, size in figures.memory.items()}
    rows: dict[str, Any] = {
        "family": figures.family,
        "parameters": f"{figures.parameters:,}, {figures.trained:,} trained",
        "records": f"{figures.kept} of {figures.records}; {figures.dropped} dropped as too long, "
        f"{figures.made_serial} converted to serial text as too long",
        "with blocks": f"{figures.parallel} ({figures.parallel / figures.kept:.1%}), "
        f"nested at most {_times(figures.depth, 'level')} deep"
        + (f"; {figures.lost} more are too long for their blocks" if figures.lost else ""),
        "held out": f"{figures.evaluated} records",
        "tokens": f"{figures.tokens:,}, longest record {figures.longest:,}; "
        f"{figures.learnt_share:.0%} contribute to the loss, at least {figures.least_learnt} in "
        "each record",
        "steps": f"{_times(figures.steps, 'step')} of {_times(figures.batch, 'record')}",
        "memory": f"about {figures.total_memory / 2**30:.2f} GiB per device ("
        + ", ".join(f"{name} {size}" for name, size in gib.items())
        + ")",
    }
    if figures.free is not None:
        rows["device"] = f"{figures.free / 2**30:.0f} GiB"
    for name, value in rows.items():
        table.add_row(name, str(value))
    return table


def _times(number: int, what: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


@contextlib.contextmanager
def _prints_on_stderr() -> Iterator[None]:
    """Libraries may print; standard output is for the result."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _quiet_libraries() -> None:
    hush()
    import datasets

    datasets.disable_progress_bars()


def _is_main() -> bool:
    """Whether this process is the one that speaks, under torchrun and accelerate too."""
    return os.environ.get("RANK", "0") == "0"
