"""Dependence: whether a branch refers to a neighbour that it would not see.

`cross_reference` is the one test, used to propose blocks and to validate them. It reads words, so
it errs on the side of finding something: a block that is refused costs speed, one that is not
costs quality.
"""

import re

from aspd_cli.transform import foreign
from aspd_cli.transform.groups import ORDINAL
from aspd_cli.transform.sharing import Branches, Reference, shared_thing

_START = re.compile(
    r"\W*(?:then|next|after (?:that|this|which)|afterwards?|subsequently|meanwhile|lastly|finally"
    r"|also(?! (?:known|called))|another|additionally|furthermore|moreover|similarly|likewise"
    r"|in addition|in contrast|by contrast|on the other hand|however|conversely|nevertheless"
    r"|nonetheless|instead|otherwise|thus|therefore|hence|consequently|accordingly|because of that"
    r"|as a (?:result|consequence)|because of this|due to (?:this|that)|for this reason"
    r"|the former(?= (?:is|are|was|were|has|can))|the latter|same|as such|more generally"
    r"|in other words|that is|in particular|(?:the|an) other|others?|and|but|so|or|yet"
    r"|as (?:above|before|well)|plus|again|this time|with (?:this|that|these)|from (?:there|here)"
    r"|at this point|by this time|now|later|eventually"
    r"|once (?:you|the|your|it|this|that|these|they|all|everything)"
    r"|these (?:two|three|four)|suddenly"
    r"|the (?:resulting|remaining|previous|next|following) )\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"\W*(?:it|its|they|their|them|he|she|his|her|this|that|these|those|such|both)\b(?! to\b)",
    re.IGNORECASE,
)
_ALSO = re.compile(r"[^.!?\n]*\b(?:also(?! (?:known|called))\b|(?:too|as well)(?=[.,;]))", re.I)
"""In the first sentence of a branch without a label: what is there besides something else."""
_PARTS = (
    r"(?:steps?|sections?|points?|items?|paragraphs?|examples?|results?|values?|equations?|answers?"
    r"|questions?|lines?|parts?|chapters?|methods?|options?|suggestions?|tips?|cases?|layers?"
    r"|approach(?:es)?|bullets?|terms?|ones?|two)"
)
_ANYWHERE = re.compile(
    r"\b(?:the latter|aforementioned|above-mentioned|(?:all of |all )?the above"
    r"|(?:as|see|the|listed|mentioned|described|discussed|noted|stated|shown|given) "
    r"(?:above|earlier|before|previously)|(?:mentioned|discussed|described|listed) below"
    r"|as (?:mentioned|noted|stated|discussed|described|explained|previously)"
    rf"|(?:the|this|that|its|in|from) previous (?:\w+ )?{_PARTS}"
    r"|(?:preceding|foregoing|last|next|other|following|second|third) "
    r"(?:step|section|point|item|bullet|paragraph|equation|tip|option|method|approach)s?(?= )"
    r"|(?:steps?|sections?|points?|items?|tips?|options?|parts?|equations?|figures?"
    r"|phases?|claims?) "
    r"#?\(?\d+|unlike the (?:others?|first|second|previous)|the other (?:two|three|four|\w+s)"
    r"|this (?:result|step|equation|formula|value|sum)|the same (?:as|process|procedure|steps?|way)"
    r"|repeat (?:the|this|steps?))\b",
    re.IGNORECASE,
)
_EQUATION = re.compile(
    r"[\w)\]}] ?(?:=|≈|\\approx|\\leq?|\\geq?) ?[\w($\\{\[-]|\\\[|\\\(|\\frac|\$\$"
)
_WORD = re.compile(r"[^\W_]+")
_GAP = re.compile(r"[\W_]*")
_AFTER_LABEL = re.compile(r"[^\w\n]*(?:[:*\n]|[-–—](?=\s))[^\w\n]*\s*")
"""What stands between a label and its text; without it the title begins a sentence."""
_MARKER = re.compile(
    r"\s*(?:#{1,6}\s+|\d{1,3}(?:[.)]\s+|[、．]\s*)|[-*+•●▪–]\s+"
    r"|第?[一二三四五六七八九十]{1,3}[、，：．]\s*|[（(][\d一二三四五六七八九十]{1,3}[)）]\s*)?"
)
_HINTS = (
    *("latter", "aforementioned", "above", "earlier", "before", "previous", "below", "mentioned"),
    *(
        "as noted",
        "as stated",
        "as discussed",
        "as described",
        "as explained",
        "preceding",
        "repeat",
    ),
    *("foregoing", "step", "section", "point", "item", "bullet", "paragraph", "equation", "tip"),
    *(
        "option",
        "method",
        "approach",
        "part",
        "figure",
        "phase",
        "claim",
        "unlike the",
        "the other ",
    ),
    *("this result", "this formula", "this value", "this sum", "the same "),
)
"""One of these stands in whatever `_ANYWHERE` finds: looking for them first takes a tenth of it."""


