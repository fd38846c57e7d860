"""Titles: short names of items, taken from their own labels."""

import re
from collections.abc import Sequence
from itertools import takewhile

from aspd_cli.transform.rules.lists import ORDINAL, match_label
from aspd_cli.transform.rules.words import ABBREVIATION, DOTTED, is_wide

MAX_WORDS = 8
_LOOKED_AT = 1000
"""Characters of an item's first line in which its title is looked for."""
FIRST_WORDS = 6
_MAX_CHARACTERS = 64

_BOLD = re.compile(r"(\*\*|__)(?=\S)(.{2,80}?)\1")
_COLON = re.compile(rf"((?:[^.:：。!?？！\n]|{DOTTED}){{2,80}}?)(?::\s|:$|：|\s[-–—]+\s|——)")
_CLAUSE = re.compile(r"[^，。；：、！？（,;:!?\s]{2,8}")
"""The first clause of a text without spaces between its words, or the beginning of it."""
_SPEAKER = re.compile(r"[^:：\n]{1,24}[:：]")
_QUOTED = re.compile(r"[\"“]([^\"“”\n]{2,60})[\"”]")
_MARKS = re.compile(
    r"\*\*|__|[*`#]+|(?<!\w)_|_(?!\w)|\[([^\[\]]*)\]\([^()]*(?:\([^()]*\))?[^()]*\)"
)
_LINK = re.compile(r"\[([^\[\]]*)\]\([^()]*(?:\([^()]*\))?[^()]*\)")
_NUMBER = re.compile(r"^(?:\[[ xX]\]\s+)?(?:(?:\d{1,3}|[IVX]{1,5}|[A-Za-z])[.)]\s+)?")
"""What stands before a title that is no part of it: the box of a task, a number of its own."""
_TAGS = re.compile(r"</?(?:b|i|em|strong|code)>")
_PAIRED = '()"“”[]'
_OUTER = " .,;:!?-–—>|，。；：、！？…"
_WEAK_END = frozenset(
    "a an the of to in on at by for with and or but from as that which who is are was were be it "
    "its their your his her my our this these can will if when while into than such so not any "
    "more most all some you they he she we has have had".split()
)


def title_of(head: str, *, heading: bool = False) -> str | None:
    """The title of an item from its first line without the marker; None when it has no words.

    An item that does not name itself is called by its first words.

    Args:
        heading: the line is a heading, so all of it is the label.
    """
    if label := label_of(head, heading=heading):
        return label
    return _first_words(_clean(_unmarked(_bare(head))).split(), FIRST_WORDS) or None


def label_of(head: str, *, heading: bool = False) -> str | None:
    """What an item calls itself; None when it does not. Arguments as of `title_of`."""
    head = _bare(head)
    if heading:
        whole = _clean(head)
        short = len(whole.split()) <= MAX_WORDS and len(whole) <= _MAX_CHARACTERS
        return (whole if short else _first_words(whole.split(), FIRST_WORDS)) or None
    head = _unmarked(head)
    for match in (match_label, _BOLD.match, _COLON.match, _QUOTED.match):
        found = match(head)
        if found is None:
            continue
        label = next(group for group in reversed(found.groups()) if group)
        text = _clean(label)
        if text and len(text.split()) <= MAX_WORDS and len(text) <= (20 if is_wide(text) else 99):
            return text
    return None


def _bare(head: str) -> str:
    """What is looked at of a head, without number and links."""
    head = _NUMBER.sub("", head[:_LOOKED_AT])
    return _LINK.sub(r"\1", head) if "](" in head else head


def _unmarked(head: str) -> str:
    """A head without the word that counts it, such as `Firstly,`."""
    found = ORDINAL.match(head)
    return head[found.end() :] if found else head


def told_apart(heads: Sequence[str], titles: Sequence[str]) -> list[str]:
    """The titles, those of items that begin alike from where they differ; labels stay labels.

    Args:
        heads: the first line of each item without its marker.
    """
    out = list(titles)
    places: dict[str, list[int]] = {}
    for at, title in enumerate(titles):
        places.setdefault(title, []).append(at)
    for title, same in places.items():
        if not title or len(same) == 1:
            continue
        texts = [_clean(heads[at][:_LOOKED_AT]).split() for at in same]
        unnamed = (
            _first_words(words, FIRST_WORDS) == title_of(heads[at])
            and not (match_label(heads[at]) or _SPEAKER.match(heads[at]))
            for at, words in zip(same, texts, strict=True)
        )
        if not all(unnamed):
            continue
        alike = sum(
            1 for _ in takewhile(lambda words: len(set(words)) == 1, zip(*texts, strict=False))
        )
        for at, words in zip(same, texts, strict=True):
            out[at] = _first_words(words[alike:], FIRST_WORDS) or title
    return out


def _first_words(words: list[str], count: int) -> str:
    if is_wide(" ".join(words[:count])):
        at = 0 if is_wide(words[0]) else 1
        clause = _CLAUSE.search(" ".join(words[at:]))
        return _trim(" ".join([*words[:at], clause[0] if clause else words[at][:8]]))
    chosen: list[str] = []
    for word in words[:count]:
        chosen.append(word)
        ends = word[-1] in ".,;:!?" and not ABBREVIATION.search(word)
        if ends and len(chosen) > 1 and len(" ".join(chosen)) > 5:
            break
    while len(chosen) > 2 and chosen[-1].lower().strip(".,;:!?\"'") in _WEAK_END:
        chosen.pop()
    return _trim(" ".join(chosen)[:_MAX_CHARACTERS])


def _clean(text: str) -> str:
    """The words without Markdown, their own number and outer punctuation."""
    if "<" in text:
        text = _TAGS.sub("", text)
    if any(map(text.__contains__, "*_`#[")):
        text = _MARKS.sub(lambda found: found[1] or "", text)
    text = " ".join(text.split())
    return _trim(_NUMBER.sub("", text))


def _trim(text: str) -> str:
    text = text.strip(_OUTER)
    if not any(map(text.__contains__, _PAIRED)):
        return text
    for opening, closing in ("()", '""', "“”", "[]"):
        if text.startswith(opening) and text.endswith(closing) and len(text) > 1:
            inner = text[1:-1]
            if opening not in inner and closing not in inner:
                text = inner
        elif text.count(opening) != text.count(closing) or (
            opening == closing and text.count(opening) % 2
        ):
            text = text.replace(opening, "").replace(closing, "")
    return text.strip(_OUTER)
