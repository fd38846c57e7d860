"""Text from outside, made fit to be shown: without secrets, and without what a terminal obeys.

Servers, models, records and recipes say what they like. `redact` takes out what nobody else may
read, `printable` what would move a cursor, change a title or turn a line around. Both are applied
where text leaves the program for a person; what a server says is redacted as it comes, since it
goes into files as well.
"""

import base64
import json
import re
from typing import Any, TextIO
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "***"
"""What stands where a secret stood."""

_WHOLE = 8
"""Secrets with fewer characters are only found as whole words: they may be part of others."""
_LEAST = 6
"""Shorter ones, as in `OPENAI_API_KEY=none`, are words that stand in for a key."""

_NAME = (
    r"(?:(?:api|access|secret|private|subscription|account|service|auth)[-_ ]?key"
    r"|(?:access|auth|api|bearer|refresh|session|security|secret|private|id)[-_ ]?token"
    r"|(?:[a-z]+[-_])*(?:secret|password|passwd|pwd|authorization|credentials?))"
)
_BARE = r"(?:key|auth|sig|signature|token|cookie)"
"""Secret as the name of a setting; in a sentence they are words like others."""
_SECRET_NAME = re.compile(rf"(?:x-)?{_NAME}|{_BARE}", re.IGNORECASE)
_PATTERNS = (
    (re.compile(r"(?<=://)[^/?#\s]*@"), f"{HIDDEN}@"),
    (
        re.compile(
            rf"(\b{_NAME}\b[\"']?\s*[:=]\s*[\"']?)(?:(?:Bearer|Basic)\s+)?[^\s\"',&}}]+",
            re.IGNORECASE,
        ),
        rf"\g<1>{HIDDEN}",
    ),
    (re.compile(rf"([?&]{_BARE}=)[^\s\"'&#]+", re.IGNORECASE), rf"\g<1>{HIDDEN}"),
    (re.compile(r"\b(Bearer|Basic)\s+(?=\S*\d)[\w.~+/=-]{8,}"), rf"\g<1> {HIDDEN}"),
    (re.compile(r"\b(?:sk-|hf_|gsk_|xai-)[\w-]{8,}"), HIDDEN),
)
_CONTROL = re.compile(
    "\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a terminal obeys, what turns or ends a line, and halves of surrogate pairs."""

_known: dict[str, None] = {}
"""Secrets that this process has used, in every spelling in which they may come back."""


def keep_secret(value: str) -> None:
    """Has `redact` take out `value`, wherever it stands."""
    if len(value) >= _LEAST and value != HIDDEN:
        encoded = base64.b64encode(value.encode(errors="replace")).decode()
        quoted = quote(value, safe="", errors="replace")
        _known.update(dict.fromkeys((value, quoted, json.dumps(value)[1:-1], encoded)))


def redact(text: str) -> str:
    """`text` without secrets: those of `keep_secret`, and what looks like one."""
    for secret in sorted(_known, key=len, reverse=True):
        if secret in text:
            word = re.escape(secret)
            word = word if len(secret) >= _WHOLE else rf"(?<!\w){word}(?!\w)"
            text = re.sub(word, HIDDEN, text)
    return _without_patterns(text)


def printable(text: str) -> str:
    """`text` with escapes, such as \\x1b, for what is not to be seen; line ends and tabs stay."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shown(value: object) -> str:
    """`value` as text for a person."""
    return printable(redact(str(value)))


def excerpt(value: object, most: int = 200) -> str:
    """`value` as text for a person, in one line of at most so many characters."""
    text = shown(" ".join(str(value).split()))
    return text if len(text) <= most else text[: most - 3] + "..."


def without_secrets(value: Any, name: str = "") -> Any:
    """Settings with `HIDDEN` for each that is secret, by its name or by what it looks like."""
    if _SECRET_NAME.fullmatch(_words(name)) and isinstance(value, str | int | float | list | dict):
        return HIDDEN if not isinstance(value, bool) else value
    if isinstance(value, dict):
        return {key: without_secrets(each, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(each) for each in value]
    return _without_patterns(value) if isinstance(value, str) else value


def secrets_in(value: Any) -> list[str]:
    """The strings that `without_secrets` hides, wholly or in part."""
    if isinstance(value, dict):
        pairs = [(str(key), each) for key, each in value.items()]
    elif isinstance(value, list | tuple):
        pairs = [("", each) for each in value]
    else:
        return [value] if isinstance(value, str) and _without_patterns(value) != value else []
    found: list[str] = []
    for name, each in pairs:
        if _SECRET_NAME.fullmatch(_words(name)) and isinstance(each, str):
            found += [each, each.rpartition(" ")[2]]  # the token behind "Bearer", too
        else:
            found += secrets_in(each)
    return found


def secrets_of_url(url: str) -> list[str]:
    """User and password of an address, and the values of its query that are secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return []
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    found = [password or user, unquote(password or user)]
    for pair in parts.query.split("&"):
        name, _, value = pair.partition("=")
        if _SECRET_NAME.fullmatch(_words(unquote(name))):
            found += [value, unquote(value)]
    return found


def _words(name: str) -> str:
    """`apiKey` as `api_key`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)


def _without_patterns(text: str) -> str:
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


class PrintableOut:
    """A terminal that gets only what is printable.

    Args:
        out: the terminal.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        """As `TextIO.write`."""
        self._out.write(printable(text))
        return len(text)

    def flush(self) -> None:
        """As `TextIO.flush`."""
        self._out.flush()
