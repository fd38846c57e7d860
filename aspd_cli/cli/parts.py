"""Answers of several processes: each writes a file of its own, and the first puts them together."""

from collections.abc import Sequence
from pathlib import Path

from aspd_cli.cli.records import Answers, Record


def part_of(out: Path, process: int) -> Path:
    """Where a process writes; the first one writes the answers file itself."""
    return out if process == 0 else out.with_name(f"{out.name}.part{process}")


def collect(answers: Answers, records: list[Record]) -> None:
    """Takes over what other processes have written, in this run or in one that was killed."""
    out = answers.path
    for path in sorted(out.parent.glob(f"{out.name}.part*")):
        found = Answers(path)
        found.load(records)
        for answer in found.done.values():
            answers.append(answer)
        path.unlink()


def share(records: Sequence[Record], process: int, processes: int) -> list[Record]:
    """The records of one process. Equal prompts stay together: they draw one after another."""
    digests = list(dict.fromkeys(record.digest for record in records))
    mine = set(digests[process::processes])
    return [record for record in records if record.digest in mine]
