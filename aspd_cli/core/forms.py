"""Forms: how the titles of a block are written where the reader sees them.

A form is what stands before and after a title: `1. **`T`**:`, `- `T, `### `T, `（1）`T`：`. It is
read off the first title of a block; its running number, if it has one, grows by one a branch. The
form filled in with a title is the branch's lead: forced when the branch starts, and part of the
plain text. So a label is written once, and what depends on a branch's place is not left to a guess.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

_CIRCLED = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"
_CHINESE = "一二三四五六七八九"
_ROMAN = ((50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))

_LEAF = r"[ \t]{0,12}(?:\#{1,6}[ ]{1,3})?(?:[-+*•‣◦▪▸·][ \t]{1,4}(?:\[[ xX]\][ ])?)?"
"""Indentation, heading and bullet."""
_EMPHASIS = r"(?:(?P<emphasis>\*{1,3}|_{1,3}|[`\"])|(?P<curly>“)|(?P<corner>「))"
_CLOSE = r"(?(curly)”|(?(corner)」|(?P=emphasis)))"
_OPEN = r"(?P<open>[(（[【])?"
# A letter counts only where a list can begin with it: "C. elegans" is a name.
_COUNTER = (
    rf"(?P<first>\d{{1,3}}|[aAiI]|[{_CIRCLED}]|[{_CHINESE}]?十[{_CHINESE}]?|[{_CHINESE}])"
    rf"(?P<close>(?(open)[)）\]】]|(?:[)）、．]|\.(?!\d)|(?<=[{_CIRCLED}])))[ \t]{{0,4}})"
)
_COLON = r"[ \u00a0\u202f]?[:：]"
_TITLE = r"(?P<title>\S.*?)"
_CLOSED = rf"(?P<after>(?:{_COLON})?{_CLOSE}|{_CLOSE}{_COLON})"

_SHAPES = [
    re.compile(shape, re.DOTALL)
    for shape in (
        rf"(?P<before>{_LEAF}{_OPEN}){_COUNTER}{_EMPHASIS}(?!\s){_TITLE}{_CLOSED}",
        rf"(?P<before>{_LEAF}{_EMPHASIS}{_OPEN}){_COUNTER}(?!\s){_TITLE}{_CLOSED}",
        rf"(?P<before>{_LEAF}{_OPEN}){_COUNTER}{_TITLE}(?P<after>(?:{_COLON})?)",
        rf"(?P<before>{_LEAF}{_EMPHASIS}){_TITLE}{_CLOSED}",
        rf"(?P<before>{_LEAF}){_TITLE}(?P<after>(?:{_COLON})?)",
    )
]
"""How a label may look, the most particular one first."""
_COLON_AT = re.compile(_COLON)
_LINE_END = re.compile(r"[\r\n]")
_MARKS = re.compile(r"[*_`]+")


@dataclass(frozen=True, slots=True)
class Form:
    """What stands around the titles of a block."""

    before: str = ""
    """What precedes the running number, or the title where there is no number."""
    first: str = ""
    """The number of the first branch as it is written: `1`, `a`, `I`, `①`, `一`; or nothing."""
    between: str = ""
    """What stands between number and title."""
    after: str = ""

    def opening(self, place: int) -> str:
        """What stands before the title of the branch at `place`, counted from 0."""
        return self.before + (count_on(self.first, place) if self.first else "") + self.between

    def lead(self, place: int, title: str) -> str:
        """The form filled in. A title that has a form of its own loses it."""
        return self.opening(place) + core_of(title) + self.after


class Label(NamedTuple):
    """A title in its form, as one text shows it."""

    form: Form
    title: str


def read_label(text: str) -> Label | None:
    """The form and the title that `text` is made of; None for a bare title.

    `form.lead(0, title) == text` for what comes back.
    """
    label = _split(text)
    return label if label and _split(label.title) is None else None


def core_of(title: str) -> str:
    """A title without a form around it."""
    label = read_label(title)
    return label.title if label else title


def title_key(title: str) -> str:
    """What two titles share that say the same: form, emphasis, case and outer blanks apart."""
    return _MARKS.sub("", core_of(title)).casefold().strip()


def count_on(first: str, ahead: int) -> str:
    """The number that comes `ahead` places after `first`, written as `first` is."""
    if first.isdecimal():
        return str(int(first) + ahead).zfill(len(first))
    if first in _CIRCLED:
        at = _CIRCLED.index(first) + ahead
        return _CIRCLED[at] if at < len(_CIRCLED) else f"({at + 1})"
    if first in "iI":
        number = _roman(1 + ahead)
    elif first in "aA":
        number = _letters(ahead)
    else:
        return _chinese(_chinese_value(first) + ahead)
    return number.upper() if first.isupper() else number


def shared_label(titles: Sequence[str], texts: Sequence[str]) -> tuple[Form, list[str]] | None:
    """The form in which all texts begin, and their titles as they stand in it.

    Args:
        titles: what the parts are called; a label that the text emphasises, or that ends in the
            form's own colon, is taken as it is written there.
        texts: as many parts; `form.lead(i, titles[i])` begins the i-th, for what comes back.
    """
    for form in _forms(titles[0], texts[0]):
        found = [
            _title_in(form, i, *part) for i, part in enumerate(zip(titles, texts, strict=True))
        ]
        named = [title for title in found if title is not None]
        if len(named) == len(texts) and len(set(map(title_key, named))) == len(named):
            return form, named
    return None


def _forms(title: str, text: str) -> Iterator[Form]:
    """The forms of the labels that `text` may begin with, the longest label first."""
    line = _LINE_END.split(text, 1)[0]
    ends = {len(line)} if line.lstrip().startswith("#") else set[int]()
    for shape in _SHAPES:
        if (found := shape.match(line)) is None:
            continue
        stops = {found.end()} if found["after"] else set()
        if (at := line.find(title, found.start("title"))) >= 0:
            stops.add(at + len(title))
        ends |= stops | {colon.end() for at in stops if (colon := _COLON_AT.match(line, at))}
    for end in sorted(ends, reverse=True):
        if label := read_label(line[:end]):
            yield label.form


def _title_in(form: Form, place: int, title: str, text: str) -> str | None:
    """The title of a text that begins with its lead; None for one that does not."""
    opening = form.opening(place)
    if not text.startswith(opening):
        return None
    line = _LINE_END.split(text[len(opening) :], 1)[0]
    if form.after:
        name, _, rest = line.partition(form.after)
        if len(name) == len(line) or (rest[:1].isascii() and rest[:1].isalnum()):
            return None  # no end, or one amid a word, such as "**D**irection"
    elif form.before.lstrip().startswith("#"):
        name = title if line.startswith(title) and not line[len(title) :].strip(" #") else line
    else:
        name = title if line.startswith(title) else ""
    if name.count("**") % 2:
        return None
    return name if name.strip() and core_of(name) == name else None


@lru_cache(maxsize=4096)
def _split(text: str) -> Label | None:
    # Most titles are bare: a letter that counts nothing, and no colon at the end.
    bare = text[:1].isascii() and text[:1].isalpha() and text[1:2] not in tuple(".)）、．")
    if bare and text[-1] not in ":：":
        return None
    for shape in _SHAPES:
        found = shape.fullmatch(text)
        if found is None:
            continue
        groups = found.groupdict()
        first, after = groups.get("first") or "", found["after"]
        inside = text[found.end("first") : found.start("title")] if first else ""
        before = text[: found.start("first") if first else found.start("title")]
        if before or first or after:
            return Label(Form(before, first, inside, after), found["title"])
    return None


def _letters(index: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    above, last = divmod(index, 26)
    return (_letters(above - 1) if above else "") + chr(ord("a") + last)


def _roman(number: int) -> str:
    out = ""
    for value, letters in _ROMAN:
        count, number = divmod(number, value)
        out += letters * count
    return out


def _chinese_value(written: str) -> int:
    tens, ten, units = written.rpartition("十")
    value = 10 * (_CHINESE.index(tens) + 1 if tens else 1) if ten else 0
    return value + (_CHINESE.index(units) + 1 if units else 0)


def _chinese(number: int) -> str:
    tens, units = divmod(number, 10)
    if tens > 9:
        return str(number)
    head = "" if not tens else "十" if tens == 1 else _CHINESE[tens - 1] + "十"
    return head + (_CHINESE[units - 1] if units else "")
