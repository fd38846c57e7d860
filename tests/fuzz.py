"""Random inputs by the hundred thousand, made faster than a library for properties makes them.

    python -m tests.fuzz markup 1000000       # strings through parse, render and plain
    python -m tests.fuzz rules 20000          # Markdown through the rules
    python -m tests.fuzz notations 100000     # tags of others to our markup

Prints what came of them and ends with the first input that breaks a promise. `pytest -m slow`
runs fewer of them.
"""

import random
import sys
from collections import Counter
from collections.abc import Callable

from aspd_cli.core.markup import (
    BRANCH,
    BRANCH_END,
    CONTROL_TOKENS,
    PARA,
    PARA_END,
    TITLE,
    TITLE_END,
    plain,
    render,
)
from aspd_cli.core.parser import parse
from aspd_cli.errors import DataError, MarkupError
from aspd_cli.transform.io.notations import read_marked
from aspd_cli.transform.rules import propose

TEXTS = [
    "a", "b: ", "A: ", "B: ", ": ", "x", " ", "\n", "word ", "\x00", "\ufeff", "é", "你好", "🙂",
    "<|", "|>", "<|para", "para|>", "<|/", "<", ">", "|", "<|titles|>", "</|branch|>", "<|PARA|>",
    "\u2028", "\ud800", "\u200b", "<|im_end|>", "</s>", "\r\n",
]  # fmt: skip
LINES = [
    "# Top", "## Left", "## Right ##", "**Bold head**", "Label:", "Setext", "====",
    "In short, x.", "1. **One**: it says a few words", "2. **Two**: and some more of them",
    "3. third", "1) odd", "- **Dash**: says something that is long enough to fork",
    "- **Dot**: says another thing here", "* star with words", "  - nested", "    1. deep",
    "        - code", "\t- tab", "- - - x", "- ```", "```", "````", "~~~", "```py", "<!--", "-->",
    "<pre>", "</pre>", "<div>", "<b>", "$$", "\\[", "\\]", "> quote", "> - item", "| a | b |",
    "|---|---|", "a | b", "---", "***", "", "", "", "", "First, a reason.",
    "Second, another one.", "Finally, an end.", "Name: value", "Then, more.", "plain words",
    "中文的一行", "一、第一点", "二、第二点", "1、文", "（1）文",
    "首先，好", "其次，好", "\u2028", "\x0b", "\x85", "a\rb",
    "\x00", "[a](b", "[[[", "((", "🙂 - x", "x = 3", "as above",
]  # fmt: skip

MARKS = ["- **{1}**: ", "{0}. {1}: ", "{0}) ", "* ", "**{1}**: ", "## {1}\n\n", "（{0}）", "{1}: "]
WORDS = "Apple Bread Cheese Dates Eggs Figs Grapes Honey".split()


def random_markup(draw: random.Random) -> str:
    """Half of them random pieces, half documents of the grammar, mostly with something changed."""
    if draw.random() < 0.5:
        pieces = draw.choices([*CONTROL_TOKENS, *TEXTS], k=draw.randrange(12))
    else:
        pieces = _document(draw, 3)
        for _ in range(draw.choice((0, 0, 1, 2)) if pieces else 0):
            at = draw.randrange(len(pieces))
            match draw.randrange(3):
                case 0:
                    del pieces[at : at + 1]
                case 1:
                    pieces.insert(at, draw.choice([*CONTROL_TOKENS, *TEXTS]))
                case _:
                    pieces[at:] = pieces[at:][::-1]
            pieces = pieces or [""]
    return "".join(pieces)


def _document(draw: random.Random, depth: int) -> list[str]:
    pieces: list[str] = []
    for _ in range(draw.randrange(4)):
        if depth and draw.random() < 0.5:
            titles = draw.sample(["A", "B", "C", "a: b", "🙂", " "], draw.choice((2, 2, 3)))
            for title in titles:
                pieces += [TITLE, title, TITLE_END]
            pieces.append(PARA)
            for title in titles:
                pieces += [BRANCH, f"{title}: ", *_document(draw, depth - 1), BRANCH_END]
            pieces.append(PARA_END)
        else:
            pieces.append(draw.choice(TEXTS))
    return pieces


def check_markup(markup: str) -> str:
    """Parses, and renders back to the same document and string; or is refused inside of it."""
    try:
        document = parse(markup)
    except MarkupError as error:
        if 0 <= error.offset <= len(markup) and error.reason:
            return "refused"
        raise
    assert render(document) == markup
    assert parse(render(document)) == document
    assert len(plain(document)) <= len(markup)
    return "blocks" if any(document.blocks()) else "text"


