"""Fallbacks: what is done when whatever the other items say did not help."""

import re

FALLBACK = "is for when others fail"
"""Why such an item needs those before it."""
_TROUBLE = (
    r"(?:it|they|this|that|these|all else|everything|(?:\w+ )?(?:problem|issue|trouble|difficulty"
    r"|difficultie|pain|ache|headache|symptom|error|fault|bug|leak|noise|conflict|condition"
    r"|situation|behaviou?r|repair|attempt)s?)"
)
_BEGINS = re.compile(
    r"\W*if (?:(?:the|your|their|these|all|any|any of|none of) )?(?:(?:\w+ ){0,2}?(?:still\b"
    rf"|persists?\b|no \w+ (?:is|was|can be) found\b)|{_TROUBLE} (?:continues?|remains?|worsens?"
    r"|fails?|(?:does|do|did)(?: not|n't) (?:improve|help|work|subside|resolve))\b|none of\b)",
    re.IGNORECASE,
)


def is_fallback(text: str) -> bool:
    """Whether a text begins with the case that trouble goes on."""
    return _BEGINS.match(text) is not None
