"""What models put around a reply: thoughts before it, a fence or a sentence around its JSON."""

import json
import re
from typing import Any

from aspd_cli.errors import ReplyError

_OPEN, _CLOSE = "<think>", "</think>"
_BRACKET = re.compile(r"[{\[]")
_MOST_STARTS = 200
"""Brackets of a reply that are tried as the begin of its JSON: each may cost a pass over it."""


def without_thoughts(reply: str) -> str:
    """`reply` without the `<think>` block that reasoning models on local servers put before it.

    Chat templates that open the block themselves leave only its end in the reply.
    """
    thoughts, close, rest = reply.partition(_CLOSE)
    opened = thoughts.lstrip().removeprefix(_OPEN)
    return rest.lstrip() if close and _OPEN not in opened else reply


def read_json(reply: str) -> Any:
    """The JSON object or array in a reply: the whole of it, or the longest one among other words.

    Raises:
        ReplyError: there is none.
    """
    try:
        whole = json.loads(reply)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, str):  # JSON that was encoded twice
        return read_json(whole)
    if isinstance(whole, dict | list):
        return whole
    decoder, best, longest, end = json.JSONDecoder(), None, 0, 0
    for _ in range(_MOST_STARTS):
        if (bracket := _BRACKET.search(reply, end)) is None:
            break
        try:
            value, end = decoder.raw_decode(reply, bracket.start())
        except (ValueError, RecursionError):
            end = bracket.end()
            continue
        if end - bracket.start() > longest:
            best, longest = value, end - bracket.start()
    if best is None:
        raise ReplyError("the reply holds no JSON")
    return best
