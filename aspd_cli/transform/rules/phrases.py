"""Phrases: the first words of a text that can stand alone, such as the title of an item.

A phrase ends at the border of a clause or of another phrase, never behind a word that wants more
(`make sure`, `the number of`), and a clause that only says when or under which condition
(`If it rains, ...`) is left out for what it is about. Where no phrase can be told there is none.
"""

from collections.abc import Sequence
from functools import lru_cache

from aspd_cli.transform.rules.words import ABBREVIATION

MAX_WORDS = 12
"""Of a phrase."""
_FEW = 8
"""A phrase has at most so many words, unless none ends among them."""
_SAYS_LITTLE = 2
"""A phrase of so few words that say something is made longer where it can be."""
_LEAST = 3
"""Words of a phrase that ends before a preposition, or before `to`."""
_SYMBOL = 4
"""Characters of a word alone that a sentence explains: `FV is the future value`."""
_MAX_CHARACTERS = 90
_LOOKED_AT = 30
"""Words of a text that are looked at."""

_PREPOSITIONS = frozenset(
    "for from with without in on at by into onto through during between within across against over "
    "under via about among throughout regarding using per around near toward towards along upon "
    "behind below above beyond inside outside".split()
)
_SUBORDINATE = frozenset(
    "when while because if unless until although though since whereas whenever wherever so before "
    "after once as where".split()
)
"""Words that begin a clause of another sentence."""
_RELATIVE = frozenset("that which who whom whose".split())
_FINITE = frozenset(
    "is are was were has have had can could may might must shall should will would do does did "
    "isn't aren't can't cannot won't don't doesn't".split()
)
_BE = frozenset("is are was were be been being".split())
_JOINS = frozenset(("and", "or", "nor", "&", "and/or"))
_AFTER_COMMA = _SUBORDINATE | frozenset(
    "which who whose but including such especially particularly like with without even rather "
    "instead not preferably ideally usually typically making allowing for to from by both "
    "regardless depending".split()
)
"""How what follows a comma goes on with something else than a list."""
_APPOSED = frozenset(("a", "an", "the", "one"))
_DEPENDENT = frozenset(
    "if when while although though because since unless until once whenever whereas as".split()
)
"""How a clause begins that needs another one."""
ADVERBIAL = _DEPENDENT | frozenset(
    "after before during for in on at with without to by from despite given upon throughout within "
    "under through".split()
)
"""How a sentence begins whose subject or verb comes later, behind a comma."""
_ASKS = frozenset("what who whom whose which where when why how".split()) | _FINITE
_TAKES_CLAUSE = frozenset(
    "make check ensure remember note state explain see think say know consider verify confirm "
    "believe assume suppose mention imagine let ask".split()
)
"""Verbs behind which a clause may stand, whose subject is none of the whole."""
_PRONOUNS = frozenset(
    "it they he she this that these those its their you we i there here what others".split()
)
_CLAUSES_WITHIN = _SUBORDINATE | _TAKES_CLAUSE | _PRONOUNS | {"whether", "who", "ensure", "sure"}
"""Behind these stands a clause of its own, which has a subject of its own."""
_ALLOWED = frozenset(("can", "could", "may", "might", "should", "must", "will"))
_PAIRING = frozenset(
    "between both either combination mix balance difference differences relationship "
    "compare".split()
)
"""Behind these a word and the one that `and` adds belong together."""
_WEAK = (
    _PREPOSITIONS
    | _SUBORDINATE
    | _RELATIVE
    | _FINITE
    | _JOINS
    | frozenset(
        "a an the of to it its your his her their my our this these those such not any more most "
        "all some no but you they he she we i there very also often always usually just only even "
        "than be been being every each other both another what how why much many few several as "
        "too well up out better longer long soon far i'm you're it's".split()
    )
)
"""No phrase ends with these words."""
WANTING = frozenset(
    "ability able access according act acts addition aim aims allow allowed allows amount anything "
    "areas argues ask asks attention aware based become becomes begin begins believe belong "
    "belongs benefit benefits bit capable check checks claims come comes committed compared "
    "composed consider considers consist consists consult contain contains continue continues "
    "contrast contribute contributes deal deals decide dedicated depend depends designed determine "
    "different divided due easy encouraged engage ensure ensures essential everything example "
    "examples exist exists expected explain eye eyes find focus focuses free full get gets give "
    "gives go goes going happen happens hard help helpful helps hinge hinges ideal important "
    "include includes indicate indicates instance intended invest involve involves keep keeps kind "
    "kinds know known knows lead leads learn let lets like likely likes listen located look "
    "looking looks lot made mean means meant mentions mind moment necessary need needs note number "
    "occur occurs one ones opposed order part participate parts perfect place placed plan plans "
    "prone provide provides range ranges ready refer refers regard related relationship relies "
    "rely remember require required requirement requirements requires respect response responsible "
    "result results say says see seem seems series serve serves set sets show shows similar "
    "situation size someone something sort stand stands start starts state states suggest suggests "
    "suitable supposed sure take takes talk tells tend tends thing things think thinks time times "
    "tries try trying type types unable used useful varies variety vary verifies want wants way "
    "ways willing work working works worth".split()
)
"""What these words say is only told by what follows them."""
_VAGUE = frozenset(
    "mechanism function feature tool system method process program script component module".split()
)
"""The same of these behind `a`, where it is told what they are for."""
_QUALITIES = (
    "ous",
    "ful",
    "ive",
    "able",
    "ible",
    "less",
    "ing",
    "ical",
    "ional",
    "sual",
    "ed",
    "ary",
)
"""Endings of words that mostly stand before the thing that they tell something of."""
_SOME = frozenset(("a", "an", "some"))
_DASHES = frozenset("-–—")
_PAIRS = (("(", ")"), ("[", "]"), ("“", "”"))


