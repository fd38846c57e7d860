"""Small answers, each judged by a reader: contents of `labelled.txt`, written in several formats.

    answers = labelled()                 # some hundred of them
    scores = [judge(answer) for answer in answers]

What counts is who stands in one block with whom: an item that needs an earlier one must not.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aspd_cli.core.markup import Document, plain
from aspd_cli.transform.rules import propose

CONTENTS = Path(__file__).parent / "labelled.txt"
FORMATS_EACH = {"sound": 6, "parts": 6, "dependent": 4}
"""In how many formats the contents of a verdict are written."""

Verdict = Literal["sound", "parts", "dependent"]
Item = tuple[str, str]
"""A label and its text; an item without a label is all text."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer and what a reader says about it."""

    verdict: Verdict
    kind: str
    language: str
    why: str
    format: str
    prompt: str
    text: str
    needs: tuple[str, ...]
    """Words of the items that need an earlier one."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the rules made of an answer."""

    answer: Answer
    forked: bool
    right: bool
    """Whether no block holds an item together with one that it needs; true of serial answers."""


@dataclass(slots=True)
class _Content:
    verdict: Verdict
    kind: str
    language: str
    why: str
    prompt: str = ""
    lead: str = ""
    tail: str = ""
    items: list[Item] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def _lines(form: str, gap: str = "\n") -> Callable[[list[Item]], str]:
    """A writer of items: `{n}` a number, `{l}` the label, `{t}` the text."""
    counters = {
        "n": [str(n) for n in range(1, 21)],
        "a": list("abcdefghijklmnop"),
        "i": "I II III IV V VI VII VIII".split(),
        "o": list("①②③④⑤⑥⑦⑧⑨⑩"),
        "c": list("一二三四五六七八九"),
    }

    def write(items: list[Item]) -> str:
        return gap.join(
            form.format(l=label, t=text, u="-" * 12, **{k: v[at] for k, v in counters.items()})
            for at, (label, text) in enumerate(items)
        )

    return write


def _table(items: list[Item]) -> str:
    rows = (f"| {label} | {text} Nobody has to look it up elsewhere. |" for label, text in items)
    return "\n".join(["| What | About it |", "| --- | --- |", *rows])


def _html(items: list[Item]) -> str:
    return "\n".join(["<ul>", *(f"<li><b>{label}</b>: {t}</li>" for label, t in items), "</ul>"])


FORMATS: dict[str, Callable[[list[Item]], str]] = {
    "1. **label**:": _lines("{n}. **{l}**: {t}", "\n\n"),
    "- **label:**": _lines("- **{l}:** {t}"),
    "### label": _lines("### {l}\n\n{t}", "\n\n"),
    "1. label:": _lines("{n}. {l}: {t}"),
    "**label**:": _lines("**{l}**: {t}", "\n\n"),
    "a) label:": _lines("{a}) {l}: {t}"),
    "* label -": _lines("* {l} - {t}", "\n\n"),
    "(a) label:": _lines("({a}) {l}: {t}", "\n\n"),
    "① label:": _lines("{o} {l}: {t}"),
    "I. label:": _lines("{i}. {l}: {t}", "\n\n"),
    "✅ label:": _lines("✅ {l}: {t}"),
    "1. each:": _lines("1. **{l}**: {t}", "\n\n"),
    "underlined": _lines("{l}\n{u}\n\n{t}", "\n\n"),
    "- [ ] label:": _lines("- [ ] **{l}**: {t}"),
    "**1. label**": _lines("**{n}. {l}**\n\n{t}", "\n\n"),
    "<li>": _html,
    "| row |": _table,
}
CHINESE: dict[str, Callable[[list[Item]], str]] = {
    "1. 标题：": _lines("{n}. {l}：{t}"),
    "1.标题：": _lines("{n}.{l}：{t}", "\n\n"),
    "1、标题：": _lines("{n}、{l}：{t}"),
    "一、标题": _lines("{c}、{l}\n{t}", "\n\n"),
    "（1）标题：": _lines("（{n}）{l}：{t}"),
    "- **标题**：": _lines("- **{l}**：{t}"),
    "## 标题": _lines("## {l}\n\n{t}", "\n\n"),
    "① 标题：": _lines("① {l}：{t}".replace("①", "{o}")),
}
BARE: dict[str, Callable[[list[Item]], str]] = {
    "1. text": _lines("{n}. {l}.", "\n\n"),
    "- text": _lines("- {l}."),
    "• text": _lines("• {l}."),
    "a) text": _lines("{a}) {l}."),
}
"""For items without a label."""


