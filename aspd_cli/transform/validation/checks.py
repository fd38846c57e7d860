"""What is wrong with training data: one line of a file to its findings (`aspd validate`).

A line is read, parsed, and checked against budgets of branches and titles (`Checker`). Its tokens
must be what training and decoding take them for (`layout_faults`), and its plain text that of the
raw answer it was made of, where there is one to compare with (`open_originals`).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aspd_cli.core.codec import Codec
from aspd_cli.core.forms import title_key
from aspd_cli.core.layout import lay_out, tokenize
from aspd_cli.core.markup import Block, Document, plain
from aspd_cli.core.metrics import measure
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError, MarkupError
from aspd_cli.files import check_id, content_digest, json_line
from aspd_cli.transform.blocks import MAX_TITLE_SHARE, title_cost, too_many_branches
from aspd_cli.transform.io.formats import read_example
from aspd_cli.transform.io.readers import Raw
from aspd_cli.transform.io.records import Record, read_records
from aspd_cli.transform.rules.cross_references import cross_reference, within_reach
from aspd_cli.transform.token_counts import EstimatingCodec


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


class Originals:
    """Digests of the answers of a file by the ids that `aspd transform` gives its records.

    Raises:
        DataError: the file cannot be read, or is in no dialect that is known.
    """

    def __init__(self, path: Path, dialect: str) -> None:
        self._digests: dict[str, bytes] = {}
        for record in read_records(path, dialect):
            if isinstance(record, Record):
                key, digest = _key(record.id), content_digest(record.example.answer)
                self._digests[key] = self._digests.get(key, b"") + digest

    def differs(self, row: dict[str, Any], text: str) -> str | None:
        """What is wrong with the plain text of a row; None when it is its raw answer's.

        Where several raw answers share an id, it may be that of any.
        """
        if "id" not in row:
            return "the record has no id, so its source answer cannot be found"
        known = self._digests.get(_key(row["id"]))
        if known is None:
            return f"there is no source answer with the id {row['id']!r}"
        wanted = content_digest(text)
        size = len(wanted)
        if any(known[at : at + size] == wanted for at in range(0, len(known), size)):
            return None
        return "the plain text differs from the source answer"


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
        if reason := too_many_branches(document):
            return Checked(raw.line, document, (Finding(raw.line, "budget", reason),))
        tokens = measure(document, self.codec).tokens
        found = list(self._document(raw.line, document, prompt))
        if tokens > self.max_tokens:
            reason = f"{tokens} tokens, more than {self.max_tokens}"
            found.append(Finding(raw.line, "length", reason))
        found += [Finding(raw.line, "layout", why) for why in layout_faults(document, self.codec)]
        if self.originals and (why := self.originals.differs(raw.value, plain(document))):
            found.append(Finding(raw.line, "raw", why))
        digest = content_digest(prompt, markup)
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
                part = "".join(part.texts)
            given = within_reach(given + part)

    def _block(self, line: int, block: Block, given: str, depth: int) -> Iterator[Finding]:
        most = self.budgets
        if len(block.branches) > most.branches:
            reason = f"a block of {len(block.branches)} branches, more than {most.branches}"
            yield Finding(line, "budget", reason)
        if most.depth is not None and depth > most.depth:
            yield Finding(line, "budget", f"blocks are nested deeper than {most.depth}")
        branches = [(b.title, text) for b, text in zip(block.branches, block.texts, strict=True)]
        for title, content in branches:
            count = len(self.codec.encode(content))
            if not content.strip():
                yield Finding(line, "branch", f"the branch {title!r} is empty")
            elif count == 1:
                yield Finding(line, "branch", f"the branch {title!r} has one token")
        if block.misread:
            reason = f"the title {block.misread!r} looks like a label, but the block has no form"
            yield Finding(line, "title", reason)
        keys = [title_key(branch.title) for branch in block.branches]
        if twice := next((i for i, key in enumerate(keys) if key in keys[:i]), 0):
            again = block.branches[twice].title
            yield Finding(line, "title", f"the title {again!r} repeats an earlier one of its block")
        lengths = [len(self.codec.encode(title)) for title in block.titles]
        for length, title in zip(lengths, block.titles, strict=True):
            if length > most.title_tokens:
                reason = f"the title {title!r} has {length} tokens, more than {most.title_tokens}"
                yield Finding(line, "budget", reason)
        titles, contents = title_cost(block, self.codec)
        if titles > MAX_TITLE_SHARE * contents:
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
        raise DataError("no `prompt` and `completion`: create training data with `aspd transform`")
    completion = value["completion"]
    last = completion[-1] if isinstance(completion, list) and completion else completion
    markup = last.get("content") if isinstance(last, Mapping) else last
    if not isinstance(markup, str):
        raise DataError("the completion is neither a string nor a list of messages")
    # The conversation is checked by the reader of all others; the answer may hold markup here.
    stand_in: Any = "answer" if markup.strip() else markup
    try:
        markup.encode()
    except UnicodeEncodeError:
        raise DataError("the completion contains half of a surrogate pair") from None
    check_id(value.get("id"))
    turns = [{"role": "assistant", "content": stand_in}]
    example = read_example({**value, "completion": turns}, "prompt-completion")
    return "\n".join(turn["content"] for turn in example.prompt), markup


def as_json(checked: Checked) -> str:
    """The findings of a record, one JSON object a line."""
    keys = ("line", "kind", "reason", "offset")
    return "".join(
        json_line({key: getattr(finding, key) for key in keys}).decode()
        for finding in checked.findings
    )


def layout_faults(document: Document, codec: Codec) -> Iterator[str]:
    """What is wrong with the layout of a document, one sentence each.

    Tokens of the plain text must give it back; none of them may be a control token; positions grow
    along every path; no branch sees its neighbours. Without a tokenizer the first two are left out.
    """
    layout = lay_out(tokenize(document, codec), codec)
    lanes, positions = layout.lanes, layout.position_ids
    by_lane = np.argsort(lanes, kind="stable")
    stays = np.diff(lanes[by_lane]) == 0
    back = np.flatnonzero(stays & (np.diff(positions[by_lane]) <= 0))
    for lane in np.unique(lanes[by_lane[back]]):
        yield f"positions do not increase along lane {lane}"
    for block in _siblings(document):
        if layout.sees[np.ix_(block, block)].sum() != len(block):
            yield "branches of a block see each other"
    if isinstance(codec, EstimatingCodec):
        return
    ids = layout.input_ids[layout.useful]
    if any(document.blocks()) and np.isin(ids, list(codec.control)).any():
        yield "the plain text is encoded with a control token"
    # Each run was encoded on its own and is a continuation of what stands before it.
    edges = np.flatnonzero(np.diff(lanes[layout.useful], prepend=-1))
    text = "".join(codec.decode(run.tolist()) for run in np.split(ids, edges[1:]))
    if text != (wanted := plain(document)):
        at = next((i for i, (a, b) in enumerate(zip(text, wanted, strict=False)) if a != b), -1)
        at = at if at >= 0 else min(len(text), len(wanted))
        yield f"the tokenizer changes the plain text, from character {at} on"


def _siblings(document: Document) -> Iterator[list[int]]:
    """The lanes of each block, numbered as they are forked: a block's before its nested ones."""
    taken = 0

    def walk(part: Document) -> Iterator[list[int]]:
        nonlocal taken
        for block in part.parts:
            if isinstance(block, str):
                continue
            lanes = list(range(taken + 1, taken + 1 + len(block.branches)))
            taken += len(lanes)
            yield lanes
            for branch in block.branches:
                yield from walk(branch.content)

    return walk(document)


def _key(name: Any) -> str:
    return json.dumps(name, ensure_ascii=False, sort_keys=True)


def open_originals(path: Path | None, dialect: str) -> Originals | None:
    """The raw answers of `path`; None without one.

    Raises:
        DataError: as `Originals`; the sentence names the file.
    """
    if path is None:
        return None
    try:
        return Originals(path, dialect)
    except DataError as error:
        raise DataError(f"--against: {error}") from None
