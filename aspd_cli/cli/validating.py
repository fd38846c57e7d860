"""A run of `aspd validate`: findings on standard output, their number on standard error."""

import sys
from collections import Counter
from pathlib import Path

from rich.console import Console

from aspd_cli.errors import DataError
from aspd_cli.recipe import Recipe
from aspd_cli.transform.counting import EstimatingCodec, open_codec
from aspd_cli.transform.findings import Checked, Checker, as_json
from aspd_cli.transform.picture import picture
from aspd_cli.transform.readers import read_values


def run(recipe: Recipe, file: Path, *, show: int | None, json: bool, quiet: bool) -> int:
    """Checks every record of `file`, or draws one of them; returns the exit code.

    Raises:
        DataError: the file cannot be read, or there is nothing to draw on that line.
        ModelError: there is no such tokenizer.
    """
    codec, counter = open_codec(recipe.model.tokenizer or recipe.model.path)
    checker = Checker(codec, recipe.transform.max_tokens)
    kinds: Counter[str] = Counter()
    records = parallel = faulty = 0
    for raw in read_values(file):
        if show is not None and raw.line != show:
            continue
        checked = checker.check(raw)
        records += 1
        parallel += checked.document is not None and any(checked.document.blocks())
        faulty += bool(checked.findings)
        kinds.update(finding.kind for finding in checked.findings)
        if show is not None:
            _draw(checked, recipe, checker)
            break
        if json:
            sys.stdout.write(as_json(checked))
        else:
            for finding in checked.findings:
                print(finding)
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
    return 3 if faulty else 0


def _draw(checked: Checked, recipe: Recipe, checker: Checker) -> None:
    console = Console(highlight=False)
    if checked.document is not None:
        real = not isinstance(checker.codec, EstimatingCodec)
        console.print(picture(checked.document, checker.codec, recipe.model.positions, real=real))
    for finding in checked.findings:
        console.print(str(finding), style="bold red", markup=False)
