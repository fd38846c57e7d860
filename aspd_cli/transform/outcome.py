"""What became of one answer, and which of its proposals is chosen.

An `Outcome` is the same whichever back end decided it. `select` takes the best of the proposals
that survive their verdicts: that with the highest degree of parallelism.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import Block, Document
from aspd_cli.core.metrics import Structure, block_worth, measure
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.blocks import MAX_TITLE_SHARE, Budgets, flatten, no_deeper, title_cost
from aspd_cli.transform.io.records import Record


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one answer."""

    document: Document
    structure: Structure
    stage: str
    """The last stage that the answer came to; "parallel" when it passed all."""
    reason: str | None = None
    """Why it stays serial."""
    votes: dict[str, Any] | None = None
    """How the judge voted; None where none was asked."""
    failed: bool = False
    """It stays serial because the endpoint failed: another run may do better."""


def serial(record: Record, codec: Codec) -> Structure:
    """The structure of an answer without blocks."""
    tokens = len(codec.encode(record.example.answer))
    return Structure(tokens=tokens, useful_tokens=tokens)


def outside_limits(structure: Structure, transform: TransformSection) -> str | None:
    """Why an answer is too short or too long to look at; None when it is neither."""
    if structure.tokens < transform.min_tokens:
        return f"fewer than {transform.min_tokens} tokens"
    if structure.tokens > transform.max_tokens:
        return f"more than {transform.max_tokens} tokens"
    return None


def question_of(record: Record) -> str:
    """What the answer replies to: all turns before it."""
    return "\n".join(turn["content"] for turn in record.example.prompt)


def paying(
    document: Document, codec: Codec, transform: TransformSection, budgets: Budgets
) -> Document:
    """The document without the blocks whose titles cost what their branches save.

    What decoding would cut would never be written, so a block beyond the budgets goes, too.
    """

    def pays(block: Block) -> bool:
        worth = block_worth(block, codec)
        if worth.speedup < transform.min_speedup or worth.saved < transform.min_saved:
            return False
        titles, texts = title_cost(block, codec)
        return titles <= MAX_TITLE_SHARE * texts and not any(budgets.exceeded(block, codec))

    found = flatten(document, pays)
    return found if budgets.depth is None else no_deeper(found, budgets.depth)


def select(
    documents: Iterable[Document | None], codec: Codec
) -> tuple[int, Document, Structure] | None:
    """The document with the highest (DP, ABN, APE), and which of them it is; None without any.

    DP first, for it is what shortens the critical path; of equals the first one.

    Args:
        documents: the proposals; None for one that has failed a check.
    """
    measured = [
        (at, document, measure(document, codec))
        for at, document in enumerate(documents)
        if document is not None
    ]
    return max(measured, key=lambda each: rank(each[2]), default=None)


def rank(structure: Structure) -> tuple[float, float, float]:
    """By what proposals are compared: degree of parallelism, branches a block, efficiency."""
    return structure.dp, structure.abn, structure.ape
