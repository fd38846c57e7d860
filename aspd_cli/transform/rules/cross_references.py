"""Cross references: whether a branch refers to a neighbour that it would not see.

`cross_references` is the one test, used to propose blocks and to validate them. It looks for words
that point at a neighbour or measure by it, and for what only a neighbour introduces
(`shared_things`). Titles are no such thing, for every branch sees all of them. It reads words, so
it errs on the side of finding something: a list that is split costs speed, one that is not costs
quality.
"""

import re
from collections.abc import Iterator, Sequence

from aspd_cli.transform.rules import languages
from aspd_cli.transform.rules.additions import additions
from aspd_cli.transform.rules.fallbacks import FALLBACK, is_fallback
from aspd_cli.transform.rules.introduced import introduced_things
from aspd_cli.transform.rules.lists import ORDINAL
from aspd_cli.transform.rules.shared_things import (
    Branches,
    Reference,
    holds_equation,
    shared_things,
)
from aspd_cli.transform.rules.words import WORD, words_of

MAX_COMPARED = 256
"""Most branches that are compared, each with all others."""
HOLDS_EQUATION = "holds an equation, as another branch does"
REACH = 20_000
"""Characters, at the beginning and at the end, of the text before a block that are looked at."""

_START = re.compile(
    r"\W*(?:then|next|again(?=,)|after (?:that|this|which)|afterwards?|subsequently|meanwhile"
    r"|also(?! (?:known|called))|another|additionally|furthermore|moreover|similarly|likewise"
    r"|in addition(?! to)|in contrast|by contrast|on the other hand|however|conversely|nevertheless"
    r"|nonetheless|instead(?! of)|otherwise|consequently|accordingly|because of that"
    r"|as a (?:result|consequence),|the former(?= (?:is|are|was|were|has|can))|the latter"
    r"|th(?:is|at) explains (?:why|how)|th(?:is|at)(?:'s| is) why"
    r"|more generally|in other words|(?:the|an) other|others|and|but"
    r"|as (?:above|before)|from (?:there|here)|at this point|by this time|eventually"
    r"|once (?:this|that|these|all of|everything|inside|you|your|the|we|it|they)"
    r"|these (?:two|three|four)|suddenly|(?:below|above|inside|beside) (?:that|this|it)"
    r"|the (?:resulting|remaining|previous) )\b",
    re.IGNORECASE,
)
"""How a branch begins that goes on with another one."""
_END = re.compile(r"\W*(?:finally|lastly)\b", re.IGNORECASE)
"""The last branch may say so: all see how many there are."""
_START_BARE = re.compile(
    r"\W*(?:(?:it|its|they|their|them|he|she|his|her|this|that|these|those|such|both)\b(?! to\b)"
    r"|(?:thus|therefore|hence|because of this|due to (?:this|that)|for this reason|same|as such"
    r"|that is|in particular|so|or|yet|as well|plus|again|this time|with (?:this|that|these)|now"
    r"|later|once (?:you|the|your|it|they)|the following "
    r"|(?:during|after|before|at) (?:this|that)\b"
    r"|(?:explain|state|note|show|describe|mention|argue|conclude) (?:that|why|how) (?:this|these"
    r"|it|they))\b)",
    re.IGNORECASE,
)
"""The same of a branch without a label, which could stand for what the words point at."""
_SO = re.compile(r"\W*(?:therefore|thus|hence|consequently)\b", re.IGNORECASE)
"""How even the label of a branch begins that is drawn from others."""
_EMPHASIS = re.compile(r"\*\*|__|[*_\"]")
"""What stands on both sides of a name."""
_ALSO = re.compile(r"[^.!?\n]*\b(?:also(?! (?:known|called))\b|(?:too|as well)(?=[.,;]))", re.I)
"""In the first sentence of a branch without a label: what is there besides something else."""
_PARTS = (
    r"(?:step|section|point|item|bullet|paragraph|tip|option|method|approach|equation|part|claim)s?"
)
_BACK = re.compile(
    r"\b(?:the latter|again!?(?=\))|the (?:obtained|resulting|previously)|all (?:of )?(?:these"
    r"|those) (?:\w+ )?(?:components"
    r"|steps|elements|factors|features|pieces|parts|aspects|points)|aforementioned|above-mentioned"
    r"|(?:all of |all )?the above"
    r"|(?:as|see|the|listed|mentioned|described|discussed|noted|stated|shown|given) "
    r"(?:above|earlier|before|previously)"
    r"|as (?:mentioned|noted|stated|discussed|described|explained|previously)"
    rf"|(?:the|this|that|in|from) (?:previous|preceding|foregoing|last) (?:\w+ )?{_PARTS}"
    r"|(?:unlike|than|compared (?:to|with)|like) the (?:others?|rest|first|second|previous"
    r"|former)\b"
    r"|the other (?:two|three|four|(?:options|plans|methods|approaches|candidates|models)\b)"
    r"|(?:using|from|into) this (?:result|equation|formula|value|sum)"
    r"|the same (?:process|procedure|steps)|same as (?:above|before)"
    r"|repeat (?:the|this|these) (?:process|procedure|steps?))\b",
    re.IGNORECASE,
)
_AGAIN = re.compile(r"(?:[.!?:][*\"”)]*\s+|\()again,", re.IGNORECASE)
"""A sentence that says what was said before."""
_CODE = re.compile(
    r"\s*(?:code|snippet|example|command|function|script|query|代码|示例|例子|命令|函数|程序|脚本)",
    re.I,
)
_SAID_BEFORE = 400
"""Characters of a branch behind which it may have said so itself."""
_AHEAD = re.compile(
    r"\b(?:(?:mentioned|discussed|described|listed|see) below|(?:the|in the) next "
    rf"{_PARTS}(?= )|(?:in|from|of|see|by|to|with|after|and|or|than|repeat|until) "
    rf"{_PARTS} #?\(?\d{{1,2}}\b)",
    re.IGNORECASE,
)
"""What points at a neighbour that may come later."""
_HINTS = frozenset(
    "latter again obtained resulting aforementioned above earlier before previous previously last "
    "preceding foregoing below mentioned noted stated discussed described explained repeat "
    "next".split()
)
_NUMBERS = frozenset("two three four".split())
_RANKS = frozenset("other others rest first second previous former".split())
_PARTS_OF_IT = frozenset(
    f"{part}{s}"
    for part in "step section point item bullet paragraph tip option method approach equation part "
    "claim".split()
    for s in ("", "s")
)
_PAIRS = (
    (frozenset(("all",)), frozenset(("these", "those"))),
    (frozenset(("unlike", "than", "compared", "like")), _RANKS),
    (
        frozenset(("other",)),
        _NUMBERS | frozenset("options plans methods approaches candidates models".split()),
    ),
    (frozenset(("same",)), frozenset("process procedure steps".split())),
    (frozenset(("this",)), frozenset("result equation formula value sum".split())),
    (_PARTS_OF_IT, frozenset(map(str, range(100)))),
)
"""One of the hints, or one word of each half of a pair, is in whatever `_BACK` and `_AHEAD` find:
looking for them first is quicker."""
_MEASURES = frozenset("twice half double triple times".split())
_MEASURES_PAIRS = (
    (frozenset(("only",)), frozenset("one option plan model".split())),
    (frozenset(("of",)), _NUMBERS | frozenset("five six seven bunch lot".split())),
    (frozenset(("than",)), _RANKS | frozenset(("either", "both"))),
)
"""The same for `_MEASURED`."""
_FACTOR = r"(?:twice|half|double|triple|(?:two|three|four|five|six|ten|\d+) times)"
_MEASURED = re.compile(
    rf"\b(?:{_FACTOR} as (?:much|many|\w+)\b(?! (?:\w+ )?as\b)|(?:twice|double|triple"
    rf"|\w+ times) the (?:data|price|cost|speed"
    r"|storage|size|amount|number|space)\b(?! of)|the only (?:one|option|plan|model)\b"
    r"|of (?:the|these|all) (?:two|three|four|five|six|seven|bunch|lot)\b(?! \w+s\b)"
    r"|(?:more|less|fewer|cheaper|faster|better|larger|smaller|\w+ier) than (?:the (?:first|second"
    r"|previous"
    r"|other|others)|either|both)\b)",
    re.IGNORECASE,
)
"""What is told by the measure of a neighbour."""
_GAP = re.compile(r"[\W_]*")
_AFTER_LABEL = re.compile(r"(?:</(?:b|strong)>)?[^\w\n]*(?:[:：\n|]|\.\*\*|[-–—](?=\s))[^\w\n]*\s*")
"""What stands between a label and its text; without it the title begins a sentence."""
_MARKER = re.compile(
    r"\s*(?:#{1,6}\s+(?:\d{1,3}[.)]\s+)?|(?:\*\*|__)\d{1,3}[.)]\s*"
    r"|\d{1,3}(?:[.)]\s*|[、．]\s*|\ufe0f?\u20e3\s*)|[-*+•●▪–]\s+(?:\[[ xX]\]\s+)?"
    r"|[(（]?[A-Za-z][)]\s+|[IVXivx]{1,5}[.)]\s+|[①-⑳]\s*|<li>(?:<b>|<strong>)?|\|\s*"
    r"|[^\w\s\"'*(\[]\S{0,4}\s+|第?[一二三四五六七八九十]{1,3}[、，：．]\s*|[（(][\d一二三四五六七八九十]{1,3}[)）]\s*)?"
)


