"""Titles: short names of items, taken from their own labels."""

import re
from collections import Counter
from collections.abc import Sequence

from aspd_cli.transform.rules.clauses import MAX_WIDE, clause_of
from aspd_cli.transform.rules.lists import ORDINAL, match_label
from aspd_cli.transform.rules.phrases import MAX_WORDS, phrase_of
from aspd_cli.transform.rules.sentences import sentence_of
from aspd_cli.transform.rules.words import DOTTED, is_wide

_LOOKED_AT = 1000
"""Characters of an item's first line in which its title is looked for."""
_MAX_CHARACTERS = 90

_BOLD = re.compile(r"(\*\*|__)(?=\S)(.{2,110}?)\1(?!\w)")
_HALF_BOLD = re.compile(r"([^*\n]{2,110}?):?\*\*(?!\S)")
"""The same where the number stands in bold, too: `**1. Label**`."""
_COLON = re.compile(rf"((?:[^.:：。!?？！\n]|{DOTTED}){{1,80}}?)(?::\s|:$|：|\s[-–—]+\s|——)")
_COLON_SIGNS = (":", "：", "-", "–", "—")
_CODE = re.compile(r"`([^`\n]{2,40})`(?=\s*(?:[:：–—]|-\s|$))")
"""Code that the text behind it explains."""
_ASKED = re.compile(r"([^.!?。！？]+[?？])\W*")
_NAMED = re.compile(
    r"[^.。!?\n:：“”\"《》]{2,40}(?:(《[^《》\n]{2,40}》)|[“\"]([^“”\"\n]{4,80})[”\"])"
    r"(?=\s*(?:[-–—:：(（]|$))"
)
_QUOTED = re.compile(r"[\"“]([^\"“”\n]{2,60})[\"”]")
_MARKS = re.compile(
    r"\*\*|__|[*`]+|(?<!\w)#+|(?<!\w)_|_(?!\w)|\[([^\[\]]*)\]\([^()]*(?:\([^()]*\))?[^()]*\)"
)
_LINK = re.compile(r"\[([^\[\]]*)\]\([^()]*(?:\([^()]*\))?[^()]*\)")
_NUMBER = re.compile(r"^(?:\[[ xX]\]\s+)?(?:(?:\d{1,3}|[IVX]{1,5}|[A-Za-z])[.)]\s+)?")
"""What stands before a title that is no part of it: the box of a task, a number of its own."""
_COUNT = re.compile(r"\W*\d{0,2}\W*")
"""A label that says nothing but how many."""
_NUMBERED_KIND = re.compile(
    r"[\W_]*(?:\w+ )?(goal|objective|aim|risk|option|choice|idea|meeting|call|tip|reason|example"
    r"|scenario|item|task|point|fact|problem|issue|challenge|solution|suggestion|recommendation"
    r"|benefit|version|variation|alternative|caption|slogan|headline|joke|poem|haiku|story"
    r"|character|person|player|team|group|argument|claim|strategy|feature|milestone|activity"
    r"|exercise|project|product|目标|选项|方案|建议|会议|例子|示例|场景|问题|原因|理由|故事|任务|想法)"
    r"s?[ #]*(?:\d{1,2}|[ivx]{1,4}|[a-h]|one|two|three|four|five|six|[一二三四五六七八九十])"
    r"(?:,? (?:if|when) \w+| ?\(?optional\)?)?[\W_]*",
    re.IGNORECASE,
)
"""The title of an item that is told from the others by its number alone."""
_FEW_WORDS = 5
_WORDY = re.compile(r"\S*[^\W\d_]\S*")
_COUNTED = re.compile(r"\W*\d{1,2}\W*[:：]")
_SIGN = re.compile(r"`[^`\w]+`")
"""Code without a word, of which nothing is left in a title."""
_JOINTS = ("- ", "– ", "— ", ": ", "：", "= ")
"""What stands between a name that is no word, such as an emoji, and what is said of it."""
_BEGINNING = 40
"""Characters that tell in which kind of writing a text is."""
_TAGS = re.compile(r"</?(?:b|i|em|strong|code)>")
_PAIRED = '()"“”[]'
_OUTER = " .,;:!?-–—>|，。；：、！？…"


def title_of(head: str, *, heading: bool = False) -> str | None:
    """The title of an item from its first line without the marker; None when it has no words.

    An item that does not name itself is called by the first phrase of what it says.

    Args:
        heading: the line is a heading, so all of it is the label.
    """
    if label := label_of(head, heading=heading):
        return None if _COUNT.fullmatch(label) else label
    text = _unnamed(head)
    return _phrase(text) or _question(text) or _quoted(text) or None