def cross_reference(branches: Branches, given: str = "") -> Reference | None:
    """The first branch that refers to a neighbour; None when none does.

    Args:
        branches: title and plain content of each branch, markers such as "2. **Label**:" included.
        given: what all branches see, the prompt and the text before the block.
    """
    items = [_MARKER.sub("", content, count=1) for _, content in branches]
    ordinals = [ORDINAL.match(item) for item in items]
    if sum(found is not None for found in ordinals) > 1:
        # In a row of ordinals "finally" is one of them.
        items = [
            item[found.end() :] if found else item
            for item, found in zip(items, ordinals, strict=True)
        ]
    other = foreign.is_foreign(content for _, content in branches)
    bodies = [_body(title, item) for (title, _), item in zip(branches, items, strict=True)]
    labelled = [body != item for body, item in zip(bodies, items, strict=True)]
    # Where the first item begins with a pronoun too, it stands for what the text before names.
    shared = _PRONOUN.match(bodies[0]) is not None
    for at, ((_, content), body) in enumerate(zip(branches, bodies, strict=True)):
        if at and (found := _START.match(body)):
            return Reference(at, f"begins with {_quote(found[0])}")
        if at and not shared and not labelled[at] and (found := _PRONOUN.match(body)):
            return Reference(at, f"begins with {_quote(found[0])}")
        if at and not labelled[at] and _ALSO.match(body):
            return Reference(at, "says that something is so, too")
        if other and at and (found := foreign.START.match(body)):
            return Reference(at, f"begins with {_quote(found[0])}")
        if found := _anywhere(content, other):
            return Reference(at, f"says {_quote(found[0])}")
    equations = [at for at, (_, content) in enumerate(branches) if _holds_equation(content)]
    if len(equations) > 1:
        return Reference(equations[1], "holds an equation, as another branch does")
    return shared_thing(branches, labelled, given)


def _holds_equation(content: str) -> bool:
    marked = "=" in content or "≈" in content or "\\" in content or "$$" in content
    return marked and _EQUATION.search(content) is not None


def _anywhere(content: str, other: bool) -> re.Match[str] | None:
    small = content.lower()
    found = _ANYWHERE.search(content) if any(hint in small for hint in _HINTS) else None
    return found or (foreign.ANYWHERE.search(content) if other else None)


def _quote(words: str) -> str:
    return repr(" ".join(words.split()).lower())


def _body(title: str, content: str) -> str:
    """The content, and where it begins with its title as a label, what follows the label."""
    at = 0
    for word in _WORD.findall(title):
        at += len(_GAP.match(content, at)[0])  # type: ignore[index]
        if not content.startswith(word, at):
            return content
        at += len(word)
    after = _AFTER_LABEL.match(content, at)
    return content[after.end() :] if after else content