def cross_reference(branches: Branches, given: str = "") -> Reference | None:
    """The first branch that refers to a neighbour; None when none does.

    Args:
        branches: title and plain content of each branch, markers such as "2. **Label**:" included.
        given: what all branches see, the prompt and the text before the block.
    """
    return next(iter(cross_references(branches, given)), None)


def cross_references(branches: Branches, given: str = "") -> list[Reference]:
    """The branches that refer to a neighbour, in their order, each with its first reference."""
    if len(branches) > MAX_COMPARED:
        reason = f"is one of more than {MAX_COMPARED}, too many to compare"
        return [Reference(at, reason, alone=True) for at in range(len(branches))]
    given = within_reach(given)
    items = [_MARKER.sub("", content, count=1) for _, content in branches]
    ordinals = [ORDINAL.match(item) for item in items]
    if sum(found is not None for found in ordinals) > 1:
        # In a row of ordinals "finally" is one of them.
        items = [
            item[found.end() :] if found else item
            for item, found in zip(items, ordinals, strict=True)
        ]
    bodies = [_body(title, item) for (title, _), item in zip(branches, items, strict=True)]
    labelled = [body != item for body, item in zip(bodies, items, strict=True)]
    found = {
        reference.branch: reference
        for reference in (
            *additions(branches, bodies, given),
            *introduced_things(branches, bodies, given),
            *shared_things(branches, bodies, labelled, given),
            *_equations(branches),
            *_words(branches, bodies, labelled),
        )
    }
    return [found[at] for at in sorted(found)]


