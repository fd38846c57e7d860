"""Selection: which of the surviving proposals becomes the document of an answer."""

from collections.abc import Iterable

from aspd_cli.core.markup import Document
from aspd_cli.core.metrics import Structure
from aspd_cli.core.tokens import Codec
from aspd_cli.transform.counting import measure


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