def phrase_of(text: str, beyond: int = 0) -> str:
    """The first words of a text that stand for themselves; empty where there are none.

    Args:
        beyond: it has more words than so many.
    """
    words, ended = _sentence(text.split(None, _LOOKED_AT)[:_LOOKED_AT])
    if not words:
        return ""
    behind = _adverbial(words)
    if behind is None:
        end = _end(words, ended, beyond)
        return " ".join(words[:end])
    if ended and beyond < len(words) <= _FEW and balanced(words):
        return " ".join(words)
    if behind == len(words):
        return ""
    main = words[behind:]
    end = _end(main, ended, max(0, beyond - behind))
    if not end:
        return ""
    pronoun = _bare(main[0]).partition("'")[0] in _PRONOUNS - {"you"}
    if behind + end <= (MAX_WORDS if pronoun else _FEW):
        return " ".join(words[: behind + end])
    start = 2 if _bare(main[0]) == "you" and _bare(main[1]) in _ALLOWED else 0
    return "" if pronoun or end - start < 2 else " ".join(main[start:end])


def _sentence(words: list[str]) -> tuple[list[str], bool]:
    """The words of the first sentence, and whether it ends among them."""
    for at, word in enumerate(words, start=1):
        ends = word.rstrip("*_\"')”")[-1:] in tuple(".!?") and not ABBREVIATION.search(word)
        if ends and balanced(words[:at]):
            return words[:at], True
    return words, len(words) < _LOOKED_AT


def _adverbial(words: Sequence[str]) -> int | None:
    """Where the main clause begins behind an adverbial one; None without any."""
    if _bare(words[0]) not in ADVERBIAL:
        return None
    for at in range(1, min(len(words), MAX_WORDS + 3)):
        if words[at - 1].endswith(",") and at > 1 and balanced(words[:at]):
            return at
    return len(words)


def _end(words: Sequence[str], ended: bool, beyond: int) -> int:
    """How many of the words are a phrase; 0 where none can be told."""
    whole = ended and len(words) > beyond and not is_weak(words[-1]) and _is_whole(words)
    if whole and len(words) <= _FEW:
        return len(words)
    good, joined = [], []
    for at in range(beyond + 1, min(len(words), MAX_WORDS + 1)):
        phrase = words[:at]
        if is_weak(words[at - 1]) or not _is_whole(phrase):
            continue
        strong = words[at - 1].endswith((",", ";", ":")) or words[at] in _DASHES
        if strong or _bare(words[at]) in _SUBORDINATE:
            if _borders(words, at):
                good.append(at)
                break
        elif _bare(words[at]) in _JOINS:
            joined += [at] if _joins(words, at) else []
        elif _borders(words, at):
            good.append(at)
    if whole and len(words) <= MAX_WORDS:
        good.append(len(words))
    short = max((at for at in good if at <= _FEW), default=0)
    if short and _said(words[:short]) <= _SAYS_LITTLE:
        short = max([short, *joined])
    return short or min(good, default=0) or max(joined, default=0)