def _words(
    branches: Branches, bodies: Sequence[str], labelled: Sequence[bool]
) -> Iterator[Reference]:
    other = languages.is_foreign(content for _, content in branches)
    # Where the first item begins with a pronoun too, it stands for what the text before names.
    shared = _pronoun(bodies[0], other) is not None
    last = len(branches) - 1
    for at, ((title, content), body) in enumerate(zip(branches, bodies, strict=True)):
        words = words_of(content)
        if found := _ahead(content, words):
            yield Reference(at, f"says {_quote(found[0])}", alone=True)
        if not at:
            continue
        begins = _SO.match(title) or _START.match(body)
        begins = begins or (other and languages.START.match(body)) or None
        if not begins and at < last:
            begins = _END.match(body) or (other and languages.END.match(body)) or None
        if not begins and not shared and not labelled[at] and not _is_named(title, body):
            begins = _pronoun(body, other)
        if begins:
            yield Reference(at, f"begins with {_quote(begins[0])}")
        elif "if" in words and is_fallback(body):
            yield Reference(at, FALLBACK)
        elif (not labelled[at] and _ALSO.match(body)) or (other and languages.ALSO.match(body)):
            yield Reference(at, "says that something is so, too")
        elif found := _back(content, words, other):
            yield Reference(at, f"says {_quote(found[0])}")


def _is_named(title: str, body: str) -> bool:
    """Whether the body begins with its title as a name, such as **He Got Game** (1998)."""
    found = _EMPHASIS.match(body)
    return found is not None and body.startswith(title + found[0], found.end())


def _pronoun(body: str, other: bool) -> re.Match[str] | None:
    return _START_BARE.match(body) or (languages.PRONOUN.match(body) if other else None)


def _equations(branches: Branches) -> Iterator[Reference]:
    holding = [at for at, (_, content) in enumerate(branches) if holds_equation(content)]
    for at in holding[1:]:
        yield Reference(at, HOLDS_EQUATION)


def within_reach(given: str) -> str:
    """The beginning and the end of a long text, so that many blocks do not read it all again."""
    return given if len(given) <= 2 * REACH else given[:REACH] + "\n" + given[-REACH:]


def _ahead(content: str, words: frozenset[str]) -> re.Match[str] | None:
    return _AHEAD.search(content) if _may_hold(words, _HINTS, _PAIRS) else None


def _back(content: str, words: frozenset[str], other: bool) -> re.Match[str] | None:
    found = _BACK.search(content) if _may_hold(words, _HINTS, _PAIRS) else None
    if found is None and "again" in words:
        found = _AGAIN.search(content, 0, _SAID_BEFORE)
    if found is None and _may_hold(words, _MEASURES, _MEASURES_PAIRS):
        found = _MEASURED.search(content)
    found = found or (languages.ANYWHERE.search(content) if other else None)
    return None if found and _points_at_own_code(content, found) else found


def _points_at_own_code(content: str, found: re.Match[str]) -> bool:
    """Whether what is pointed at is code that the branch has shown itself."""
    shown = content.find("```", 0, found.start())
    return shown >= 0 and _CODE.match(content, found.end()) is not None


def _may_hold(
    words: frozenset[str],
    hints: frozenset[str],
    pairs: Sequence[tuple[frozenset[str], frozenset[str]]],
) -> bool:
    if not words.isdisjoint(hints):
        return True
    return any(not (words.isdisjoint(one) or words.isdisjoint(other)) for one, other in pairs)


def _quote(words: str) -> str:
    return repr(" ".join(words.split()).lower())


def _body(title: str, content: str) -> str:
    """The content, and where it begins with its title as a label, what follows the label."""
    at = 0
    for word in WORD.findall(title):
        at += len(_GAP.match(content, at)[0])  # type: ignore[index]
        if not content.startswith(word, at):
            return content
        at += len(word)
    after = _AFTER_LABEL.match(content, at)
    return content[after.end() :] if after else content
