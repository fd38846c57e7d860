"""Dependence: whether a branch refers to a neighbour that it would not see.

`cross_reference` is the one test, used to propose blocks and to validate them. It reads words, so
it errs on the side of finding something: a block that is refused costs speed, one that is not
costs quality.
"""

import re

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
    r"|(?:steps?|sections?|points?|items?|tips?|options?|parts?|equations?|figures?|phases?) "
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
_MARKER = re.compile(r"\s*(?:#{1,6}\s+|\d{1,3}[.)]\s+|[-*+•●▪–]\s+)?")


def cross_reference(branches: Branches, given: str = "") -> Reference | None:
    """The first branch that refers to a neighbour; None when none does.

    Args:
        branches: title and plain content of each branch, markers such as "2. **Label**:" included.
        given: what all branches see, the prompt and the text before the block.
    """
    items = [_MARKER.sub("", content, count=1) for _, content in branches]
    bodies = [_body(title, item) for (title, _), item in zip(branches, items, strict=True)]
    labelled = [body != item for body, item in zip(bodies, items, strict=True)]
    # Where the first item begins with a pronoun too, it stands for what the text before names.
    shared = _PRONOUN.match(bodies[0]) is not None
    for at, ((_, content), body) in enumerate(zip(branches, bodies, strict=True)):
        if at and (found := _START.match(body)):
            return Reference(at, f"begins with {_quote(found[0])}")
        if at and not shared and not labelled[at] and (found := _PRONOUN.match(body)):
            return Reference(at, f"begins with {_quote(found[0])}")
        if found := _ANYWHERE.search(content):
            return Reference(at, f"says {_quote(found[0])}")
    equations = [at for at, (_, content) in enumerate(branches) if _EQUATION.search(content)]
    if len(equations) > 1:
        return Reference(equations[1], "holds an equation, as another branch does")
    return shared_thing(branches, labelled, given)


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