def _borders(words: Sequence[str], at: int) -> bool:
    """Whether a phrase ends before the word at `at`."""
    last, following = _bare(words[at - 1]), _bare(words[at])
    mark = words[at - 1][-1]
    said = _said(words[:at])
    within = words[at][0] == "(" and words[at][-1] == ")" and at + 1 < len(words)
    if within and not is_weak(words[at + 1]):  # the phrase goes on: `relevant (SMART) goals`
        return False
    if mark in ";:" or (words[at][0] in "(–—" or words[at] in _DASHES):
        return said > 1 or words[0][0].isupper()
    if said < 2 and not (following in _FINITE and at == 1 and len(last) <= _SYMBOL):
        return False
    if mark == ",":
        return _goes_on(words, at)
    if last in WANTING:
        return False
    if last in _VAGUE and (following in _RELATIVE or following in ("to", "for")):
        return _SOME.isdisjoint(map(_bare, words[max(0, at - 4) : at]))
    if following in _RELATIVE:
        return last not in _TAKES_CLAUSE
    if following in _SUBORDINATE:
        return last not in _TAKES_CLAUSE and last[-2:] != "ly"
    if following in _FINITE:
        return _is_subject(words[:at])
    if following != "to" and following not in _PREPOSITIONS:
        return False
    before = _bare(words[at - 2]) if at > 1 else ""
    if before.endswith("ly") and at > 2:
        before = _bare(words[at - 3])
    return at >= _LEAST and before not in _BE and not last.endswith((*_QUALITIES, "ly"))


def _goes_on(words: Sequence[str], at: int) -> bool:
    """Whether what follows the comma before `at` is no further part of a list."""
    following = _bare(words[at])
    if following in _JOINS:
        return at >= _LEAST and not any(word.endswith(",") for word in words[: at - 1])
    if following in _APPOSED:
        rest = words[at : at + MAX_WORDS]
        return not any(_bare(word) in _JOINS for word in rest)
    alone = words[at].endswith(",") or (at + 1 < len(words) and _bare(words[at + 1]) in _JOINS)
    return not alone and (following in _AFTER_COMMA or following.endswith("ing"))


def _is_subject(phrase: Sequence[str]) -> bool:
    """Whether a phrase is what a sentence tells something of."""
    small = list(map(_bare, phrase))
    asks = small[0] in _ASKS or small[0] in _TAKES_CLAUSE or small[0] in _PRONOUNS
    return not asks and _FINITE.isdisjoint(small) and _CLAUSES_WITHIN.isdisjoint(small)


def _joins(words: Sequence[str], at: int) -> bool:
    """Whether a phrase is whole without what `and` adds to it."""
    last, phrase = _bare(words[at - 1]), words[:at]
    quality = last.endswith((*_QUALITIES, "ly")) or last in WANTING or "`" in words[at - 1]
    paired = any(_bare(word) in _PAIRING or word.endswith(",") for word in phrase)
    subject = not _CLAUSES_WITHIN.isdisjoint(map(_bare, phrase))
    return _LEAST <= at <= _FEW and _said(phrase) > 1 and not quality and not paired and not subject


def _said(phrase: Sequence[str]) -> int:
    """How many words of a phrase say something by themselves."""
    return sum(not is_weak(word) for word in phrase)


@lru_cache(maxsize=8192)
def is_weak(word: str) -> bool:
    """Whether a word says nothing by itself; names in code do."""
    bare = _bare(word)
    return "`" not in word and (bare in _WEAK or not any(map(str.isalnum, bare)))


def _is_whole(phrase: Sequence[str]) -> bool:
    """Whether a phrase is short enough, and has no open brackets and no open list."""
    if len(" ".join(phrase)) > _MAX_CHARACTERS or not balanced(phrase):
        return False
    commas = [at for at, word in enumerate(phrase, start=1) if word.endswith(",")]
    if not commas or commas[-1] == len(phrase):
        return len(commas) < 2 or _closed(phrase, commas[:-1])
    return _closed(phrase, commas)


def _closed(phrase: Sequence[str], commas: Sequence[int]) -> bool:
    """Whether the list that commas part comes to its end in a phrase."""
    behind = phrase[commas[-1] :]
    return _bare(behind[0]) in _AFTER_COMMA or any(_bare(word) in _JOINS for word in behind[:-1])


def balanced(phrase: Sequence[str]) -> bool:
    """Whether no bracket, quotation or code is open."""
    text = " ".join(phrase)
    return all(
        text.count(opening) == text.count(closing) for opening, closing in _PAIRS
    ) and not any(text.count(mark) % 2 for mark in ("`", '"', "**"))


@lru_cache(maxsize=8192)
def _bare(word: str) -> str:
    return word.lower().replace("’", "'").strip(".,;:!?\"'()*_`“”")
