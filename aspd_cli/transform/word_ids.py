"""The ids of a text put together from those of its words, each of which is encoded once.

The pieces of an answer share their words with each other and with other answers, and to look a
word up takes a tenth of the time of encoding it. That the ids are the same needs a tokenizer which
always parts a text where `_WORD` cuts it, whatever stands around: `parts_words` tells which do.
"""

import json
import re
from itertools import chain
from typing import Any

_WORD = re.compile(
    r"\s*+(?:[!-/:-@\[-`{-~]++(?= )"  # ASCII punctuation before a space
    r"|[^a-zA-Z0-9]*+[a-zA-Z0-9]*+(?:[^\x00-\x7f][^a-zA-Z0-9]*+[a-zA-Z0-9]*+)*+)"
)
"""Ends behind ASCII letters and digits before any other ASCII character, or with the text.

Characters beyond ASCII are never parted from what stands before them: they may compose with it.
"""

_MOST_WORDS = 50_000
"""New words after which those are forgotten that did not come again: 25 MB are held at most."""
_LONGEST = 48
"""Characters of a word that may come again: text without spaces is one long word."""

_QWEN_2, _LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    + digits
    + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for digits in (r"\p{N}", r"\p{N}{1,3}")
)
_GPT_2 = ("ByteLevel", False, True)
_MAPPED = ("ByteLevel", False, False)
_PARTS_WORDS = {
    (_GPT_2,),
    (("Digits",), _GPT_2),
    (("Split", _QWEN_2, False), _MAPPED),
    (("Split", _LLAMA_3, False), _MAPPED),
}
"""Pre-tokenizers of which no token holds an ASCII letter or digit and then another ASCII character,
nor ASCII punctuation and then a space, and which look no further than the next character."""


def parts_words(backend: Any) -> bool:
    """Whether a tokenizer of the `tokenizers` library encodes each `_WORD` on its own."""
    if backend.truncation or backend.padding or getattr(backend.model, "dropout", None):
        return False
    if backend.normalizer is not None and _state(backend.normalizer).get("type") != "NFC":
        return False
    added = backend.get_added_tokens_decoder().values()
    if any(t.lstrip or t.rstrip or t.single_word or t.normalized for t in added):
        return False
    state = _state(backend.pre_tokenizer)
    steps = state.get("pretokenizers", [state])
    return tuple(map(_kind, steps)) in _PARTS_WORDS


class WordIds(dict[str, list[int]]):
    """Encodes texts word by word; the words and their ids, as far as they are known.

    Args:
        backend: a tokenizer that `parts_words`.
    """

    def __init__(self, backend: Any) -> None:
        super().__init__()
        self._backend = backend
        self._before: dict[str, list[int]] = {}
        # No word cuts letters and digits; an added token of other characters may be cut.
        added = (token.content for token in backend.get_added_tokens_decoder().values())
        self._cut = re.compile("|".join(re.escape(t) for t in added if not t.isalnum()) or "(?!)")

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without those that a template puts around it."""
        if self._cut.search(text):
            return self._encode(text)
        return list(chain.from_iterable(map(self.__getitem__, _WORD.findall(text))))

    def __missing__(self, word: str) -> list[int]:
        ids = self._before.get(word) or self._encode(word)
        if len(word) <= _LONGEST:
            if len(self) == _MOST_WORDS:
                self._before = dict(self)
                self.clear()
            self[word] = ids
        return ids

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids


def _state(part: Any) -> dict[str, Any]:
    """How the library would write a part of a tokenizer; nothing of one that is missing."""
    try:
        return {} if part is None else dict(json.loads(part.__getstate__()))
    except Exception:  # of a part that is written in Python the library raises no error of its own
        return {}


def _kind(step: dict[str, Any]) -> tuple[Any, ...]:
    """What `_PARTS_WORDS` says of one step of a pre-tokenizer; its name alone of unknown ones."""
    match step:
        case {"type": "ByteLevel", "add_prefix_space": prefix, "use_regex": splits}:
            return ("ByteLevel", prefix, splits)
        case {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated"}:
            return ("Split", regex, step["invert"])
    return (step.get("type"),)
