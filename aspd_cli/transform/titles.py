"""Titles: short names of items, taken from their own labels."""

import re

from aspd_cli.transform.groups import LABEL, ORDINAL

MAX_WORDS = 8
FIRST_WORDS = 6
_MAX_CHARACTERS = 64

_BOLD = re.compile(r"(\*\*|__)(?=\S)(.{2,80}?)\1")
_COLON = re.compile(r"([^.:!?\n]{2,80}?)(?::\s|:$|\s[-–—]+\s)")
_QUOTED = re.compile(r"[\"“]([^\"“”\n]{2,60})[\"”]")
_MARKS = re.compile(r"\*\*|__|[*`#]+|(?<!\w)_|_(?!\w)|\[([^\]]*)\]\([^)]*\)")
_NUMBER = re.compile(r"^(?:\d{1,3}|[IVX]{1,5}|[A-Za-z])[.)]\s+")
_WEAK_END = frozenset(
    "a an the of to in on at by for with and or but from as that which who is are was were be it "
    "its their your his her my our this these can will if when while into than such so not any "
    "more most all some you they he she we has have had".split()
)


def title_of(head: str, *, heading: bool = False, words: int = FIRST_WORDS) -> str | None:
    """The title of an item from its first line without the marker; None when it has no words.

    An item that does not name itself is called by its first words.

    Args:
        heading: the line is a heading, so all of it is the label.
        words: how many first words make a title.
    """
    if heading:
        whole = _clean(head)
        short = len(whole.split()) <= MAX_WORDS and len(whole) <= _MAX_CHARACTERS
        return (whole if short else _first_words(whole.split(), words)) or None
    if found := ORDINAL.match(head):
        head = head[found.end() :]
    for pattern in (LABEL, _BOLD, _COLON, _QUOTED):
        found = pattern.match(head)
        if found is None:
            continue
        label = next(group for group in reversed(found.groups()) if group)
        text = _clean(label)
        if text and len(text.split()) <= MAX_WORDS:
            return text
    return _first_words(_clean(head).split(), words) or None


def _first_words(words: list[str], count: int) -> str:
    chosen: list[str] = []
    for word in words[:count]:
        chosen.append(word)
        if word[-1] in ".,;:!?" and len(chosen) > 1:
            break
    while len(chosen) > 2 and chosen[-1].lower().strip(".,;:!?\"'") in _WEAK_END:
        chosen.pop()
    return _trim(" ".join(chosen)[:_MAX_CHARACTERS])


def _clean(text: str) -> str:
    """The words without Markdown, their own number and outer punctuation."""
    text = " ".join(_MARKS.sub(lambda found: found[1] or "", text).split())
    return _trim(_NUMBER.sub("", text))


def _trim(text: str) -> str:
    text = text.strip(" .,;:!?-–—>|")
    for opening, closing in ("()", '""', "“”", "[]"):
        if text.startswith(opening) and text.endswith(closing) and len(text) > 1:
            inner = text[1:-1]
            if opening not in inner and closing not in inner:
                text = inner
        elif text.count(opening) != text.count(closing) or (
            opening == closing and text.count(opening) % 2
        ):
            text = text.replace(opening, "").replace(closing, "")
    return text.strip(" .,;:!?-–—>|")
