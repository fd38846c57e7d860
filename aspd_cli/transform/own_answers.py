"""A tuned model's own answers as the next round's data: which of their blocks are sound.

The model has decided what is parallel. Its blocks are held against the rules, one by one: a block
whose branches the rules call dependent becomes serial text, as does one that does not pay. A judge,
where there is one, sees what is left (`llm.backend`).
"""

from typing import Any

from aspd_cli.core.chat import to_messages
from aspd_cli.core.codec import Codec
from aspd_cli.core.forms import title_key
from aspd_cli.core.markup import Block, Document, plain
from aspd_cli.core.metrics import measure
from aspd_cli.core.parser import parse
from aspd_cli.errors import MarkupError
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.blocks import DECODED, Budgets, flatten, in_context, too_many_branches
from aspd_cli.transform.io.formats import SourceRecord
from aspd_cli.transform.io.records import Record, Rejected
from aspd_cli.transform.outcome import Outcome, outside_limits, paying, question_of, serial
from aspd_cli.transform.rules.cross_references import cross_reference
from aspd_cli.transform.rules.items import ListForm
from aspd_cli.transform.rules.procedures import procedure

NO_BLOCK = "the model wrote no block"


def own_record(
    index: int, line: int, identity: Any, prompt: Any, markup: str, cut_by: str | None
) -> Record | Rejected:
    """An answer as a record, or why it is none to learn from.

    Args:
        prompt: a string or a conversation.
        cut_by: the budget that ended the answer; None where it ended by itself.
    """
    if cut_by is not None:
        return Rejected(line, f"the model's answer is cut by {cut_by}")
    try:
        document = parse(markup)
    except MarkupError as error:
        return Rejected(line, f"the model's answer is not valid: {error.reason}")
    if not plain(document).strip():
        return Rejected(line, "the model's answer is empty")
    example = SourceRecord(to_messages(prompt), plain(document))
    return Record(index, line, identity, example, document)


def sound(
    record: Record,
    document: Document,
    transform: TransformSection,
    codec: Codec,
    budgets: Budgets = DECODED,
) -> Outcome:
    """What is left of the model's own document of an answer, or why it stays serial."""
    structure, text = serial(record, codec), Document((record.example.answer,))
    if reason := outside_limits(structure, transform) or too_many_branches(document):
        return Outcome(text, structure, "length", reason)
    if not any(document.blocks()):
        return Outcome(text, structure, "structure", NO_BLOCK)
    question = question_of(record)
    faults = {
        block: why
        for block, before in in_context(document)
        if (why := _fault(block, before, question)) is not None
    }
    kept = flatten(document, lambda block: block not in faults)
    kept = paying(kept, codec, transform, budgets)
    if any(kept.blocks()):
        return Outcome(kept, measure(kept, codec), "parallel")
    if faults:
        return Outcome(text, structure, "independence", "; ".join(dict.fromkeys(faults.values())))
    return Outcome(text, structure, "structure", "no block pays for its titles")


def _fault(block: Block, before: str, question: str) -> str | None:
    """Why a block is not sound; None for one that is."""
    titles = [branch.title for branch in block.branches]
    if not all(plain(branch.content).strip() for branch in block.branches):
        return "a branch without text"
    if len(set(map(title_key, titles))) < len(titles) or block.misread:
        return "titles that are not told apart"
    if reason := procedure(_list_form(block), titles, block.texts, before, question):
        return reason
    branches = list(zip(titles, block.texts, strict=True))
    found = cross_reference(branches, f"{question}\n{before}")
    return f"a branch {found.reason}" if found else None


def _list_form(block: Block) -> ListForm:
    """What the rules call a list in the form of a block."""
    form = block.form
    if form is None:
        return "labels"
    if form.before.lstrip().startswith("#"):
        return "sections"
    return "numbered" if form.first else "bullets" if form.before.strip(" *_") else "labels"