def long_title_of(head: str) -> str:
    """The title of a long item that does not name itself, and of which no phrase can be told."""
    text = _unnamed(head)
    return "" if is_wide(text[:_BEGINNING]) else _clean(sentence_of(text))


def first_words(text: str) -> str:
    """What a text without a title is called where somebody looks for its first words."""
    words = " ".join(_WORDY.findall(text[:_LOOKED_AT])[:_FEW_WORDS])
    return _clean(words[: MAX_WIDE if is_wide(words) else _MAX_CHARACTERS]) or "-"


def label_of(head: str, *, heading: bool = False) -> str | None:
    """What an item calls itself; None when it does not. Arguments as of `title_of`."""
    head = _bare(head)
    if heading:
        whole = _clean(head)
        short = len(whole.split()) <= MAX_WORDS and len(whole) <= _MAX_CHARACTERS
        return (whole if short else _phrase(whole)) or None
    head = _unmarked(head)
    if code := _CODE.match(head):
        return code[1]
    # To look for what an expression needs takes a tenth of its time.
    bold = (_BOLD.match, _HALF_BOLD.match) if "**" in head or head[:1] == "_" else ()
    colon = (_COLON.match,) if any(map(head.__contains__, _COLON_SIGNS)) else ()
    for match in (match_label, *bold, *colon, _QUOTED.match):
        found = match(head)
        if found is None:
            continue
        label = next(group for group in reversed(found.groups()) if group)
        text = _clean(label)
        most = MAX_WIDE if is_wide(text) else _MAX_CHARACTERS
        short = len(text.split()) <= MAX_WORDS and len(text) <= most
        if text and (short or match in (_BOLD.match, _HALF_BOLD.match)):
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


def only_count(titles: Sequence[str]) -> bool:
    """Whether most titles are one word with a number, such as `Goal 1`, and tell nothing apart."""
    kinds = Counter(found[1].lower() for t in titles if (found := _NUMBERED_KIND.fullmatch(t)))
    return bool(kinds) and 2 * max(kinds.values()) > len(titles)


def told_apart(heads: Sequence[str], titles: Sequence[str]) -> list[str]:
    """The titles, those of items that begin alike up to where they differ; labels stay labels.

    Args:
        heads: the first line of each item without its marker.
    """
    first = [title.partition(" ")[0] for title in titles]
    if len(set(first)) == len(first):
        return list(titles)
    beginnings = [_unnamed(head).split(None, MAX_WORDS)[:MAX_WORDS] for head in heads]
    shared = Counter(
        " ".join(words[:count]) for words in beginnings for count in range(1, len(words) + 1)
    )
    # A title that another one begins with, and goes on from, tells nothing.
    said = [title.split() for title in titles]
    begun = {" ".join(words[:count]) for words in said for count in range(1, len(words))}
    out = list(titles)
    for at, (title, words) in enumerate(zip(titles, beginnings, strict=True)):
        own = " ".join(words[: len(title.split())])
        if shared[own] < 2 or _clean(own) != title or is_wide(title) or label_of(heads[at]):
            continue
        alike = sum(shared[" ".join(words[:count])] > 1 for count in range(1, len(words) + 1))
        longer = _clean(phrase_of(_unnamed(heads[at]), alike))
        out[at] = longer or ("" if title in begun else title)
    return out


def _phrase(text: str) -> str:
    """The first words of a text that stand for themselves; empty where there are none."""
    if _COUNTED.match(text) or text.startswith(_JOINTS):
        return ""
    phrase = clause_of(text) if is_wide(text[:_BEGINNING]) else phrase_of(text)
    return "" if "`" in phrase and _SIGN.search(phrase) else _clean(phrase)


def _question(text: str) -> str:
    """A text that is a question altogether; one that writes no spaces is a clause."""
    found = _ASKED.fullmatch(text)
    long = len(text) > _MAX_CHARACTERS or is_wide(text)
    return _clean(found[1]) if found and not long else ""


def _quoted(text: str) -> str:
    """The name in quotation marks that the first clause of a text leads to."""
    found = _NAMED.match(text)
    return "" if found is None else found[1] or _clean(found[2])


def _unnamed(head: str) -> str:
    """What an item without a label says."""
    return _NUMBER.sub("", _unmarked(_bare(head)))


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
