"""The rules back end: an answer becomes a document by its own Markdown, with no model.

It only ever cuts the answer into serial text and branches, so that the plain text stays what it
was, byte for byte; and it refuses whatever looks as if one part needs another.

`propose` below puts these together, in reading order:

- `words`: how long texts are; `english`, `languages`: what is looked for in English, and in
  Chinese, German, French and Spanish
- `markdown`: an answer as lines, each with what Markdown says about it, with the help of
  `markers` (what items begin with) and `unfenced` (programs without a fence)
- `items`: items, and where they end
- `lists`: runs of items
- `titles`: short names of items, from their labels, `phrases`, `clauses` and `sentences`
- `groups`: a run of items as branches, and where they have to be parted
- `lone_items`: items that are no branch for what they are, and `exercises`: answers to the parts of
  one question
- `procedures`: items that are steps of one thing, which stay serial, by their `evidence`;
  `processes`: items that tell what happens one after the other; `aspects`: points inside of a step
  that stand alone; and `chapters`: a table of contents
- `wholes`: items that sum up the others, or share out one thing among them
- `cross_references`, `shared_things`, `introduced`, `additions`, `fallbacks`: whether a branch
  refers to a neighbour
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from aspd_cli.core.markup import Block, Branch, Document, plain
from aspd_cli.transform.blocks import forks, too_many_branches
from aspd_cli.transform.rules.aspects import are_aspects, least_aspects
from aspd_cli.transform.rules.cross_references import HOLDS_EQUATION, REACH, within_reach
from aspd_cli.transform.rules.groups import AN_ITEM, branches_of, parted
from aspd_cli.transform.rules.items import Item, ItemGroup
from aspd_cli.transform.rules.lists import find_groups, find_lists
from aspd_cli.transform.rules.markdown import Line, cut_lines
from aspd_cli.transform.rules.procedures import ONE_PROCEDURE, STEPS

NO_STRUCTURE = "no list, sections or labelled paragraphs"
MAX_NESTED = 4
"""Blocks within blocks."""


_MAY_HOLD_ITEM = re.compile(
    r"[\r\n][ \t]*(?:[^\w\s\"'(]|\(?\w{1,3}[.)、．）]|[一二三四五六七八九]|[\w ]{2,40}[:：])"
)
"""Whether a branch may hold a list: most do not, and reading them again takes time."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A document, and why groups of the answer did not become blocks."""

    document: Document
    refusals: tuple[str, ...] = ()


def propose(answer: str, prompt: str = "", max_branches: int = 16) -> Proposal:
    """The document of an answer; one without blocks where nothing is independent.

    Args:
        prompt: what the user asked; names in it are known to every branch.
        max_branches: most branches of a block.
    """
    search = _Search(within_reach(prompt), max_branches, [])
    document = search.document(answer)
    if plain(document) != answer:
        return Proposal(Document((answer,)), ("the plain text would have changed",))
    if reason := too_many_branches(document):
        return Proposal(Document((answer,)), (reason,))
    return Proposal(document, tuple(dict.fromkeys(search.refusals)) or (NO_STRUCTURE,))


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for blocks in one text: an answer, or the content of a branch."""

    given: str
    """What is seen before the text."""
    max_branches: int
    refusals: list[str]
    """Why groups did not become blocks; grows."""
    head: str = ""
    """What the text is headed by: the title of its branch."""
    depth: int = 0
    """How many blocks the text stands in."""

    def document(self, text: str) -> Document:
        """The text with its blocks."""
        parts: list[str | Block] = []
        at = 0
        lines = cut_lines(text)
        for block, start, end in self._blocks(text, lines, 0, len(lines)):
            parts += [text[at:start], block]
            at = end
        return Document((*parts, text[at:]))

    def _blocks(
        self,
        text: str,
        lines: list[Line],
        lo: int,
        hi: int,
        *,
        lists: bool = False,
        steps: int = 0,
    ) -> Iterator[tuple[Block, int, int]]:
        """Blocks with the characters they span, in order.

        Args:
            lists: look for lists only, not for sections.
            steps: how many points of the step in which the lines stand can be told at once, if
                they are aspects of it; 0 outside of steps.
        """
        at = lo
        for group in (find_lists if lists else find_groups)(lines, lo, hi):
            first = group.items[0].first
            if not lists and first > at:
                yield from self._blocks(text, lines, at, first, lists=True, steps=steps)
            if steps and not are_aspects(lines, group, steps):
                yield from self._inside(text, lines, group.items, steps=steps)
            else:
                yield from self._of_group(text, lines, group)
            at = group.items[-1].last
        if not lists and lo < at < hi:
            yield from self._blocks(text, lines, at, hi, lists=True, steps=steps)

    def _of_group(
        self, text: str, lines: list[Line], group: ItemGroup
    ) -> Iterator[tuple[Block, int, int]]:
        start = lines[group.items[0].first].start
        before = text[max(0, start - REACH) : start]
        branches = branches_of(text, lines, group)
        parts, refusals = parted(
            lines, group, branches, before if before.strip() else self.head, before, self.given
        )
        self.refusals.extend(refusals)
        if group.form == "sections":
            inside = not any(reason in STEPS for reason in refusals)
        else:  # what is listed inside of the steps of something is steps, too
            inside = all(reason.startswith(AN_ITEM) for reason in refusals)
            inside = inside and not any(HOLDS_EQUATION in reason for reason in refusals)
            inside = inside or ONE_PROCEDURE in refusals  # numbered, but sections all the same
        at = 0
        steps = 0 if inside else least_aspects([title for title, _ in branches], refusals)
        for low, high in parts:
            if inside:
                yield from self._inside(text, lines, group.items[at:low])
            place = lines[group.items[low].first].start
            for part in forks(branches[low:high], self.max_branches):
                if isinstance(part, str):  # serial text again
                    place += len(part)
                    continue
                end = place + sum(map(len, part.texts))
                yield self._nested(part, before), place, end
                place = end
            at = high
        if inside or steps:
            yield from self._inside(text, lines, group.items[at:], steps=steps)

    def _inside(
        self, text: str, lines: list[Line], sections: Sequence[Item], *, steps: int = 0
    ) -> Iterator[tuple[Block, int, int]]:
        """The blocks inside of sections that are no branches themselves."""
        for item in sections:
            if item.last - item.first <= steps:
                continue
            yield from self._blocks(text, lines, item.first + 1, item.last, steps=steps)

    def _nested(self, block: Block, before: str) -> Block:
        """The block with lists inside its branches as blocks of their own."""
        if self.depth == MAX_NESTED:
            return block
        branches = []
        for branch in block.branches:
            content = plain(branch.content)
            if _MAY_HOLD_ITEM.search(content):
                inner = replace(
                    self,
                    given=within_reach(self.given + "\n" + before),
                    head=branch.title + ":",
                    depth=self.depth + 1,
                    refusals=[],
                )
                found = inner.document(content)
                branch = Branch(branch.title, found) if any(found.blocks()) else branch
            branches.append(branch)
        same = all(one is other for one, other in zip(branches, block.branches, strict=True))
        return block if same else Block(tuple(branches), block.form)
