"""Chapters: the parts of a table of contents, each with a title and what it is about.

The chapters of a story live by each other. What a chapter of a textbook treats can be said without
the others, for the titles of all are seen.
"""

import re
from collections.abc import Sequence

_ASKED = re.compile(
    r"\b(?:table of contents|syllabus|curriculum|(?:course|book) outline"
    r"|outline (?:of|for) (?:a|an|my|the|this|our) (?:[\w-]+ ){0,4}(?:book|course|guide|handbook"
    r"|textbook|manual))\b|目录|大纲",
    re.IGNORECASE,
)
_TOLD = re.compile(
    r"\b(?:story|stories|novel|novella|fiction|fantasy|tale|plot|memoir|thriller|romance"
    r"|screenplay|poems?|characters?|protagonist)\b|小说|故事|剧本|童话",
    re.IGNORECASE,
)
_CHAPTER = re.compile(
    r"\W*(?:(?:chapter|part|module|unit|lesson|section)s? (?:\d{1,2}|[IVX]{1,5}|one|two|three|four"
    r"|five|six|seven|eight|nine|ten)|第[一二三四五六七八九十\d]{1,3}[章节部讲单]元?)\s*[:：.–—-]?\s*\w.{2,}",
    re.IGNORECASE,
)


def are_chapters(titles: Sequence[str], prompt: str, before: str) -> bool:
    """Whether titled chapters are listed that somebody has asked for.

    Args:
        before: what stands before the items.
    """
    if _CHAPTER.match(titles[0]) is None or not all(map(_CHAPTER.match, titles)):
        return False
    said = f"{prompt}\n{before}"
    return _ASKED.search(said) is not None and _TOLD.search(said) is None
