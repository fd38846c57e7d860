"""Procedures: items that are steps of one thing, each going on where the one before ended.

Some names and announcements say so by themselves. Without them it is a matter of evidence: what
share of the items is work of the hands, follows in time, or takes up a thing that an earlier item
has brought in; and less of it is needed where the prompt asks how something is done.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice

from aspd_cli.transform.rules import english, languages
from aspd_cli.transform.rules.chapters import are_chapters
from aspd_cli.transform.rules.evidence import evidence, is_done, names_itself
from aspd_cli.transform.rules.items import ListForm
from aspd_cli.transform.rules.processes import are_headed, in_phases, tells_process
from aspd_cli.transform.rules.words import WORD, words_of

NAMED, ANNOUNCED = "items named as steps", "items announced as steps"
DERIVED = "items that derive one result"
FIRST_STEP = "items that begin with a first step"
ONE_PROCEDURE, ONE_ARGUMENT = "sections of one procedure", "sections of one argument"
STEPS = (NAMED, ANNOUNCED)
"""The reasons that hold for what is nested in the items, too."""
_LOOKED_AT = 2000
"""Characters of a prompt whose words are known things."""
_SHARE, _SHARE_ASKED, _SHARE_OF_ONE = 0.5, 0.4, 0.25
"""Least share of items with evidence: of any list, where something is to be done, and where one
thing is asked for."""
_TAKEN = 0.5
"""What it counts for that an item takes up a thing that an earlier one has brought in."""
_FIRST = re.compile(r"\W*(?:\d+\W+)?first\b(?!-)", re.IGNORECASE)
_THEN = re.compile(r"\W*(?:\d+\W+)?(?:then|next|after that|afterwards)\b(?![.-]\w)", re.IGNORECASE)
_LEAST_ALONE, _FEW = 5, 0.2
"""So many items of which only the first says that it is a step, and at most such a share of the
others looks like one, stand alone where nothing tells an order."""


def procedure(
    form: ListForm, titles: Sequence[str], contents: Sequence[str], before: str, prompt: str
) -> str | None:
    """Why the items are steps of one procedure; None when they are not.

    Args:
        before: the answer up to the first item.
        prompt: what the user asked.
    """
    other = languages.is_foreign(contents)
    words = list(map(words_of, contents))
    if are_chapters(titles, prompt, before[-_LOOKED_AT:]):
        return None
    if _count(_FIRST.match, contents) and _count(_THEN.match, contents):
        return FIRST_STEP
    return (
        _by_titles(form, titles, contents, other)
        or _by_reckoning(contents, words)
        or _by_announcement(form, titles, contents, words, before, prompt)
    )


def _by_titles(
    form: ListForm, titles: Sequence[str], contents: Sequence[str], other: bool
) -> str | None:
    """What the items are called."""

    def labels(own: re.Pattern[str], foreign: re.Pattern[str]) -> int:
        return sum(bool(own.match(t) or (other and foreign.match(t))) for t in titles)

    if labels(english.ORDERED_LABEL, languages.ORDERED_LABEL) > 1:
        return NAMED
    if labels(english.DERIVED, languages.DERIVED) > 1:
        return DERIVED
    argument = english.ARGUMENT.match(titles[0]) and form == "sections"
    if argument or _takes_up(titles) or _count(english.ARGUMENT.match, titles) > 1:
        return ONE_ARGUMENT
    if in_phases(titles):
        return "items that lead from an idea to its use"
    headed = form == "sections" or (form == "numbered" and are_headed(titles, contents))
    if headed and labels(english.STAGE_LABEL, languages.STAGE_LABEL):
        return ONE_PROCEDURE
    return None


def _by_reckoning(contents: Sequence[str], words: Sequence[frozenset[str]]) -> str | None:
    """What the items reckon with."""
    needed = sum(
        not own.isdisjoint(english.RECKONING) and english.NEEDED.search(text) is not None
        for own, text in zip(words, contents, strict=True)
    )
    assumed = sum(
        not own.isdisjoint(english.ASSUMING) and english.ASSUMED.search(text) is not None
        for own, text in zip(words, contents, strict=True)
    )
    return DERIVED if needed > 1 or assumed > 1 else None


def _by_announcement(
    form: ListForm,
    titles: Sequence[str],
    contents: Sequence[str],
    words: Sequence[frozenset[str]],
    before: str,
    prompt: str,
) -> str | None:
    """What is asked for and announced, and what the items do."""
    announcement = announcement_of(before, form)
    paragraph = before.rstrip().rpartition("\n\n")[2]
    other = languages.is_foreign(contents)
    asked, doing, order, work, sorting = _asks(prompt, other)
    if work:
        return "parts of one work"

    def announced(own: re.Pattern[str], foreign: re.Pattern[str]) -> bool:
        return bool(own.search(announcement) or (other and foreign.search(announcement)))

    ideas = announced(english.IDEAS, languages.IDEAS)
    aside = english.ASIDES.search(announcement) is not None
    advice = aside or announced(english.ADVICE, languages.ADVICE)
    if other and languages.CHOICES.search(announcement) and all(map(names_itself, contents)):
        done = [is_done(title, other) for title in titles]  # the steps inside are its own
    else:
        done = list(evidence(titles, contents, words, other, making=asked and not aside))
    seen = f"{prompt[-_LOOKED_AT:]} {announcement}"
    steps = not advice and announced(english.ANNOUNCED, languages.ANNOUNCED)
    if form in ("numbered", "bullets", "labels"):
        steps = steps or english.IN_STEPS.search(paragraph) is not None
    if steps:
        parts = english.STRATEGY.search(announcement) and not (asked or doing or order)
        if not parts or any(done) or any(_takes_up_things(contents, seen)):
            return ANNOUNCED
    if not (advice or ideas) and tells_process(form, titles, announcement, prompt):
        return ANNOUNCED
    if _walks(announcement, before, prompt, contents):
        return "a walk through a program"
    if sorting:
        return "classes of given things"
    unlabelled = _count(english.LABELLED.match, contents) < len(contents)
    if unlabelled and english.WORKING.search(announcement):
        return ANNOUNCED
    if form in ("numbered", "bullets") and not ideas:
        below = not advice and english.BEGINNING_BELOW.match(contents[0])
        few = sum(done[1:]) <= len(titles) * _FEW
        alone = len(titles) >= _LEAST_ALONE and not (asked or order) and few
        if alone and below:
            alone = not any(islice(_takes_up_things(contents, seen), 1, None))
        if (below and not alone) or english.BEGINNING.match(contents[0]):
            return FIRST_STEP
    if order and form in ("numbered", "labels", "ordinals") and not ideas and not advice:
        return "items of what is asked for in order"
    share = _SHARE
    if (asked or doing) and not ideas and not advice:
        guided = form == "numbered" and english.GUIDED.search(announcement)
        if guided and 2 * sum(map(_programs, titles, contents)) > len(titles):
            return "items that go on from one to the next"
        share = _SHARE_OF_ONE if asked or guided else _SHARE_ASKED
    weight: float = sum(done)
    if weight:
        taken = _takes_up_things(contents, seen)
        weight += _TAKEN * sum(one and not two for one, two in zip(taken, done, strict=True))
    return "items that go on from one to the next" if weight >= share * len(contents) else None


def first_step(form: ListForm, contents: Sequence[str]) -> bool:
    """Whether the first item says of itself that it is a first step."""
    listed = form in ("numbered", "bullets")
    return listed and english.BEGINNING_BELOW.match(contents[0]) is not None


def announcement_of(before: str, form: ListForm) -> str:
    """The last sentence before the items, which says what they are."""
    said = english.SENTENCE_END.split(before.rstrip().rpartition("\n")[2])[-1]
    leads = said[-1:] in (":", "：") or said[:1] == "#"
    return said if leads or form != "sections" else ""


def _walks(announcement: str, before: str, prompt: str, contents: Sequence[str]) -> bool:
    """Whether the items tell what happens in a program that was shown, one after the other."""
    if "```" not in before and "```" not in prompt:
        return False
    quoting = _count(english.QUOTED_CODE.match, contents)
    return 2 * quoting < len(contents) and english.WALKED.search(announcement) is not None


def _programs(title: str, content: str) -> bool:
    """Whether an item begins, with its title or behind it, with the making of a program."""
    behind = content.partition(title)[2]
    words = (english.FIRST_WORD.match(text) for text in (title, behind))
    return any(word is not None and word[1].lower() in english.PROGRAMMING for word in words)


def _takes_up_things(contents: Sequence[str], seen: str) -> Iterator[bool]:
    """Whether each item speaks of a thing as known that an earlier one has brought in.

    Args:
        seen: what all items see.
    """
    known = words_of(seen)
    brought: set[str] = set()
    for content in contents:
        small = content.lower()
        yield bool(brought) and _takes(small, brought)
        for phrase in english.BRINGS_IN.findall(small):
            brought.update(
                word for word in phrase.split() if word not in english.COMMON and word not in known
            )


def _takes(small: str, brought: set[str]) -> bool:
    own: dict[str, int] = {}
    for found in WORD.finditer(small):
        own.setdefault(found[0], found.start())
    return any(
        word in brought and own.get(word, -1) >= found.start()
        for found in english.TAKES.finditer(small)
        for word in found.groups()
        if word
    )


@lru_cache(maxsize=8)
def _asks(prompt: str, other: bool) -> tuple[bool, bool, bool, bool, bool]:
    """Whether a prompt asks for one thing that is made from beginning to end, for something to be
    done, for an order, for a work of many parts, and for given things to be told apart; they are
    the same for a whole answer."""
    asked, doing, order, work = (
        bool(one.search(prompt) or (other and foreign.search(prompt)))
        for one, foreign in (
            (english.ASKED, languages.ASKED),
            (english.DOING, languages.DOING),
            (english.ORDER, languages.ORDER),
            (english.WORK, languages.WORK),
        )
    )
    return asked, doing, order, work, english.SORTED.search(prompt) is not None


def _takes_up(titles: Sequence[str]) -> bool:
    """Whether a later title names what belongs to an earlier one, such as its explanation."""
    first, *others = (
        bool(english.TAKES_UP.match(title) or languages.TAKES_UP.match(title)) for title in titles
    )
    return not first and any(others)


def _count(matches: Callable[[str], object], texts: Sequence[str]) -> int:
    return sum(matches(text) is not None for text in texts)
