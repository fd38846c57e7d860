"""One question with its answer, and the split that keeps train and test questions apart."""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from aspd_cli.core.markup import Block, Branch, Document, plain

Split = Literal["train", "test"]

_TEST_SHARE = 20
"""One question in this many belongs to the test split."""


@dataclass(frozen=True, slots=True)
class Example:
    """A question and the one answer that counts as right."""

    question: str
    """What the user types."""
    answer: Document
    """With one block when two or more things are asked for that do not depend on each other."""
    family: str
    """One of `QUESTION_FAMILIES`, or "other" for what the model does not know."""

    @property
    def branches(self) -> int:
        """Branches of the answer's block; 0 when the answer is serial."""
        return sum(len(block.branches) for block in self.answer.blocks())

    @property
    def text(self) -> str:
        """The answer as the reader sees it; exact match compares with this."""
        return plain(self.answer)

    @property
    def split(self) -> Split:
        return split(self.question)


def split(question: str) -> Split:
    """The split a question belongs to, whatever its capitals, spaces and punctuation."""
    key = " ".join(re.findall(r"\w+|[+*-]", question.lower()))
    digest = hashlib.sha256(key.encode()).digest()
    return "test" if int.from_bytes(digest[:4], "big") % _TEST_SHARE == 0 else "train"


def answer(intro: str, branches: list[tuple[str, str]], closing: str) -> Document:
    """Intro, a branch per (title, content), closing; a single one becomes serial text."""
    if len(branches) == 1:
        return Document((intro, branches[0][1], closing))
    block = Block.of([Branch(title, Document((content,))) for title, content in branches])
    return Document((intro, block, closing))
