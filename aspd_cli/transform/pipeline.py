"""One file of answers to one file of training data: every record out once, in order.

Everything is written beside the output first and put in its place at the end, so that a file that
bears the name of the output is whole. With rules nothing is paid for, so a run that was killed is
simply done again and ends with the same file.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from aspd_cli.core.markup import Document, render
from aspd_cli.core.metrics import Structure
from aspd_cli.core.tokens import Codec
from aspd_cli.errors import DataError
from aspd_cli.recipe_sections import TransformSection
from aspd_cli.transform.counting import measure
from aspd_cli.transform.records import Record, Rejected, read_records
from aspd_cli.transform.report import Report
from aspd_cli.transform.rules import NO_STRUCTURE, propose


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one answer."""

    document: Document
    structure: Structure
    stage: str
    """The last stage that the answer came to: length, structure, independence or parallel."""
    reason: str | None = None
    """Why it stays serial."""


def transform_file(
    source: Path,
    out: Path,
    transform: TransformSection,
    codec: Codec,
    *,
    limit: int | None = None,
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Writes `out`, and beside it `*.rejected.jsonl` and `*.report.json`.

    Args:
        limit: how many values of the source are read; all when None.
        progress: called after every record.

    Raises:
        DataError: a file cannot be read or written.
    """
    report = Report()
    rejects = out.with_suffix(".rejected.jsonl")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _whole(out) as answers, _whole(rejects) as rejected:
            for record in islice(read_records(source, transform.dialect), limit):
                if isinstance(record, Rejected):
                    report.reject(record)
                    _write(rejected, record.as_dict())
                else:
                    outcome = transform_record(record, transform, codec)
                    report.add(outcome.stage, outcome.reason, outcome.structure)
                    _write(answers, row(record, outcome))
                progress(report)
        if not report.rejected:
            rejects.unlink()
        with _whole(out.with_suffix(".report.json")) as file:
            _write(file, report.as_dict())
    except OSError as error:
        raise DataError(f"cannot write {error.filename or out}: {error.strerror}") from error
    return report


def transform_record(record: Record, transform: TransformSection, codec: Codec) -> Outcome:
    """The document of one answer, or why it stays serial."""
    answer = record.example.answer
    document = Document((answer,))
    tokens = len(codec.encode(answer))
    serial = Structure(tokens=tokens, useful_tokens=tokens)
    if tokens < transform.min_tokens:
        return Outcome(document, serial, "length", f"fewer than {transform.min_tokens} tokens")
    if tokens > transform.max_tokens:
        return Outcome(document, serial, "length", f"more than {transform.max_tokens} tokens")
    question = "\n".join(turn["content"] for turn in record.example.prompt)
    proposal = propose(answer, question, transform.max_branches)
    if any(proposal.document.blocks()):
        return Outcome(proposal.document, measure(proposal.document, codec), "parallel")
    stage = "structure" if proposal.refusals == (NO_STRUCTURE,) else "independence"
    return Outcome(document, serial, stage, "; ".join(proposal.refusals))


def row(record: Record, outcome: Outcome) -> dict[str, Any]:
    """One line of the output: TRL's conversational prompt-completion, and what was decided."""
    return {
        "id": record.id,
        "prompt": record.example.prompt,
        "completion": [{"role": "assistant", "content": render(outcome.document)}],
        "aspd": {
            "status": "parallel" if outcome.stage == "parallel" else "serial",
            "reason": outcome.reason,
            "votes": None,
            "stats": asdict(outcome.structure),
        },
    }


@contextmanager
def _whole(path: Path) -> Iterator[IO[str]]:
    """A file that appears under its name when it is finished, or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _write(file: IO[str], value: dict[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False) + "\n")