def random_markdown(draw: random.Random) -> str:
    """Lines of all kinds, indented at random, with one of the ends of lines."""
    lines: list[str] = []
    for _ in range(draw.randrange(30)):
        line = draw.choice(LINES)
        if draw.random() < 0.2:
            line = draw.choice((" ", "  ", "   ", "    ", "\t", "> ")) + line
        lines += _list(draw) if draw.random() < 0.1 else [line]
    return draw.choice(("\n", "\n", "\n\n", "\r\n", "\r")).join(lines)


def _list(draw: random.Random) -> list[str]:
    """Items that may well be independent."""
    mark, indent = draw.choice(MARKS), draw.choice(("", "", "", "  ", "    "))
    words = draw.sample(WORDS, draw.randrange(2, 7))
    return [
        indent + mark.format(n, word) + f"the {word} is a thing of its own that many people like."
        for n, word in enumerate(words, start=1)
    ]


def check_markdown(answer: str) -> str:
    """The plain text of what the rules make is the answer, and it can be written and read."""
    document = propose(answer, max_branches=5).document
    assert plain(document) == answer
    assert parse(render(document)) == document
    return "parallel" if any(document.blocks()) else "serial"


TAGS = {
    "Multiverse": ("Parallel", "Goal", "Outline", "Path", "Conclusion"),
    "ThreadWeaver": ("Parallel", "Outlines", "Outline", "Thread", "Conclusion"),
    "NPR": ("", "guideline", "plan", "step", "takeaway"),
}
"""Group, plans, plan, path and conclusion."""


def random_tags(draw: random.Random) -> str:
    """An answer in somebody's notation, every other time with something changed."""
    group, plans, plan, path, end = TAGS[draw.choice(list(TAGS))]

    def tag(name: str, text: str) -> str:
        blank = draw.choice(("", "", "\n", " "))
        return f"<{name}>{blank}{text}{blank}</{name}>" if name else text

    def fork(depth: int) -> str:
        names = draw.sample(WORDS, draw.choice((1, 2, 2, 3)))
        numbered = draw.random() < 0.7
        heads = [f"{n}: " if numbered else "" for n in range(1, len(names) + 1)]
        items = (tag(plan, head + name) for head, name in zip(heads, names, strict=True))
        inner = (
            f"{name} {draw.choice(TEXTS)}"
            + (fork(depth - 1) if draw.random() < 0.3 * depth else "")
            for name in names
        )
        paths = (tag(path, head + text) for head, text in zip(heads, inner, strict=True))
        last = tag(end, "so it is") if draw.random() < 0.7 else ""
        return tag(group, tag(plans, "".join(items)) + "".join(paths) + last)

    pieces = [draw.choice(TEXTS), fork(2), draw.choice(TEXTS), fork(1), "the end"]
    answer = "".join(pieces[draw.randrange(3) :])
    for _ in range(draw.choice((0, 0, 1, 2))):
        at, to = sorted(draw.randrange(len(answer) + 1) for _ in range(2))
        answer = answer[:at] + draw.choice(("", "<", f"</{path}>", "x")) + answer[max(at, to - 9) :]
    return answer


def check_tags(answer: str) -> str:
    """A document that can be written and read, with the words of all paths; or a refusal."""
    try:
        found = read_marked(answer)
    except DataError as error:
        if "character" in str(error) or "control token" in str(error):
            return "refused"
        raise
    if found is None:
        return "ordinary"
    assert parse(render(found.document)) == found.document
    text = plain(found.document)
    assert "the end" not in answer[-7:] or text.endswith("the end")
    assert not any(f"<{path}>" in text for *_, path, _ in TAGS.values() if path in found.notation)
    return "marked"


KINDS: dict[str, tuple[Callable[[random.Random], str], Callable[[str], str]]] = {
    "markup": (random_markup, check_markup),
    "rules": (random_markdown, check_markdown),
    "notations": (random_tags, check_tags),
}


def run(kind: str, count: int, seed: int = 0) -> Counter[str]:
    """What came of `count` random inputs. Raises `AssertionError` with the first that fails."""
    make, check = KINDS[kind]
    draw, came = random.Random(seed), Counter[str]()
    for _ in range(count):
        made = make(draw)
        try:
            came[check(made)] += 1
        except Exception as error:
            raise AssertionError(f"{made!r}: {type(error).__name__} {error}") from error
    return came


if __name__ == "__main__":
    name, number, *start = sys.argv[1:]
    print(dict(run(name, int(number), *map(int, start))))
