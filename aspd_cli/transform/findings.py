"""What is wrong with training data: one line of a file to its findings (`aspd validate`)."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aspd_cli.core.markup import Block, Document, parse, plain
from aspd_cli.core.tokens import Codec
from aspd_cli.errors import DataError, MarkupError
from aspd_cli.transform.counting import measure
from aspd_cli.transform.dependence import cross_reference
from aspd_cli.transform.dialects import read_example
from aspd_cli.transform.laying import layout_faults
from aspd_cli.transform.originals import Originals
from aspd_cli.transform.readers import Raw

MAX_TITLE_SHARE = 0.5
"""Titles may have at most this share of the tokens of the branches that they announce."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one record."""

    line: int
    kind: str
    """record, grammar, branch, title, reference, budget, length, layout, raw, duplicate, judge."""
    reason: str
    offset: int | None = None
    """Character of the completion at which it is, where there is one place."""

    def __str__(self) -> str:
        place = f"{self.line}" if self.offset is None else f"{self.line}, character {self.offset}"
        return f"line {place}: {self.kind}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Checked:
    """One record, and what is wrong with it."""

    line: int
    document: Document | None
    """None when the completion is not in the grammar, or there is none."""
    findings: tuple[Finding, ...]
    tokens: int = 0
    prompt: str = ""
    """The contents of the turns before the completion."""


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a decoder would cut: documents beyond it teach what is never decoded."""

    branches: int = 16
    """Most branches of a block."""
    title_tokens: int = 32
    """Most tokens of a title."""
    depth: int | None = None
    """How deep blocks may nest; None: without limit."""


class Checker:
    """Checks record after record; remembers a digest of each, to find those that come twice."""

    def __init__(
        self,
        codec: Codec,
        max_tokens: int,
        *,
        budgets: Budgets | None = None,
        originals: Originals | None = None,
    ) -> None:
        self.codec = codec
        self.max_tokens = max_tokens
        self.budgets = budgets or Budgets()
        self.originals = originals
        self._seen: dict[bytes, int] = {}

    def check(self, raw: Raw) -> Checked:
        """Everything that is wrong with one value of a file."""
        try:
            prompt, markup = _read(raw)
            document = parse(markup)
        except DataError as error:
            return Checked(raw.line, None, (Finding(raw.line, "record", str(error)),))
        except MarkupError as error:
            finding = Finding(raw.line, "grammar", error.reason, error.offset)
            return Checked(raw.line, None, (finding,))
        tokens = measure(document, self.codec).tokens
        found = list(self._document(raw.line, document, prompt))
        if tokens > self.max_tokens:
            reason = f"{tokens} tokens, more than {self.max_tokens}"
            found.append(Finding(raw.line, "length", reason))
        found += [Finding(raw.line, "layout", why) for why in layout_faults(document, self.codec)]
        if self.originals and (why := self.originals.differs(raw.value, plain(document))):
            found.append(Finding(raw.line, "raw", why))
        digest = hashlib.blake2b(f"{prompt}\0{markup}".encode(), digest_size=16).digest()
        if (first := self._seen.setdefault(digest, raw.line)) != raw.line:
            found.append(Finding(raw.line, "duplicate", f"the same as line {first}"))
        return Checked(raw.line, document, tuple(found), tokens, prompt)

    def _document(
        self, line: int, document: Document, given: str, depth: int = 1
    ) -> Iterator[Finding]:
        """What is wrong with the blocks of a document. `given`: what is visible before it."""
        for part in document.parts:
            if isinstance(part, Block):
                yield from self._block(line, part, given, depth)
                given += "".join(plain(branch.content) for branch in part.branches)
            else:
                given += part

    def _block(self, line: int, block: Block, given: str, depth: int) -> Iterator[Finding]:
        most = self.budgets
        if len(block.branches) > most.branches:
            reason = f"a block of {len(block.branches)} branches, more than {most.branches}"
            yield Finding(line, "budget", reason)
        if most.depth is not None and depth > most.depth:
            yield Finding(line, "budget", f"blocks are nested deeper than {most.depth}")
        branches = [(branch.title, plain(branch.content)) for branch in block.branches]
        for title, content in branches:
            count = len(self.codec.encode(content))
            if not content.strip():
                yield Finding(line, "branch", f"the branch {title!r} is empty")
            elif count == 1:
                yield Finding(line, "branch", f"the branch {title!r} has one token")
        lengths = [len(self.codec.encode(title)) for title, _ in branches]
        for length, (title, _) in zip(lengths, branches, strict=True):
            if length > most.title_tokens:
                reason = f"the title {title!r} has {length} tokens, more than {most.title_tokens}"
                yield Finding(line, "budget", reason)
        titles = sum(lengths)
        contents = sum(len(self.codec.encode(content)) for _, content in branches)
        if contents and titles > MAX_TITLE_SHARE * contents:
            reason = f"{titles} tokens of titles announce {contents} tokens of branches"
            yield Finding(line, "title", reason)
        if reference := cross_reference(branches, given):
            title = branches[reference.branch][0]
            yield Finding(line, "reference", f"the branch {title!r} {reference.reason}")
        for branch in block.branches:
            yield from self._document(line, branch.content, given, depth + 1)


def _read(raw: Raw) -> tuple[str, str]:
    """The contents of the prompt as one text, and the markup of the completion."""
    if raw.problem is not None:
        raise DataError(raw.problem)
    value = raw.value
    if not isinstance(value, Mapping) or not {"prompt", "completion"} <= value.keys():
        raise DataError("no `prompt` and `completion`: make training data with `aspd transform`")
    completion = value["completion"]
    last = completion[-1] if isinstance(completion, list) and completion else completion
    markup = last.get("content") if isinstance(last, Mapping) else last
    if not isinstance(markup, str):
        raise DataError("the completion is neither a text nor a list of messages")
    # The conversation is checked by the reader of all others; the answer may hold markup here.
    stand_in: Any = "answer" if markup.strip() else markup
    turns = [{"role": "assistant", "content": stand_in}]
    example = read_example({**value, "completion": turns}, "prompt-completion")
    return "\n".join(turn["content"] for turn in example.prompt), markup


def as_json(checked: Checked) -> str:
    """The findings of a record, one JSON object a line."""
    keys = ("line", "kind", "reason", "offset")
    return "".join(
        json.dumps({key: getattr(finding, key) for key in keys}, ensure_ascii=False) + "\n"
        for finding in checked.findings
    )
