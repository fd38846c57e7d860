"""Answers between the tags of other releases: a plan or none, paths, and what is concluded."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from aspd_cli.core.markup import MAX_DEPTH
from aspd_cli.errors import DataError
from aspd_cli.transform.io.paths import MarkedFork, MarkedParts, MarkedPath

_NUMBER = re.compile(r"\s*(\d{1,3}(?:\.\d{1,3}){0,8})\s*[:：.)]\s*")
"""What joins a path to the item of its plan."""


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of one notation by what they enclose, and how an answer in it is known."""

    begin: re.Pattern[str]
    group: str = ""
    """Plan, paths and conclusion together."""
    plans: str = ""
    """All items of a plan."""
    plan: str = ""
    path: str = ""
    """A pattern where paths are numbered in their tags."""
    end: str = ""
    """What is concluded from the paths; it is serial text."""

    @property
    def pattern(self) -> re.Pattern[str]:
        names = filter(None, (self.group, self.plans, self.plan, self.path, self.end))
        return re.compile(rf"<(/?)({'|'.join(names)})>")


NOTATIONS = {
    "Multiverse": Tags(
        re.compile(r"<Parallel>\s*<Goal>|<Goal>[^<]*<Outline>"),
        *("Parallel", "Goal", "Outline", "Path", "Conclusion"),
    ),
    "ThreadWeaver": Tags(
        re.compile(r"<Parallel>\s*<Outlines>"),
        *("Parallel", "Outlines", "Outline", "Thread", "Conclusion"),
    ),
    "Parallel-R1": Tags(
        re.compile(r"<Parallel>\s*<Path>"), group="Parallel", path="Path", end="Summary"
    ),
    "NPR": Tags(re.compile(r"<guideline>\s*<plan>"), "", "guideline", "plan", "step", "takeaway"),
    "ParaThinker": Tags(re.compile(r"<think1>"), path=r"think\d{1,3}", end="summary"),
}


class TagReader:
    """Recursive descent over tags and the text between them."""

    def __init__(self, answer: str, name: str, tags: Tags) -> None:
        self.name, self.tags = name, tags
        self.pieces: list[tuple[str, int, bool]] = []
        """Text, its place, and whether it is a tag."""
        end = 0
        for found in tags.pattern.finditer(answer):
            self.pieces.append((answer[end : found.start()], end, False))
            self.pieces.append((found[1] + found[2], found.start(), True))
            end = found.end()
        self.pieces += [(answer[end:], end, False), ("", len(answer), True)]
        self.at = 0
        self.depth = 0

    @property
    def tag(self) -> str:
        """The tag that is next, without brackets; empty at a text and at the end."""
        text, _, is_tag = self.pieces[self.at]
        return text if is_tag else ""

    def fail(self, reason: str) -> NoReturn:
        place = self.pieces[self.at][1]
        raise DataError(f"the {self.name} tags are not well formed at character {place}: {reason}")

    def take(self, tag: str) -> None:
        if self.tag != tag:
            self.fail(f"expected <{tag}>, found {f'<{self.tag}>' if self.tag else 'text'}")
        self.at += 1

    def blank(self) -> str:
        """The white space before a tag; other text is none of the notation."""
        text, _, is_tag = self.pieces[self.at]
        if is_tag:
            return ""
        if text.strip():
            self.fail("text between two paths or items of a plan")
        self.at += 1
        return text

    def is_path(self, tag: str) -> bool:
        return re.fullmatch(self.tags.path, tag) is not None

    def whole(self) -> MarkedParts:
        parts = self.parts()
        if self.at < len(self.pieces) - 1:
            self.fail(f"<{self.tag}> closes nothing that is open")
        return parts

    def parts(self) -> MarkedParts:
        """Everything up to a tag that closes, or to the end."""
        if self.depth == MAX_DEPTH:
            self.fail(f"tags are nested more than {MAX_DEPTH} deep")
        self.depth += 1
        parts: MarkedParts = []
        tags = self.tags
        while self.at < len(self.pieces) - 1:
            text, _, is_tag = self.pieces[self.at]
            if not is_tag:
                parts.append(text)
                self.at += 1
            elif text == tags.group:
                self.at += 1
                parts += self.parts()
                self.take(f"/{tags.group}")
            elif text == tags.end:
                self.at += 1
                parts += self.parts()
                self.take(f"/{tags.end}")
            elif text == tags.plans or self.is_path(text):
                parts += self.fork()
            elif text.startswith("/"):
                break
            else:
                self.fail(f"<{text}> stands outside of <{tags.plans}>")
        self.depth -= 1
        return parts

    def fork(self) -> Iterator[str | MarkedFork]:
        """A plan, if there is one, and its paths."""
        plans: list[str] = []
        if self.tag == self.tags.plans:
            before, plans = self.plan()
            yield before
            yield self.blank()
        fork = MarkedFork()
        while self.is_path(self.tag):
            name = self.tag
            self.at += 1
            parts = self.parts()
            self.take(f"/{name}")
            if self._next_is_path():
                parts.append(self.blank())
            fork.paths.append(MarkedPath(None, parts))
        if plans and len(plans) != len(fork.paths):
            self.fail(f"a plan of {len(plans)} items has {len(fork.paths)} paths")
        for path, plan in zip(fork.paths, plans, strict=False):
            _join(path, plan)
        yield fork

    def plan(self) -> tuple[str, list[str]]:
        """What stands before the items of a plan, and the items."""
        self.take(self.tags.plans)
        before, items = "", list[str]()
        while self.tag != f"/{self.tags.plans}":
            text, _, is_tag = self.pieces[self.at]
            if not is_tag and not items:
                before += text
                self.at += 1
            elif not is_tag:
                self.blank()
            else:
                self.take(self.tags.plan)
                items.append(self.pieces[self.at][0])
                self.at += 1
                self.take(f"/{self.tags.plan}")
        self.at += 1
        return before.strip() and before, items

    def _next_is_path(self) -> bool:
        """Whether another path follows a text."""
        _, _, is_tag = self.pieces[self.at]
        return not is_tag and self.is_path(self.pieces[self.at + 1][0])


def _join(path: MarkedPath, plan: str) -> None:
    """Gives a path the item of its plan, and takes the number off that joins them."""
    number = _NUMBER.match(plan)
    path.plan = plan[number.end() :] if number else plan
    first = path.parts[0] if path.parts else ""
    if number and isinstance(first, str):
        found = _NUMBER.match(first)
        if found and found[1] == number[1]:
            path.parts[0] = first[found.end() :]
