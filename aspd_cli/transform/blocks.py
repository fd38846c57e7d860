"""Blocks of a document: made of branches, looked at with what they can see, and flattened."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import Block, Branch, Document, plain
from aspd_cli.recipe.sections import GenerationSection

MOST_BRANCHES = 4096
"""Branches of a whole document. Who sees whom is kept for each pair of them."""
MAX_TITLE_SHARE = 0.5
"""Titles may have at most this share of the tokens of the branches that they announce."""


@dataclass(frozen=True, slots=True)
class Budgets:
    """What decoding cuts: documents beyond it teach what is never decoded."""

    branches: int = 16
    """Most branches of a block."""
    title_tokens: int = 32
    """Most tokens of a title."""
    depth: int | None = None
    """How deep blocks may nest; None: without limit."""

    @classmethod
    def of(cls, generation: GenerationSection) -> "Budgets":
        """Those of a recipe."""
        return cls(generation.max_branches, generation.max_title_tokens, generation.max_depth)

    def exceeded(self, block: Block, codec: Codec) -> Iterator[tuple[int, str]]:
        """At which branch a block is beyond the budgets, whatever it stands in, and how."""
        if len(block.branches) > self.branches:
            reason = f"a block of {len(block.branches)} branches, more than {self.branches}"
            yield self.branches, reason
        for place, title in enumerate(block.titles):
            if (length := codec.title_length(title)) > self.title_tokens:
                yield place, f"the title has {length} tokens, more than {self.title_tokens}"


DECODED = Budgets()
"""The budgets of a recipe that says nothing of them."""


def forks(branches: Sequence[tuple[str, str]], most: int) -> Iterator[Block | str]:
    """Branches as one block, or as several of about equal width where there are too many.

    The last branch ends as the one before it does. The blank line that it has beyond that stands
    behind the list, not in its item, and follows as serial text: no branch can see that it is last.

    Args:
        branches: title and content of each; at least two.
        most: most branches of one block.
    """
    *others, (title, text) = branches
    length = len(text.rstrip())
    ending = others[-1][1][len(others[-1][1].rstrip()) :]
    end = length + len(ending) if text.startswith(ending, length) else len(text)
    branches = [*others, (title, text[:end])]
    count = -(-len(branches) // most)
    cuts = [at * len(branches) // count for at in range(count + 1)]
    for low, high in pairwise(cuts):
        if high - low == 1:  # an odd number in twos
            yield branches[low][1]
            continue
        yield Block.of([Branch(title, Document((text,))) for title, text in branches[low:high]])
    if text[end:]:
        yield text[end:]


def title_cost(block: Block, codec: Codec) -> tuple[int, int]:
    """Tokens of the titles of a block, and of what the reader sees of its branches."""
    titles, texts = (
        sum(len(codec.encode(text)) for text in each) for each in (block.titles, block.texts)
    )
    return titles, texts


def too_many_branches(document: Document) -> str | None:
    """The sentence about a document of more branches than can be laid out; None for others."""
    count = sum(len(block.branches) for block in document.blocks())
    return f"{count} branches, more than {MOST_BRANCHES}" if count > MOST_BRANCHES else None


def in_context(document: Document, given: str = "") -> Iterator[tuple[Block, str]]:
    """Every block with the text that all of its branches see, nested ones after their outer one.

    Args:
        given: what is visible before the document begins.
    """
    for part in document.parts:
        if isinstance(part, str):
            given += part
            continue
        yield part, given
        for branch in part.branches:
            yield from in_context(branch.content, given)
        given += "".join(part.texts)


def no_deeper(document: Document, most: int) -> Document:
    """The document with the blocks that are nested deeper than `most` as serial text."""
    if most == 0:
        return Document((plain(document),))
    parts = (
        part
        if isinstance(part, str)
        else Block(
            tuple(Branch(b.title, no_deeper(b.content, most - 1)) for b in part.branches), part.form
        )
        for part in document.parts
    )
    return Document(tuple(parts))


def flatten(document: Document, keep: Callable[[Block], bool]) -> Document:
    """The document with the blocks that are not kept as serial text; its plain text is the same.

    What is nested in a block that goes may stay, and becomes a block of the text around it.
    """
    return keep_branches(document, lambda block: [keep(block)] * len(block.branches))


def keep_branches(document: Document, keep: Callable[[Block], Sequence[bool]]) -> Document:
    """The document with the branches that are not kept as serial text; its plain text is the same.

    Neighbours that are kept stay a block, one alone does not. What is nested in a branch that goes
    may stay, as with `flatten`.
    """
    parts: list[str | Block] = []
    for part in document.parts:
        if isinstance(part, str):
            parts.append(part)
            continue
        kept, nested = keep(part), any(any(b.content.blocks()) for b in part.branches)
        if all(kept) and not nested:
            parts.append(part)
            continue
        branches = [Branch(b.title, keep_branches(b.content, keep)) for b in part.branches]
        if all(kept):
            parts.append(Block(tuple(branches), part.form))
            continue
        written = [
            Branch(branch.title, Document((lead, *branch.content.parts)))
            for lead, branch in zip(part.leads, branches, strict=True)
        ]
        for good, run in groupby(zip(kept, written, strict=True), lambda pair: pair[0]):
            neighbours = [branch for _, branch in run]
            if good and len(neighbours) > 1:
                parts.append(Block.of(neighbours))
            else:
                parts += [piece for branch in neighbours for piece in branch.content.parts]
    return Document(tuple(parts))
