"""What is found in training data: one sentence with line, branch and excerpt."""

from dataclasses import dataclass, field
from typing import Any

from aspd_cli.core.markup import Block, Document
from aspd_cli.files import json_line
from aspd_cli.transform.io.readers import Raw

_AROUND = 24
"""Characters of an excerpt on either side of a place."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one record, or with all of them."""

    line: int | None
    """None where a record is missing."""
    kind: str
    """record, grammar, branch, title, reference, budget, length, layout, suspicious, raw, doubled,
    lost, order, duplicate, judge."""
    reason: str
    offset: int | None = None
    """Character of the completion at which it is, where there is one place."""
    branch: str | None = None
    """Titles of the branch in which it is, from the outermost one on."""
    excerpt: str | None = None
    """The text at that place, on one line."""
    block: Block | None = field(default=None, repr=False, compare=False)
    """The block without which it would not be."""

    def __str__(self) -> str:
        place = "source" if self.line is None else f"line {self.line}"
        if self.offset is not None:
            place += f", character {self.offset}"
        if self.branch is not None:
            place += f", branch {self.branch!r}"
        near = f' | "{self.excerpt}"' if self.excerpt else ""
        return f"{place}: {self.kind}: {self.reason}{near}"

    def as_json(self) -> str:
        """The finding as a line."""
        keys = ("line", "kind", "reason", "offset", "branch", "excerpt")
        return json_line({key: getattr(self, key) for key in keys}).decode()


@dataclass(frozen=True, slots=True)
class Checked:
    """One record, and what is wrong with it."""

    raw: Raw
    document: Document | None
    """None when the completion is not in the grammar, or there is none."""
    findings: tuple[Finding, ...]
    tokens: int = 0
    prompt: str = ""
    """The contents of the turns before the completion."""

    @property
    def line(self) -> int:
        return self.raw.line

    @property
    def decided(self) -> bool:
        """Whether a judge or the author of the paths found the branches independent."""
        value: Any = self.raw.value
        about = value.get("aspd") if isinstance(value, dict) else None
        names = ("votes", "notation")
        return isinstance(about, dict) and any(about.get(name) is not None for name in names)


def around(text: str, at: int, length: int = 0) -> str:
    """The text at a place, with what stands on either side of it, on one line."""
    start, end = max(0, at - _AROUND), at + length + _AROUND
    words = " ".join(text[start:end].split())
    return f"{'…' if start else ''}{words}{'…' if end < len(text) else ''}"
