"""Answers that others have marked up, in the notations of their releases, as documents of ours.

Multiverse, ThreadWeaver, Parallel-R1, NPR and ParaThinker write tags: a plan or none, paths, and
what is concluded from them. The release of ASPD writes the control tokens of ours, and shows
`T: ` to the reader; APAR writes a main stream with marks at which others fork.

The plain text is what stands in paths, conclusions and around them: without tags, without the plan,
whose items become titles, and without the numbers that join a path to its plan. Where two parts
would run together a line break is put between them; where the release holds the text as it was
before (`raw_answer`, `reassembled_response`), blanks and line breaks are taken from there.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from aspd_cli.core.markup import CONTROL, SEPARATOR, Document, plain
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError, MarkupError
from aspd_cli.transform.io.paths import (
    MarkedFork,
    MarkedParts,
    MarkedPath,
    document_of,
    first_line,
    respaced,
    solid,
    texts_of,
)
from aspd_cli.transform.io.tags import NOTATIONS, TagReader
from aspd_cli.transform.rules.titles import title_of

OURS, RELEASE, APAR = "ASPD", "ASPD release", "APAR"
FORK, STREAM = "[SplitMask]", "[SplitSop]"
"""APAR's marks: another stream forks here, and begins here."""


class Marked(NamedTuple):
    """An answer that was marked up before."""

    document: Document
    notation: str


def read_marked(answer: str, *, ours: bool = False, original: object = None) -> Marked | None:
    """The document of an answer in somebody's notation; None for ordinary text.

    Args:
        ours: it was written by `aspd transform`: titles of blocks without a form are hidden.
        original: the text before it was marked up, where it is known.

    Raises:
        DataError: it begins in a notation and leaves it; gives character and reason.
    """
    known = original if isinstance(original, str) else None
    if CONTROL.search(answer):
        return _read_tokens(answer, ours, known)
    for name, tags in NOTATIONS.items():
        if tags.begin.search(answer):
            return Marked(
                document_of(TagReader(answer, name, tags).whole(), known, tidy=True), name
            )
    return None


def _read_tokens(answer: str, ours: bool, original: str | None) -> Marked:
    try:
        document = parse(answer)
    except MarkupError as error:
        raise DataError(f"the answer contains control tokens, but its {error}") from None
    if ours:
        return Marked(document, OURS)
    hidden = _parts_of(document, shown=False)
    if original is not None and solid("".join(text for text, _ in texts_of(hidden))) == solid(
        original
    ):
        return Marked(document_of(hidden, original), RELEASE)
    return Marked(document_of(_parts_of(document, shown=True), original), RELEASE)


def _parts_of(document: Document, *, shown: bool) -> MarkedParts:
    """A document of control tokens as parts; leads are text again, and `T: ` is where shown."""
    parts: MarkedParts = []
    for part in document.parts:
        if isinstance(part, str):
            parts.append(part)
            continue
        fork = MarkedFork()
        for lead, branch in zip(part.leads, part.branches, strict=True):
            label = lead or (branch.title + SEPARATOR if shown else "")
            inner = _parts_of(branch.content, shown=shown)
            fork.paths.append(MarkedPath(branch.title, [label, *inner]))
        parts.append(fork)
    return parts


def read_streams(turn: Mapping[str, Any]) -> tuple[str, Document | None]:
    """The plain text of an answer of APAR, and its document; None where nothing forks.

    The response is the main stream: stream k forks at its k-th mark, and goes on with the line
    that the mark ends, as the text of an item goes on after its label.

    Raises:
        DataError: marks and streams do not fit together.
    """
    response, streams = turn.get("response"), turn.get("streams") or []
    whole = turn.get("reassembled_response")
    if not isinstance(response, str) or not isinstance(streams, list):
        raise DataError("a turn of `dialog` needs a `response`, and `streams` as a list")
    if not all(isinstance(stream, str) and FORK not in stream for stream in streams):
        raise DataError(f"a stream is no text, or holds {FORK} itself")
    main = response.split(FORK)
    if len(main) != len(streams) + 1:
        raise DataError(f"{len(main) - 1} marks {FORK} for {len(streams)} streams")
    pieces = [main[0]]
    for stream, text in zip(streams, main[1:], strict=True):
        pieces += [stream.removeprefix(STREAM), text]
    if isinstance(whole, str):
        spaced = respaced(pieces, whole)
        if spaced is None:
            raise DataError("the streams do not give `reassembled_response`")
        pieces = spaced
    if not streams:
        return pieces[0], None
    document = document_of(list(_runs(pieces)), None)
    return plain(document), document


def _runs(pieces: list[str]) -> Iterator[str | MarkedFork]:
    """Main stream and other streams in turn: forks with nothing but a label between are one."""
    fork = MarkedFork()
    for at in range(0, len(pieces) - 1, 2):
        text, stream = pieces[at], pieces[at + 1]
        cut = max(text.rfind("\n"), text.rfind("\r")) + 1
        between, label = text[:cut], text[cut:]
        if fork.paths and between.strip():
            yield from _whole(fork)
            fork = MarkedFork()
        if fork.paths:
            fork.paths[-1].parts.append(between)
        else:
            yield between
        named = title_of(first_line(label)) if label.strip() else None
        fork.paths.append(MarkedPath(named, [label + stream]))
    yield from _whole(fork)
    yield pieces[-1]


def _whole(fork: MarkedFork) -> MarkedParts:
    return [fork] if len(fork.paths) > 1 else fork.paths[0].parts
