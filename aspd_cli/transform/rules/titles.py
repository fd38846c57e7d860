"""Titles: short names of items, taken from their own labels."""

import re
from collections.abc import Sequence
from itertools import takewhile

from aspd_cli.transform.rules.lists import ORDINAL, match_label
from aspd_cli.transform.rules.words import ABBREVIATION, DOTTED, is_wide

MAX_WORDS = 8
_LOOKED_AT = 1000
"""Characters of an item's first line in which its title is looked for."""
_PHRASE = 7
"""Words of a longer first sentence that may name an item, where a phrase ends among them."""
_FEW_WORDS = 5
"""So many first words name an item where no phrase ends among them."""
_MAX_CHARACTERS = 64
_MAX_WIDE = 20
"""Characters of a title where words are not spaced."""

_BOLD = re.compile(r"(\*\*|__)(?=\S)(.{2,80}?)\1")
_COLON = re.compile(rf"((?:[^.:：。!?？！\n]|{DOTTED}){{2,80}}?)(?::\s|:$|：|\s[-–—]+\s|——)")
_CLAUSE = re.compile(r"[^，。；：、！？（）“”,;:!?()\s]{2,}")
"""A clause of a text without spaces between its words."""
_CLAUSE_PART = re.compile(
    "以及|可以|能够|并且|从而|或者|因为|通过|需要|应该|必须|包括|例如|进行|由于|来帮助"
)
"""Where a longer clause may end as well: words that begin another part of it."""
_CLAUSE_LINK = re.compile("的")
"""Where it may end if it has none of them."""
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
_PHRASE_ENDS = frozenset(
    "and or but nor for from with without to in on at by as into onto through during before after "
    "that which who whom whose where when while if because since so than using via about between "
    "within across against over under is are was were be has have had can could may might must "
    "shall should will would do does did".split()
)
"""A phrase ends before these words: `the number drawn` before `is`."""
_JOINS = frozenset("and or but nor so".split())
"""Words that, after a comma, go on with a list of words."""
_WEAK_END = _PHRASE_ENDS | frozenset(
    "a an the of it its their your his her my our this these those such not any more most all some "
    "you they he she we there very also often always usually only just even".split()
)
"""No title ends with these words."""


def title_of(head: str, *, heading: bool = False) -> str | None:
    """The title of an item from its first line without the marker; None when it has no words.

    An item that does not name itself is called by its first words.

    Args:
        heading: the line is a heading, so all of it is the label.
    """
    if label := label_of(head, heading=heading):
        return label
    return _first_phrase(_clean(_unmarked(_bare(head)))) or None


def label_of(head: str, *, heading: bool = False) -> str | None:
    """What an item calls itself; None when it does not. Arguments as of `title_of`."""
    head = _bare(head)
    if heading:
        whole = _clean(head)
        short = len(whole.split()) <= MAX_WORDS and len(whole) <= _MAX_CHARACTERS
        return (whole if short else _first_phrase(whole)) or None
    head = _unmarked(head)
    for match in (match_label, _BOLD.match, _COLON.match, _QUOTED.match):
        found = match(head)
        if found is None:
            continue
        label = next(group for group in reversed(found.groups()) if group)
        text = _clean(label)
        if (
            text
            and len(text.split()) <= MAX_WORDS
            and len(text) <= (_MAX_WIDE if is_wide(text) else 99)
        ):
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
            _first_phrase(" ".join(words)) == title_of(heads[at])
            and not (match_label(heads[at]) or _SPEAKER.match(heads[at]))
            for at, words in zip(same, texts, strict=True)
        )
        if not all(unnamed):
            continue
        alike = sum(
            1 for _ in takewhile(lambda words: len(set(words)) == 1, zip(*texts, strict=False))
        )
        for at, words in zip(same, texts, strict=True):
            out[at] = _first_phrase(" ".join(words[alike:])) or title
    return out


def _first_phrase(text: str) -> str:
    """The first words of a text that stand for themselves; empty where there are none.

    A short first sentence names the item as a whole, a longer one by what comes before the last
    word that begins another part of it.
    """
    words = text.split()
    if is_wide(" ".join(words[:_PHRASE])):
        return _trim(_first_clause(text))
    sentence = _first_sentence(words[: _PHRASE + 1])
    if len(sentence) > _PHRASE:
        sentence = sentence[: _phrase_end(sentence)]
    while len(sentence) > 2 and _bare_word(sentence[-1]) in _WEAK_END:
        sentence.pop()
    return _trim(_within(sentence))


def _phrase_end(words: list[str]) -> int:
    """How many of the words, which go on, are a phrase: the longest one that can be told."""
    least = 3 if _bare_word(words[0]) in _PHRASE_ENDS else 1
    commas = [at for at, word in enumerate(words, start=1) if word.endswith(",")]
    for at in range(_PHRASE, least, -1):
        word = _bare_word(words[at])
        in_list = at in commas and word in _JOINS
        if word in _PHRASE_ENDS and at - 1 not in commas and not in_list:
            return at
    return next((at for at in reversed(commas) if least < at <= _PHRASE), _FEW_WORDS)


def _first_sentence(words: list[str]) -> list[str]:
    """Words up to the one that ends a sentence or a part of it."""
    for at, word in enumerate(words, start=1):
        if at > 1 and word[-1] in ".;:!?" and not ABBREVIATION.search(word):
            return words[:at]
    return words


def _first_clause(text: str) -> str:
    """Of a text without spaces between its words; empty where it has no end that would be whole."""
    clause = _CLAUSE.search(text)
    if clause is None:
        return ""
    if len(clause[0]) <= _MAX_WIDE:
        return text[: clause.end()] if clause.end() <= _MAX_WIDE else clause[0]
    for part in (_CLAUSE_PART, _CLAUSE_LINK):
        if ends := [at.start() for at in part.finditer(clause[0], 2, _MAX_WIDE)]:
            return clause[0][: ends[-1]]
    return ""


def _within(words: list[str]) -> str:
    """As many of the words as a title has room for."""
    while len(words) > 1 and len(" ".join(words)) > _MAX_CHARACTERS:
        words = words[:-1]
    return " ".join(words)[:_MAX_CHARACTERS]


def _bare_word(word: str) -> str:
    return word.lower().strip(".,;:!?\"'()")


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