def labelled() -> list[Answer]:
    """All answers, in a fixed order."""
    answers: list[Answer] = []
    for at, content in enumerate(_contents()):
        about = (content.verdict, content.kind, content.language, content.why)
        if content.lines:
            text = "\n".join(content.lines) + "\n"
            answers.append(Answer(*about, "its own", content.prompt, text, tuple(content.needs)))
            continue
        bare = not content.items[0][1]
        formats = BARE if bare else CHINESE if content.language == "zh" else FORMATS
        names = list(formats)
        count = min(FORMATS_EACH[content.verdict], len(names))
        for name in (names[(at * 5 + step) % len(names)] for step in range(count)):
            parts = [content.lead, formats[name](content.items), content.tail]
            text = "\n\n".join(filter(None, parts)) + "\n"
            answers.append(Answer(*about, name, content.prompt, text, tuple(content.needs)))
    return answers


def judge(answer: Answer) -> Score:
    """Lets the rules loose on an answer, and looks at their blocks."""
    document = propose(answer.text, answer.prompt).document
    assert plain(document) == answer.text
    blocks = list(document.blocks())
    wrong = answer.verdict == "dependent" and not answer.needs
    right = not (blocks and wrong) and all(_apart(document, need) for need in answer.needs)
    return Score(answer, bool(blocks), right)


def _apart(document: Document, need: str) -> bool:
    """Whether no block holds the item together with one before it."""
    return not any(need in text for block in document.blocks() for text in block.texts[1:])


@dataclass(frozen=True, slots=True)
class Tally:
    """How often the rules are right about some answers."""

    answers: int
    forked: int
    right: int
    """Forked answers whose blocks are sound."""
    forkable: int
    found: int
    """Forkable answers whose blocks are sound."""

    @classmethod
    def of(cls, scores: Iterable[Score]) -> "Tally":
        """The tally of some scores."""
        scores = list(scores)
        forked = [each for each in scores if each.forked]
        forkable = [each for each in scores if each.answer.verdict != "dependent"]
        return cls(
            len(scores),
            len(forked),
            sum(each.right for each in forked),
            len(forkable),
            sum(each.forked and each.right for each in forkable),
        )

    @property
    def precision(self) -> float:
        """The share of forked answers whose blocks are sound; 1 without any."""
        return self.right / self.forked if self.forked else 1.0

    @property
    def recall(self) -> float:
        """The share of forkable answers that are forked, and soundly; 1 without any."""
        return self.found / self.forkable if self.forkable else 1.0


_HEAD = re.compile(r"== (sound|parts|dependent) (\S+) (\w+): (.*)")


def _contents() -> Iterator[_Content]:
    content: _Content | None = None
    for line in CONTENTS.read_text(encoding="utf-8").splitlines():
        if found := _HEAD.match(line):
            if content:
                yield content
            content = _Content(*found.groups())  # type: ignore[arg-type]
        elif content is None or not line:
            continue
        elif line.startswith("|"):
            content.lines.append(line[2:])
        elif line.startswith("-"):
            label, _, text = line.partition(" ")[2].partition(" ::")
            content.items.append((label, text.strip()))
            if line.startswith("-!"):
                content.needs.append(text.strip() or label)
        else:
            name = {"?": "prompt", ">": "lead", "<": "tail"}[line[0]]
            setattr(content, name, line[2:])
    if content:
        yield content
