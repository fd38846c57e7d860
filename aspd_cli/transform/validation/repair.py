"""A record without what was found in it: blocks are flattened, and what cannot be read dropped."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aspd_cli.core.markup import MAX_DEPTH, Block, Document, plain, render
from aspd_cli.core.metrics import measure
from aspd_cli.errors import MarkupError
from aspd_cli.transform.blocks import flatten
from aspd_cli.transform.validation.checks import Checker
from aspd_cli.transform.validation.findings import Checked, Finding

_DROPPED = frozenset({"record", "grammar", "duplicate", "doubled", "raw"})
"""Kinds of findings that no flattening mends."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What became of a record."""

    value: dict[str, Any] | None
    """As it is written; None when it is dropped."""
    done: str | None = None
    """What was done, for a person; None when nothing was."""
    left: tuple[Finding, ...] = ()
    """What is still found in it."""


def repair(checked: Checked, checker: Checker) -> Repaired:
    """The record without its findings. Its plain text is the same, or it is dropped."""
    value = checked.raw.value
    if not checked.findings:
        return Repaired(value)
    fatal = next((each for each in checked.findings if each.kind in _DROPPED), None)
    if checked.document is None or fatal is not None:
        return Repaired(None, f"dropped: {(fatal or checked.findings[0]).reason}")
    left, document = checked.findings, checked.document
    for _ in range(MAX_DEPTH):
        bad = {each.block for each in left if each.block is not None}
        whole = any(each.kind in ("length", "budget") and each.block is None for each in left)
        if not bad and not whole:
            break
        document = _flattened(document, bad, whole)
        others = [each for each in left if each.kind == "suspicious"]
        left = (*checker.of_document(checked, document), *others)
    if document == checked.document:
        return Repaired(value, left=left)
    before, after = len(list(checked.document.blocks())), len(list(document.blocks()))
    first = next(
        each for each in checked.findings if each.block or each.kind in ("length", "budget")
    )
    done = f"flattened {before - after} of {before} blocks: {first.reason}"
    return Repaired(_with(value, document, first, checker), done, left)


def _flattened(document: Document, bad: set[Block], whole: bool) -> Document:
    try:
        return flatten(document, lambda block: not whole and block not in bad)
    except MarkupError:  # what is left would be read as a block of another form
        return Document((plain(document),))


def _with(
    value: Mapping[str, Any], document: Document, why: Finding, checker: Checker
) -> dict[str, Any]:
    markup, completion = render(document), value["completion"]
    if isinstance(completion, list):
        last = completion[-1]
        last = {**last, "content": markup} if isinstance(last, Mapping) else markup
        completion = [*completion[:-1], last]
    else:
        completion = markup
    row = {**value, "completion": completion}
    if isinstance(about := value.get("aspd"), Mapping):
        told: dict[str, Any] = {"stats": asdict(measure(document, checker.codec))}
        if not any(document.blocks()):
            told |= {"status": "serial", "reason": f"flattened by aspd validate: {why.reason}"}
        row["aspd"] = {**about, **told}
    return row
