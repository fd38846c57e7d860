"""Answers that somebody has marked up before: their blocks stand, if they pay; no rule is asked."""

from itertools import pairwise

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import Block, Branch, Document
from aspd_cli.core.metrics import measure
from aspd_cli.errors import MarkupError
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.blocks import Budgets, flatten, too_many_branches
from aspd_cli.transform.io.notations import Marked
from aspd_cli.transform.io.records import Record
from aspd_cli.transform.outcome import Outcome, outside_limits, paying, serial


def marked_outcome(
    record: Record,
    marked: Marked,
    transform: TransformSection,
    codec: Codec,
    budgets: Budgets,
    stage: str,
) -> Outcome:
    """The document of an answer in somebody's notation, or why it stays serial.

    Args:
        stage: at which it ends where no block pays.
    """
    document, structure = Document((record.example.answer,)), serial(record, codec)
    if reason := outside_limits(structure, transform):
        return Outcome(document, structure, "length", reason)
    if not any(marked.document.blocks()):
        return Outcome(document, structure, stage, f"no two paths in its {marked.notation} tags")
    if reason := too_many_branches(marked.document):
        return Outcome(document, structure, stage, reason)
    said = flatten(
        narrowed(marked.document, min(transform.max_branches, budgets.branches)),
        lambda block: min(len(codec.encode(text)) for text in block.texts) > 1,
    )
    found = paying(said, codec, transform, budgets)
    if not any(found.blocks()):
        return Outcome(document, structure, stage, "no block pays for its titles")
    return Outcome(found, measure(found, codec), "parallel")


def narrowed(document: Document, most: int) -> Document:
    """The document with blocks of more branches than `most` as several of about equal width."""
    parts: list[str | Block] = []
    for part in document.parts:
        if isinstance(part, str):
            parts.append(part)
            continue
        branches = [Branch(each.title, narrowed(each.content, most)) for each in part.branches]
        if len(branches) <= most:
            parts.append(Block(tuple(branches), part.form))
            continue
        labelled = [
            Branch(branch.title, Document((lead, *branch.content.parts)))
            for lead, branch in zip(part.leads, branches, strict=True)
        ]
        count = -(-len(branches) // most)
        cuts = [at * len(branches) // count for at in range(count + 1)]
        for low, high in pairwise(cuts):
            try:
                parts.append(Block.of(labelled[low:high]))
            except MarkupError:  # one branch, or titles that would be read otherwise
                parts += [text for each in labelled[low:high] for text in each.content.parts]
    return Document(tuple(parts))
