"""Markers: what an item of a list begins with, `1.`, `a)`, `（一）`, `①`, `IV.`, `-`, `✅`."""

import re
import unicodedata
from dataclasses import dataclass

_CJK = r"\u3040-\u30ff\u4e00-\u9fff“《「【"
_NUMBERED = re.compile(
    r"(?:\*\*)?(?:(\d{1,3})([.)])(?:\s+|(?=\*\*)|(?=[" + _CJK + r"]))|(\d{1,3})([、．）])\s*"
    r"|[（(](\d{1,2})([)）])\s*|(\d{1,2})(\ufe0f?\u20e3)\s*)(.*)$"
)
_LETTERED = re.compile(r"(?:\*\*)?([(（])?([A-Za-z]|[IVX]{1,5}|[ivx]{1,5})([.)）])\s+(\S.*)$")
_CHINESE = re.compile(
    r"(?:\*\*)?(第|[（(])?([一二三四五六七八九十]{1,3})([、，,：:.．]|[)）]、?)\s*(.*)$"
)
_DIGITS = {digit: at for at, digit in enumerate("一二三四五六七八九", start=1)}
_CIRCLED = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"
_ROMAN = {"i": 1, "v": 5, "x": 10}
_BULLETS = "-*+•●▪–·◦‣○■□◆◇★☆►▶➢➤➔✓✔✗✘※"
_BULLET = re.compile(rf"([{re.escape(_BULLETS)}])(?:\s+|(?=[{_CJK}]))(.*)$")
_PICTURE = re.compile(r"([^\w\s]\S{0,4})\s+(.*)$")
PICTURE = "picture"
"""The marker of items that begin with emoji, whichever each has."""


@dataclass(frozen=True, slots=True)
class Marked:
    """An item: how it is marked, and what follows."""

    marker: str
    """What is the same in all items of a list: what follows the number, or the bullet."""
    body: str
    number: int | None = None
    """None for a bullet."""


def read_marker(text: str) -> Marked | None:
    """The marker of a line without its indentation; None when it is no item."""
    first = text[0]
    if first.isascii() and first.isalpha():
        # Most lines are plain text: their second characters tell without an expression.
        return _lettered(text) if not text[1:2].isalpha() or first in "IVXivx" else None
    if first.isdigit() or first in "*(（":
        if found := _NUMBERED.match(text):
            number, marker = next((found[i], found[i + 1]) for i in (1, 3, 5, 7) if found[i])
            return Marked(marker, found[9], int(number))
        if first in "*(（" and (item := _lettered(text)):
            return item
    if not first.isascii() or first in "(*":
        if found := _CHINESE.match(text):
            opening, digits, after, body = found.groups()
            return Marked(f"{opening or ''}一{after}", body, _chinese_number(digits))
        if first in _CIRCLED:
            return Marked("①", text[1:].lstrip(" 、.．"), _CIRCLED.index(first) + 1)
    if first.isalnum():
        return None
    if found := _BULLET.match(text):
        return Marked(found[1], found[2])
    if unicodedata.category(first) == "So" and (found := _PICTURE.match(text)):
        return Marked(PICTURE, found[2])
    return None


def _lettered(text: str) -> Marked | None:
    found = _LETTERED.match(text)
    if found is None or (found[1] is None and found[3] == "）"):
        return None
    opening, letters, after, body = found.groups()
    case = "A" if letters.isupper() else "a"
    small = letters.lower()
    if set(small) <= _ROMAN.keys():
        return Marked(f"{opening or ''}{case}i{after}", body, _roman_number(small))
    return Marked(f"{opening or ''}{case}{after}", body, ord(small) - ord("a") + 1)


def _roman_number(digits: str) -> int:
    values = [_ROMAN[digit] for digit in digits]
    return sum(-value if value < max(values[at:]) else value for at, value in enumerate(values))


def _chinese_number(digits: str) -> int:
    tens, ten, ones = digits.rpartition("十")
    return (_DIGITS.get(tens, 1) * 10 if ten else 0) + _DIGITS.get(ones, 0)
