"""What independence costs, without a judge: the loss on the content of given documents.

A document is scored as it is decoded in parallel, where no branch sees another, and as the plain
text that its reader sees, where everything before is seen. Compared is the same text: the tokens
that stand in both layouts and that the model predicts in both. Titles, markup and the end of turn
are in one only, leads are forced in one, and at a seam the two may cut a word into other tokens.

Shapes: D documents.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aspd_cli.core.chat import encode_prompt
from aspd_cli.core.codec import Codec, StreamDecoder
from aspd_cli.core.layout import Layout, Positions, lay_out, tokenize
from aspd_cli.core.markup import plain
from aspd_cli.core.metrics import Array, ratio
from aspd_cli.core.visibility import MAIN
from aspd_cli.errors import DataError, UsageError
from aspd_cli.evaluate.figures import ALL, Score
from aspd_cli.evaluate.processes import Processes
from aspd_cli.evaluate.replay import Replayed, left_out, read_documents
from aspd_cli.evaluate.requests import serial_document
from aspd_cli.evaluate.systems import MODES, STOCK, Engine, is_url

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder

TASK = "documents"
LOSS, RATIO = "content_loss", "content_loss_ratio"
"""Nats a content token; and the same over that of the baseline, document by document."""
BRANCHES, SERIAL = "branches", "serial text"
_PARTS = (BRANCHES, SERIAL)


@dataclass(frozen=True, slots=True)
class Common:
    """A document in both layouts, and the content tokens that these have in common."""

    line: int
    parallel: Layout
    plain: Layout
    in_parallel: NDArray[np.int64]
    """Indices of the common tokens."""
    in_plain: NDArray[np.int64]
    """The same tokens, in the same order."""

    @property
    def in_branches(self) -> NDArray[np.bool_]:
        """Which of them stand in a branch."""
        return self.parallel.lanes[self.in_parallel] != MAIN


@dataclass(frozen=True, slots=True)
class Losses:
    """What a run found, see `measure`."""

    scores: list[Score]
    documents: dict[str, Any]
    """JSON-ready: the sums that the scores are made of, by document."""
    notes: list[str]
    rejected: list[str]
    """Lines that hold no document, and why: one sentence each."""


def check(words: Sequence[tuple[str, str | None]]) -> None:
    """Refuses systems that no layout tells apart. `words`: (name, path or URL of its own model).

    Raises:
        UsageError: names what to leave out, or what is missing.
    """
    for name, path in words:
        if is_url(path):
            raise UsageError(f"--documents scores models of this machine; leave out {name}")
        if name in ("serial", STOCK):
            other = "parallel" if name == "serial" else "plain"
            raise UsageError(
                f"--documents: {name} has the loss of {other}, by construction; leave it out"
            )
    if not any(MODES.get(name) == "parallel" for name, _ in words):
        raise UsageError("--documents compares with the parallel layout; add parallel to --compare")


def measure(
    path: Path,
    runners: Sequence[Engine],
    baseline: str,
    processes: Processes,
    *,
    limit: int | None = None,
    max_length: int | None = None,
    expect: Callable[[int], None],
    advance: Callable[[int], None],
) -> Losses:
    """The loss of each system on the common tokens of the documents in a file.

    Args:
        path: what `aspd transform` wrote. Documents without a block are left out.
        baseline: the system that ratios are told against.
        limit: so many documents, evenly spaced.
        max_length: leaves longer documents out, prompt included.

    Raises:
        DataError: the file cannot be read, or holds no document with a block that fits.
        UsageError: the systems have different tokenizers.
    """
    decoder = next(runner.decoder for runner in runners if runner.system.mode == "parallel")
    _check_tokenizers(runners, decoder.codec)
    contexts = [runner.decoder.context for runner in runners]
    longest = min((n for n in (*contexts, max_length) if n is not None), default=None)
    fit, serial, too_long, rejected = _read(path, decoder, longest)
    if limit is not None and limit < len(fit):
        fit = [fit[at * len(fit) // limit] for at in range(limit)]
    mine = processes.share(fit)
    expect(len(mine) * len(runners))
    rows: list[dict[str, Any]] = []
    for document in mine:
        losses = {}
        for runner in runners:
            losses[runner.system.name] = _loss(runner, document)
            advance(1)
        inside = document.in_branches
        rows.append(
            {
                "line": document.line,
                "tokens": {BRANCHES: int(inside.sum()), SERIAL: int((~inside).sum())},
                "loss": {
                    name: {BRANCHES: float(each[inside].sum()), SERIAL: float(each[~inside].sum())}
                    for name, each in losses.items()
                },
            }
        )
    rows = processes.gather(rows)
    names = [runner.system.name for runner in runners]
    tokens = sum(sum(row["tokens"].values()) for row in rows)
    notes = [
        f"{LOSS}: nats a token on {tokens:,} tokens of the plain text that both layouts predict; "
        f"{RATIO}: over {baseline}"
    ]
    notes += left_out(path, serial, too_long)
    documents = {"file": str(path), "losses": rows}
    return Losses(_scores(rows, names, baseline), documents, notes, rejected)


def common(record: Replayed, codec: Codec, ends: Sequence[int], positions: Positions) -> Common:
    """A document in both layouts.

    Raises:
        ModelError: the tokenizer lacks a control token.
    """
    rest: dict[str, Any] = {
        "prompt_ids": encode_prompt(codec, record.prompt),
        "end_ids": list(ends[:1]),
        "positions": positions,
    }
    parallel = lay_out(tokenize(record.document, codec), codec, **rest)
    serial = lay_out(tokenize(serial_document(plain(record.document)), codec), codec, **rest)
    places = {place: at for place, at in _places(serial, codec) if serial.sampled[at]}
    pairs = [
        (at, places[place])
        for place, at in _places(parallel, codec)
        if parallel.sampled[at] and place in places
    ]
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Common(record.line, parallel, serial, first, second)


def _places(layout: Layout, codec: Codec) -> list[tuple[tuple[int, int, int], int]]:
    """((characters before and after a token of the plain text, its id), its index)."""
    stream, found, before = StreamDecoder(codec), [], 0
    for at in np.flatnonzero(layout.useful).tolist():
        token = int(layout.input_ids[at])
        after = before + len(stream.push(token))
        found.append(((before, after, token), at))
        before = after
    return found


def _read(
    path: Path, decoder: "Decoder", longest: int | None
) -> tuple[list[Common], int, int, list[str]]:
    """The documents with a block that fit, how many have none, how many do not fit; bad lines."""
    fit, serial, too_long = [], 0, 0
    documents, rejected = read_documents(path)
    for record in documents:
        if not any(True for _ in record.document.blocks()):
            serial += 1
            continue
        both = common(record, decoder.codec, decoder.ends, decoder.positions)
        if longest is not None and max(len(both.parallel), len(both.plain)) > longest:
            too_long += 1
            continue
        fit.append(both)
    if not fit:
        raise DataError(
            f"{path} contains no document with a block that fits: {serial} without a block, "
            f"{too_long} too long"
        )
    return fit, serial, too_long, rejected


def _check_tokenizers(runners: Sequence[Engine], codec: Codec) -> None:
    """Losses by token compare only what is cut into the same tokens."""
    vocabulary = codec.tokenizer.get_vocab()
    for runner in runners:
        if runner.decoder.codec.tokenizer.get_vocab() != vocabulary:
            raise UsageError(
                f"{runner.system.name} has another tokenizer, so its loss by token cannot be "
                "compared; leave it out"
            )


def _loss(runner: Engine, document: Common) -> Array:
    """Nats of each common token, in the layout in which the system decodes."""
    from aspd_cli.engine.scoring import score

    parallel = runner.system.mode == "parallel"
    layout = document.parallel if parallel else document.plain
    scores = score(runner.decoder, layout)
    chosen = document.in_parallel if parallel else document.in_plain
    return -np.array([scores[at].logprob for at in chosen], dtype=float)


def _scores(rows: Sequence[Any], names: Sequence[str], baseline: str) -> list[Score]:
    """Losses, then ratios: of everything, and of each part."""

    def columns(found: Sequence[Any]) -> dict[str, Array]:
        each = {part: np.array([sums[part] for sums in found], dtype=float) for part in _PARTS}
        return {ALL: each[BRANCHES] + each[SERIAL], **each}

    tokens = columns([row["tokens"] for row in rows])
    lost = {name: columns([row["loss"][name] for row in rows]) for name in names}
    return [
        Score(name, task, part, metric, len(rows), ratio(lost[name][part], below[part]))
        for task, metric, below in (
            (TASK, LOSS, tokens),
            (f"{TASK}, over {baseline}", RATIO, lost[baseline]),
        )
        for part in below
        for name in names
    ]
