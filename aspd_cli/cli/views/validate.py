"""A run of `aspd validate`: findings on standard output, their number on standard error."""

import sys
from collections import Counter
from pathlib import Path

from rich.console import Console

from aspd_cli.errors import DataError, UsageError
from aspd_cli.outputs import check_apart, check_file
from aspd_cli.recipe import Recipe
from aspd_cli.report.terminal_document import picture
from aspd_cli.safe_text import shown
from aspd_cli.transform.io.readers import read_values
from aspd_cli.transform.token_counts import EstimatingCodec, open_codec
from aspd_cli.transform.validation.checks import Budgets, Checked, Checker, as_json, open_originals
from aspd_cli.transform.validation.rejudge import Revote


def run(
    recipe: Recipe,
    file: Path,
    *,
    show: int | None,
    png: Path | None,
    against: Path | None,
    recipe_file: Path | None,
    judge: bool,
    json: bool,
    quiet: bool,
) -> int:
    """Checks every record of `file`, or draws one of them; returns the exit code.

    Raises:
        UsageError: a picture is wanted of no record.
        DataError: a file cannot be read or written, or there is nothing to draw on that line.
        ModelError: there is no such tokenizer.
        EndpointError: the judge's endpoint cannot be used, or the budget is spent.
    """
    if png is not None and show is None:
        raise UsageError("--png draws one record: give its line with --show N")
    check_apart({"FILE": file, "--against": against, "--recipe": recipe_file}, {"--png": png})
    if png is not None:
        from aspd_cli.report.mask_image import MARK

        check_file("--png", png, mark=MARK)
    revote = Revote(recipe.transform) if judge else None
    codec, counter = open_codec(
        recipe.model.tokenizer or recipe.model.path,
        trust_remote_code=recipe.model.trust_remote_code,
    )
    decoding = recipe.generation
    budgets = Budgets(decoding.max_branches, decoding.max_title_tokens, decoding.max_depth)
    originals = open_originals(against, recipe.transform.dialect)
    checker = Checker(codec, recipe.transform.max_tokens, budgets=budgets, originals=originals)
    kinds: Counter[str] = Counter()
    records = parallel = faulty = 0
    checks = (checker.check(raw) for raw in read_values(file) if show is None or raw.line == show)
    for checked in revote.judged(checks) if revote else checks:
        records += 1
        parallel += checked.document is not None and any(checked.document.blocks())
        faulty += bool(checked.findings)
        kinds.update(finding.kind for finding in checked.findings)
        if show is not None:
            _draw(checked, recipe, checker, png)
            break
        if json:
            sys.stdout.write(as_json(checked))
        else:
            for finding in checked.findings:
                print(shown(finding))
    if not records:
        what = "is empty" if show is None else f"has no record on line {show}"
        raise DataError(f"{file} {what}")
    if not quiet and show is None:
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "none"
        print(
            f"{records} records, {parallel} parallel, {faulty} with findings: {found} "
            f"(tokens by {counter})",
            file=sys.stderr,
        )
        if revote is not None:
            spent = revote.spent
            told = f"judged in {spent.calls} calls, {spent.tokens:,} tokens, {spent.price()}"
            print(told, file=sys.stderr)
    return 3 if faulty else 0


def _draw(checked: Checked, recipe: Recipe, checker: Checker, png: Path | None) -> None:
    console = Console(highlight=False)
    if checked.document is not None:
        real = not isinstance(checker.codec, EstimatingCodec)
        if png is not None:
            from aspd_cli.report.mask_image import draw_mask

            draw_mask(checked.document, checker.codec, recipe.model.positions, png, real=real)
        console.print(picture(checked.document, checker.codec, recipe.model.positions, real=real))
    for finding in checked.findings:
        console.print(shown(finding), style="bold red", markup=False)
