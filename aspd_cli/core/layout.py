"""Layout: what a document is as tokens. One rule, used by the collator and by the engine.

A document is first encoded piece by piece into a tree of token ids (`tokenize`), because an engine
can only append pieces; then the tree is laid out flat (`lay_out`): ids, positions, lanes and which
tokens are sampled. The engine builds the same tree from what it decoded, so that one function says
for both what the model saw. Paper section 3.2.

Shapes: T tokens, L lanes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aspd_cli.core.codec import Codec, ControlIds
from aspd_cli.core.forms import Form
from aspd_cli.core.markup import Block, Document
from aspd_cli.core.visibility import MAIN, LaneTree, visible

Positions = Literal["same-seq", "same-max"]
"""How positions go on after a block: branches one after another, or after the longest."""

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TokenBranch:
    """One branch as token ids."""

    title: Ids
    """As it was announced."""
    lead: Ids
    """What is forced between `<|branch|>` and the content."""
    content: "TokenTree"
    ending: str = ""
    """What closes the text of a branch that a budget cut; never decoded, so it has no tokens."""


@dataclass(frozen=True, slots=True)
class TokenBlock:
    """One fork as token ids. A decoder may have announced a title twice: it forks once."""

    titles: tuple[Ids, ...]
    branches: tuple[TokenBranch, ...]
    form: Form | None = None
    """None: leads are hidden from the reader."""


TokenTree = tuple["Ids | TokenBlock", ...]
"""A document as token ids: runs of text ids and blocks."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A document, and the prompt before it, in flat document order. All arrays have T entries."""

    input_ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    lanes: NDArray[np.int64]
    """Lane of each token: 0 for prompt and serial text, then one per branch in order of forking."""
    sampled: NDArray[np.bool_]
    """True where the model chooses the token; False in the prompt and for forced tokens."""
    useful: NDArray[np.bool_]
    """True where the token belongs to the plain text."""
    sees: NDArray[np.bool_]
    """(L, L) which lanes see each other."""

    def __len__(self) -> int:
        return len(self.input_ids)

    def visibility(self) -> NDArray[np.bool_]:
        """(T, T) bool: row i says which tokens token i sees."""
        return visible(self.lanes, self.sees)

    def labels(self, ignore: int = -100) -> NDArray[np.int64]:
        """(T,) the ids where they are sampled and `ignore` elsewhere, not yet shifted."""
        return np.where(self.sampled, self.input_ids, ignore)


def tokenize(document: Document, codec: Codec) -> TokenTree:
    """Each text, title, lead and content encoded on its own: the pieces an engine appends."""
    tree: list[Ids | TokenBlock] = []
    for part in document.parts:
        if isinstance(part, Block):
            titles = tuple(tuple(codec.encode(title)) for title in part.titles)
            leads = leads_of(part.form, [b.title for b in part.branches], titles, codec)
            contents = [tokenize(branch.content, codec) for branch in part.branches]
            branches = tuple(map(TokenBranch, titles, leads, contents))
            tree.append(TokenBlock(titles, branches, part.form))
        else:
            tree.append(tuple(codec.encode(part)))
    return tuple(tree)


def leads_of(
    form: Form | None, titles: Sequence[str], ids: Sequence[Ids], codec: Codec
) -> list[Ids]:
    """The lead of each branch: the form filled in, as one piece; without a form title and `": "`.

    Args:
        titles: of the branches, the first without its form.
        ids: the same titles as they were announced.
    """
    if form is None:
        return [(*title, *codec.separator) for title in ids]
    return [tuple(codec.encode(form.lead(place, title))) for place, title in enumerate(titles)]


def branch_prefix(lead: Sequence[int], control: ControlIds) -> list[int]:
    """The forced tokens at the start of a branch."""
    return [control.branch, *lead]


def position_after(start: int, extents: Iterable[int], positions: Positions) -> int:
    """The position of `<|/para|>`. `extents`: positions each branch takes from `start` on."""
    return start + (sum(extents) if positions == "same-seq" else max(extents, default=0))


def lay_out(
    tree: TokenTree,
    codec: Codec,
    *,
    prompt_ids: Sequence[int] = (),
    end_ids: Sequence[int] = (),
    positions: Positions = "same-seq",
) -> Layout:
    """The flat layout of a token tree.

    Args:
        prompt_ids: tokens before the answer, positions from 0; not sampled.
        end_ids: the end of turn after the answer; sampled.
    """
    writer = _Writer(codec, positions)
    at = writer.write(MAIN, 0, prompt_ids, sampled=False)
    at = writer.tree(MAIN, at, tree)
    writer.write(MAIN, at, end_ids, sampled=True)
    return writer.layout()


def layout(document: Document, tokenizer: object, positions: Positions = "same-seq") -> Layout:
    """The layout of an answer alone: `input_ids`, `position_ids`, `visibility()`, `sampled`.

    Args:
        tokenizer: a Hugging Face tokenizer that holds the six control tokens.

    Raises:
        ModelError: the document has a block and the tokenizer lacks a control token.
    """
    codec = Codec(tokenizer)
    return lay_out(tokenize(document, codec), codec, positions=positions)


class _Writer:
    """Appends runs of tokens; one run is one numpy slice, so no Python loop sees a token."""

    def __init__(self, codec: Codec, positions: Positions) -> None:
        self.codec, self.positions = codec, positions
        self.lanes = LaneTree()
        self.ids: list[int] = []
        self.runs: list[
            tuple[int, int, int, bool, bool]
        ] = []  # length, lane, start, sampled, useful

    def write(
        self, lane: int, at: int, ids: Sequence[int], *, sampled: bool, useful: bool = False
    ) -> int:
        """Writes one run and gives the position after it."""
        if ids:
            self.ids.extend(ids)
            self.runs.append((len(ids), lane, at, sampled, useful))
        return at + len(ids)

    def tree(self, lane: int, at: int, tree: TokenTree) -> int:
        for part in tree:
            if isinstance(part, TokenBlock):
                at = self.block(lane, at, part)
            else:
                at = self.write(lane, at, part, sampled=True, useful=True)
        return at

    def block(self, lane: int, at: int, block: TokenBlock) -> int:
        control = self.codec.control
        for title in block.titles:
            at = self.write(lane, at, [control.title, *title, control.title_end], sampled=True)
        start = self.write(lane, at, [control.para], sampled=True)
        extents = []
        for child, branch in zip(
            self.lanes.fork(lane, len(block.branches)), block.branches, strict=True
        ):
            shown = block.form is not None
            at = self.write(child, start, [control.branch], sampled=False)
            at = self.write(child, at, branch.lead, sampled=False, useful=shown)
            at = self.tree(child, at, branch.content)
            at = self.write(child, at, [control.branch_end], sampled=True)
            extents.append(at - start)
        at = position_after(start, extents, self.positions)
        return self.write(lane, at, [control.para_end], sampled=False)

    def layout(self) -> Layout:
        runs = np.array(self.runs, dtype=np.int64).reshape(-1, 5)
        lengths = runs[:, 0]
        before = np.cumsum(lengths) - lengths  # index of each run's first token
        start, offset = np.repeat(runs[:, 2], lengths), np.repeat(before, lengths)
        return Layout(
            input_ids=np.array(self.ids, dtype=np.int64),
            position_ids=start + np.arange(len(self.ids)) - offset,
            lanes=np.repeat(runs[:, 1], lengths),
            sampled=np.repeat(runs[:, 3], lengths).astype(bool),
            useful=np.repeat(runs[:, 4], lengths).astype(bool),
            sees=self.lanes.sees.copy(),
        )
