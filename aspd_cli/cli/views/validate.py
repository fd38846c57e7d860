"""A run of `aspd validate`: findings on standard output, their number on standard error."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from aspd_cli.cli.views import transform_files
from aspd_cli.errors import DataError, UsageError
from aspd_cli.files import json_line, write_atomically, write_text
from aspd_cli.outputs import RECIPE, beside, check_apart, check_file, claim, holds_something
from aspd_cli.recipe import Recipe
from aspd_cli.report.terminal_document import picture
from aspd_cli.resume import saved_facts, settings_text
from aspd_cli.safe_text import shown
from aspd_cli.transform.blocks import Budgets
from aspd_cli.transform.io.readers import read_values
from aspd_cli.transform.token_counts import EstimatingCodec, open_codec
from aspd_cli.transform.validation.checks import Checker
from aspd_cli.transform.validation.findings import Checked, Finding
from aspd_cli.transform.validation.originals import open_originals
from aspd_cli.transform.validation.rejudge import Revote
from aspd_cli.transform.validation.repair import Repaired, repair

COMMAND = "validate"


def settings_beside(file: Path) -> Path | None:
    """The settings with which `aspd transform` or --fix has written a file, where they are."""
    return None if _facts(file) is None else beside(file, RECIPE)


def _facts(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    path = beside(file, RECIPE)
    found = saved_facts(path, transform_files.COMMAND)
    return found if found is not None else saved_facts(path, COMMAND)


def run(
    recipe: Recipe,
    file: Path,
    *,
    show: int | None,
    png: Path | None,
    against: Path | None,
    fix: Path | None,
    recipe_file: Path | None,
    judge: bool,
    json: bool,
    quiet: bool,
) -> int:
    """Checks every record of `file`, or draws one of them; returns the exit code.

    Raises:
        UsageError: a picture is wanted of no record, or --fix would replace what is not its own.
        DataError: a file cannot be read or written, or there is nothing to draw on that line.
        ModelError: there is no such tokenizer.
        EndpointError: the judge's endpoint cannot be used, or the budget is spent.
    """
    if png is not None and show is None:
        raise UsageError("--png draws one record: give its line with --show N")
    if fix is not None and show is not None:
        raise UsageError("--fix writes all records, and --show draws one: leave one of them out")
    reads = {"FILE": file, "--against": against, "--recipe": recipe_file}
    writes: dict[str, Path | None] = {"--png": png}
    if fix is not None:
        writes |= {"--fix": fix, "the settings of --fix": beside(fix, RECIPE)}
    check_apart(reads, writes)
    if png is not None:
        from aspd_cli.report.mask_image import MARK

        check_file("--png", png, mark=MARK)
    revote = Revote(recipe.transform) if judge else None
    codec, counter = open_codec(
        recipe.model.tokenizer or recipe.model.path,
        trust_remote_code=recipe.model.trust_remote_code,
    )
    budgets = Budgets.of(recipe.generation)
    originals = open_originals(against, recipe.transform.dialect, _facts(file))
    checker = Checker(codec, recipe.transform.max_tokens, budgets=budgets, originals=originals)
    raws = (raw for raw in read_values(file) if show is None or raw.line == show)
    checks: Iterable[Checked] = map(checker.check, raws)
    checks = revote.judged(checks) if revote else checks
    if show is not None:
        return _show(checks, recipe, checker, png, f"{file} has no record on line {show}")
    counts = _Counts()

    def tell(finding: Finding) -> None:
        sys.stdout.write(finding.as_json() if json else f"{shown(str(finding))}\n")

    with _written(fix, file, recipe) as write:
        for checked in checks:
            counts.add(checked)
            for finding in checked.findings:
                tell(finding)
            if write is not None:
                repaired = repair(checked, checker)
                counts.repaired(repaired)
                write(repaired)
                if repaired.done:
                    tell(Finding(checked.line, "fixed", repaired.done))
        if not counts.records:
            raise DataError(f"{file} is empty")
    for finding in originals.left() if originals else ():
        counts.of_all(finding)
        tell(finding)
    if not quiet:
        settings = f"; settings of {recipe_file}" if recipe_file == beside(file, RECIPE) else ""
        print(f"{counts.summary()} (tokens by {counter}{settings})", file=sys.stderr)
        if fix is not None:
            print(f"{fix}: {counts.outcome()}", file=sys.stderr)
        if revote is not None:
            spent = revote.spent
            told = f"judged in {spent.calls} calls, {spent.tokens:,} tokens, {spent.price()}"
            print(told, file=sys.stderr)
    return 3 if (counts.left if fix is not None else counts.kinds) else 0


class _Counts:
    """How many records there are, and what was found in them."""

    def __init__(self) -> None:
        self.records = self.parallel = self.faulty = 0
        self.written = self.dropped = self.flattened = self.left = 0
        self.kinds: Counter[str] = Counter()

    def add(self, checked: Checked) -> None:
        self.records += 1
        self.parallel += checked.document is not None and any(checked.document.blocks())
        self.faulty += bool(checked.findings)
        self.kinds.update(finding.kind for finding in checked.findings)

    def of_all(self, finding: Finding) -> None:
        self.kinds[finding.kind] += 1
        self.left += 1

    def repaired(self, repaired: Repaired) -> None:
        self.written += repaired.value is not None
        self.dropped += repaired.value is None
        self.flattened += bool(repaired.done) and repaired.value is not None
        self.left += bool(repaired.left) and repaired.value is not None

    def summary(self) -> str:
        found = ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common()) or "none"
        records = f"{self.records} records, {self.parallel} parallel"
        return f"{records}, {self.faulty} with findings: {found}"

    def outcome(self) -> str:
        return (
            f"{self.written} records, {self.flattened} of them flattened; {self.dropped} dropped; "
            f"{self.left} findings left"
        )


@contextmanager
def _written(
    out: Path | None, file: Path, recipe: Recipe
) -> Iterator[Callable[[Repaired], None] | None]:
    """What writes repaired records to --fix; it is there, with its settings, at the end."""
    if out is None:
        yield None
        return
    check_file("--fix", out)
    settings = beside(out, RECIPE)
    if saved_facts(settings, COMMAND) is None:
        for path in filter(holds_something, (out, settings)):
            raise UsageError(
                f"{path} was not made by `aspd validate --fix`, which would replace it; choose "
                "another --fix"
            )
    with claim(out, "--fix"):
        try:
            with write_atomically(out) as answers:

                def write(repaired: Repaired) -> None:
                    if repaired.value is not None:
                        answers.write(json_line(repaired.value))

                yield write
                write_text(settings, settings_text(COMMAND, recipe.to_yaml(), source=str(file)))
        except OSError as error:
            raise DataError(f"cannot write {error.filename or out}: {error.strerror}") from error


def _show(
    checks: Iterable[Checked], recipe: Recipe, checker: Checker, png: Path | None, missing: str
) -> int:
    """Draws the one record that is left."""
    checked = next(iter(checks), None)
    if checked is None:
        raise DataError(missing)
    console = Console(highlight=False)
    if checked.document is not None:
        real = not isinstance(checker.codec, EstimatingCodec)
        if png is not None:
            from aspd_cli.report.mask_image import draw_mask

            draw_mask(checked.document, checker.codec, recipe.model.positions, png, real=real)
        console.print(picture(checked.document, checker.codec, recipe.model.positions, real=real))
    for finding in checked.findings:
        console.print(shown(str(finding)), style="bold red", markup=False)
    return 3 if checked.findings else 0
