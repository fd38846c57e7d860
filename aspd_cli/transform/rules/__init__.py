"""The rules back end: an answer becomes a document by its own Markdown, with no model.

It only ever cuts the answer into serial text and branches, so that the plain text stays what it
was, byte for byte; and it refuses whatever looks as if one part needs another.

`propose` below puts these together, in reading order:

- `markdown`: an answer as lines, each with what Markdown says about it
- `items`: items, and where they end
- `lists`: runs of items
- `titles`: short names of items
- `procedures`: items that are steps of one thing, which stay serial
- `cross_references`: whether a branch refers to a neighbour
- `languages`: the words of all this in Chinese, German, French and Spanish
"""

from collections.abc import Iterator
from dataclasses import dataclass

from aspd_cli.core.forms import shared_label
from aspd_cli.core.markup import Block, Branch, Document, plain
from aspd_cli.transform.blocks import forks, too_many_branches
from aspd_cli.transform.rules.cross_references import REACH, cross_reference, within_reach
from aspd_cli.transform.rules.items import ItemGroup, section_end
from aspd_cli.transform.rules.lists import find_groups
from aspd_cli.transform.rules.markdown import Kind, Line, cut_lines
from aspd_cli.transform.rules.procedures import STEPS, procedure
from aspd_cli.transform.rules.titles import title_of, told_apart

NO_STRUCTURE = "no list, sections or labelled paragraphs"
MIN_MEAN_CHARACTERS = 40
"""Mean length of a block's contents below which a fork does not pay for its titles."""
MIN_RATIO = 2.6
"""Least characters of content to one of its titles."""


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
    lines = cut_lines(answer)
    refusals: list[str] = []
    parts: list[str | Block] = []
    at = 0
    for block, start, end in _blocks(answer, lines, prompt, max_branches, refusals):
        parts += [answer[at:start], block]
        at = end
    document = Document((*parts, answer[at:]))
    if plain(document) != answer:
        return Proposal(Document((answer,)), ("the plain text would have changed",))
    if reason := too_many_branches(document):
        return Proposal(Document((answer,)), (reason,))
    return Proposal(document, tuple(dict.fromkeys(refusals)) or (NO_STRUCTURE,))


def _blocks(
    answer: str, lines: list[Line], prompt: str, max_branches: int, refusals: list[str]
) -> Iterator[tuple[Block, int, int]]:
    """Blocks with the characters they span, in order; a refused group is searched inside."""
    prompt = within_reach(prompt)

    def search(lo: int, hi: int) -> Iterator[tuple[Block, int, int]]:
        for group in find_groups(lines, lo, hi):
            branches = _branches(answer, lines, group)
            start = lines[group.items[0].first].start
            before = answer[max(0, start - REACH) : start]
            refusal = _refusal(lines, group, branches, before, prompt)
            if refusal is None:
                for part in forks(branches, max_branches):
                    if isinstance(part, Block):  # else it is serial text again
                        end = start + sum(map(len, part.texts))
                        if group.form == "sections":
                            part = _nested(part, prompt + before, max_branches)
                        yield part, start, end
                        start = end
                continue
            refusals.append(refusal)
            # What is nested in steps, or in the items of a list, belongs to them.
            if group.form == "sections" and refusal not in STEPS:
                for item in group.items:
                    yield from search(item.first + 1, section_end(lines, item, hi))

    return search(0, len(lines))


def _nested(block: Block, prompt: str, max_branches: int) -> Block:
    """The block with lists inside its sections as blocks of their own."""
    branches = [
        Branch(branch.title, propose(plain(branch.content), prompt, max_branches).document)
        for branch in block.branches
    ]
    return Block(tuple(branches), block.form)


def _branches(answer: str, lines: list[Line], group: ItemGroup) -> list[tuple[str, str]]:
    """Title and content of every item; the title is empty where an item has no words.

    Where the items share a form, titles are as their block will have them: what is checked is what
    is announced.
    """
    heads = [lines[item.first] for item in group.items]
    titles = told_apart([line.body or line.text for line in heads], [_title(h) for h in heads])
    ends = [lines[item.last - 1].end for item in group.items]
    contents = [answer[line.start : end] for line, end in zip(heads, ends, strict=True)]
    if all(titles) and (found := shared_label(titles, contents)):
        titles = found[1]
    return list(zip(titles, contents, strict=True))


def _title(line: Line) -> str:
    return title_of(line.body or line.text, heading=line.kind is Kind.HEADING) or ""


def _refusal(
    lines: list[Line], group: ItemGroup, branches: list[tuple[str, str]], before: str, prompt: str
) -> str | None:
    """Why a group is no block; None when it is one."""
    kinds = {line.kind for item in group.items for line in lines[item.first : item.last]}
    if Kind.CODE in kinds:
        return "code in the items"
    if Kind.TABLE in kinds:
        return "a table in the items"
    titles, contents = zip(*branches, strict=True)
    if not all(titles):
        return "an item without words"
    if len({title.lower() for title in titles}) < len(titles):
        return "items with the same title"
    size, paid = sum(map(len, contents)), sum(map(len, titles))
    bare = sum(len(text) < 2 * len(title) for title, text in branches)
    if size < max(MIN_RATIO * paid, MIN_MEAN_CHARACTERS * len(contents)) or bare > len(titles) / 2:
        return "items too short for a fork"
    if reason := procedure(group.form, titles, contents, before, prompt):
        return reason
    found = cross_reference(branches, f"{prompt}\n{before}")
    return f"an item {found.reason}" if found else None
