"""What is wrong with training data: one line of a file to its findings.

A line is read, parsed, and checked against budgets of branches and titles (`Checker`). Its tokens
must be what training and decoding take them for (`layout_faults`), and its plain text that of the
source answer it was made of, where there is one to compare with.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from aspd_cli.core.codec import Codec
from aspd_cli.core.forms import title_key
from aspd_cli.core.layout import lay_out, tokenize
from aspd_cli.core.markup import CONTROL_TOKENS, Block, Document, plain
from aspd_cli.core.metrics import measure
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError, MarkupError
from aspd_cli.files import check_id, content_digest
from aspd_cli.transform.blocks import (
    DECODED,
    MAX_TITLE_SHARE,
    Budgets,
    title_cost,
    too_many_branches,
)
from aspd_cli.transform.io.formats import read_example
from aspd_cli.transform.io.readers import Raw
from aspd_cli.transform.rules.cross_references import cross_reference, within_reach
from aspd_cli.transform.token_counts import EstimatingCodec
from aspd_cli.transform.validation.findings import Checked, Finding, around
from aspd_cli.transform.validation.originals import Originals


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
        self.budgets = budgets or DECODED
        self.originals = originals
        self._seen: dict[bytes, int] = {}

    def check(self, raw: Raw) -> Checked:
        """Everything that is wrong with one value of a file."""
        try:
            prompt, markup = _read(raw)
        except DataError as error:
            return Checked(raw, None, (Finding(raw.line, "record", str(error)),))
        try:
            document = parse(markup)
        except MarkupError as error:
            near = around(markup, error.offset)
            finding = Finding(raw.line, "grammar", error.reason, error.offset, excerpt=near)
            return Checked(raw, None, (finding, *suspicious(raw.line, markup)))
        checked = Checked(raw, document, (), 0, prompt)
        if (wide := self._too_wide(raw.line, document)) is None:
            checked = replace(checked, tokens=measure(document, self.codec).tokens)
        found = [wide] if wide else list(self.of_document(checked, document))
        found += suspicious(raw.line, markup)
        if self.originals:
            why = self.originals.compare(raw.value, raw.line, plain(document))
            found += [why] if why else []
        # Where the source is known, what it has twice comes twice, and what it has not is doubled.
        digest = content_digest(prompt, markup)
        first = self._seen.setdefault(digest, raw.line)
        if first != raw.line and self.originals is None:
            near = around(plain(document), 0)
            found.append(Finding(raw.line, "duplicate", f"the same as line {first}", excerpt=near))
        return replace(checked, findings=tuple(found))

    def of_document(self, checked: Checked, document: Document) -> Iterator[Finding]:
        """What is wrong with a document in the place of that of a record."""
        line = checked.line
        if wide := self._too_wide(line, document):
            yield wide
            return
        yield from self._blocks(checked, document, checked.prompt)
        text = plain(document)
        if any(document.blocks()) and (count := len(self.codec.encode(text))) > self.max_tokens:
            yield Finding(line, "length", f"{count} tokens, more than {self.max_tokens}")
        for why, at in layout_faults(document, self.codec):
            yield Finding(line, "layout", why, excerpt=None if at is None else around(text, at))

    def _too_wide(self, line: int, document: Document) -> Finding | None:
        reason = too_many_branches(document)
        return Finding(line, "budget", reason) if reason else None

    def _blocks(
        self, checked: Checked, document: Document, given: str, path: tuple[str, ...] = ()
    ) -> Iterator[Finding]:
        """What is wrong with the blocks of a document. `given`: what is visible before it."""
        for part in document.parts:
            if isinstance(part, Block):
                for found in self._block(checked, part, given, path):
                    yield found if found.block else replace(found, block=part)
                part = "".join(part.texts)
            given = within_reach(given + part)

    def _block(
        self, checked: Checked, block: Block, given: str, path: tuple[str, ...]
    ) -> Iterator[Finding]:
        line, most = checked.line, self.budgets
        texts = block.texts

        def at(place: int, kind: str, reason: str, near: str | None = None) -> Finding:
            branch = " > ".join((*path, block.branches[place].title))
            near = around(texts[place], 0) if near is None else near
            return Finding(line, kind, reason, branch=branch, excerpt=near)

        for place, reason in most.exceeded(block, self.codec):
            yield at(place, "budget", reason)
        if most.depth is not None and len(path) >= most.depth:
            yield at(0, "budget", f"blocks are nested deeper than {most.depth}")
        for place, text in enumerate(texts):
            if not text.strip():
                yield at(place, "branch", "the branch is empty")
            elif len(self.codec.encode(text)) == 1:
                yield at(place, "branch", "the branch has one token")
        if block.misread:
            yield at(0, "title", "the title looks like a label, but the block has no form")
        keys = [title_key(branch.title) for branch in block.branches]
        if twice := next((i for i, key in enumerate(keys) if key in keys[:i]), 0):
            yield at(twice, "title", "the title repeats an earlier one of its block")
        titles, contents = title_cost(block, self.codec)
        if titles > MAX_TITLE_SHARE * contents:
            reason = f"{titles} tokens of titles announce {contents} tokens of branches"
            yield at(0, "title", reason)
        branches = [(b.title, text) for b, text in zip(block.branches, texts, strict=True)]
        if not checked.decided and (reference := cross_reference(branches, given)):
            near = _quoted(reference.reason, texts[reference.branch])
            yield at(reference.branch, "reference", f"the branch {reference.reason}", near)
        for branch in block.branches:
            yield from self._blocks(checked, branch.content, given, (*path, branch.title))


_QUOTE = re.compile(r"'(.+)'|\"(.+)\"|(\S+)$")


def _quoted(reason: str, text: str) -> str:
    """The place in a text that a reason quotes; its beginning where there is none."""
    found = _QUOTE.search(reason)
    words = next(filter(None, found.groups()), "").split() if found else []
    place = re.search(r"\s+".join(map(re.escape, words)), text, re.IGNORECASE) if words else None
    return around(text, place.start(), len(place[0])) if place else around(text, 0)


_ALMOST = re.compile(r"<\s?[|｜]?\s?/?\s?(?:title|branch|para)\s?/?\s?[|｜]?\s?>", re.IGNORECASE)
_CODE = re.compile(
    r"(`{3,}|~{3,})[\s\S]*?(?:\1|\Z)|`[^`\n]*`|<!?(?:html|head|doctype|svg)\b[\s\S]*"
)
"""Where `<title>` means what it says: in code and in HTML."""


def suspicious(line: int, markup: str) -> Iterator[Finding]:
    """What is text, but looks as if it should have been a control token."""
    found = [each for each in _ALMOST.finditer(markup) if each[0] not in CONTROL_TOKENS]
    if not found:
        return
    code = [each.span() for each in _CODE.finditer(markup)]
    found = [each for each in found if not any(a <= each.start() < b for a, b in code)]
    if not found:
        return
    often = f", as do {len(found) - 1} more" if len(found) > 1 else ""
    first = found[0]
    reason = f"{first[0]!r} looks like a control token, but is text{often}"
    near = around(markup, first.start(), len(first[0]))
    yield Finding(line, "suspicious", reason, first.start(), excerpt=near)


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


def layout_faults(document: Document, codec: Codec) -> Iterator[tuple[str, int | None]]:
    """What is wrong with the layout of a document, one sentence each, and at which character.

    Tokens of the plain text must give it back; none of them may be a control token; positions grow
    along every path; no branch sees its neighbours. Without a tokenizer the first two are left out.
    """
    layout = lay_out(tokenize(document, codec), codec)
    lanes, positions = layout.lanes, layout.position_ids
    by_lane = np.argsort(lanes, kind="stable")
    stays = np.diff(lanes[by_lane]) == 0
    back = np.flatnonzero(stays & (np.diff(positions[by_lane]) <= 0))
    for lane in np.unique(lanes[by_lane[back]]):
        yield f"positions do not increase along lane {lane}", None
    for block in _siblings(document):
        if layout.sees[np.ix_(block, block)].sum() != len(block):
            yield "branches of a block see each other", None
    if isinstance(codec, EstimatingCodec):
        return
    ids = layout.input_ids[layout.useful]
    if any(document.blocks()) and np.isin(ids, list(codec.control)).any():
        yield "the plain text is encoded with a control token", None
    # Each run was encoded on its own and is a continuation of what stands before it.
    edges = np.flatnonzero(np.diff(lanes[layout.useful], prepend=-1))
    text = "".join(codec.decode(run.tolist()) for run in np.split(ids, edges[1:]))
    if text != (wanted := plain(document)):
        at = next((i for i, (a, b) in enumerate(zip(text, wanted, strict=False)) if a != b), -1)
        at = at if at >= 0 else min(len(text), len(wanted))
        yield f"the tokenizer changes the plain text, from character {at} on", at


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
