"""Token ids: the six control tokens of a tokenizer, and text as pieces that can be appended."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

from aspd_cli.core.markup import CONTROL_TOKENS, SEPARATOR
from aspd_cli.errors import ModelError

REPLACEMENT = "\ufffd"
"""What a decoder writes for bytes that are not (yet) a character."""


@dataclass(frozen=True, slots=True)
class ControlIds:
    """The ids of the six control tokens, in the order of `CONTROL_TOKENS`."""

    branch: int
    branch_end: int
    title: int
    title_end: int
    para: int
    para_end: int

    def __iter__(self) -> Iterator[int]:
        return iter(astuple(self))

    @classmethod
    def of(cls, tokenizer: Any) -> "ControlIds":
        """Raises `ModelError` when a control token is not exactly one token."""
        missing = [t for t in CONTROL_TOKENS if len(_encode(tokenizer, t)) != 1]
        if missing:
            raise ModelError(
                f"the tokenizer does not hold the control tokens {' '.join(missing)}: add them and teach "
                "them to the model with `aspd train`, load an adapter that has them with --adapter, or "
                "decode with --plain"
            )
        return cls(*(_encode(tokenizer, t)[0] for t in CONTROL_TOKENS))


def add_control_tokens(tokenizer: Any) -> int:
    """Adds the six control tokens that are missing, in order; returns how many were added."""
    from tokenizers import AddedToken

    tokens = [AddedToken(t, normalized=False, special=True) for t in CONTROL_TOKENS]
    return int(tokenizer.add_tokens(tokens, special_tokens=True))


class Codec:
    """Encodes text as a continuation of other tokens, and decodes ids as a continuation.

    Tokenizers of the SentencePiece kind put a space before the first word of whatever they encode
    and drop it when they decode. A piece in the middle of an answer must not gain or lose one, so
    both directions go through an anchor: something that stands before the piece and is cut off.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._anchor_id: int | None = tokenizer.eos_token_id
        self._special = special_ids(tokenizer)
        anchors = [tokenizer.eos_token] if tokenizer.eos_token else []
        self._anchors = [
            anchor
            for anchor in [*anchors, "\n", "|"]
            if self.decode(self._after(anchor, "a b")) == "a b"
        ]
        self._bare = self.decode(_encode(tokenizer, "a b")) == "a b"
        if not self._bare and not self._anchors:
            raise ModelError(
                f"{type(tokenizer).__name__} cannot encode text as a continuation: its decoding of 'a b' is "
                f"{self.decode(_encode(tokenizer, 'a b'))!r}"
            )

    @cached_property
    def control(self) -> ControlIds:
        """Raises `ModelError` when the tokenizer lacks a control token."""
        return ControlIds.of(self.tokenizer)

    @cached_property
    def separator(self) -> list[int]:
        """The forced `": "` between a branch's title and its content, encoded on its own."""
        return self.encode(SEPARATOR)

    def encode(self, text: str) -> list[int]:
        """The ids of one piece, without special tokens; control tokens in it are plain text."""
        ids: list[int] = []
        for piece in split_literals(text):
            ids += self._encode_piece(piece)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids that follow other tokens; special tokens are left out."""
        kept = [i for i in ids if i not in self._special]
        if not kept:
            return ""
        if self._anchor_id is None:
            return str(self.tokenizer.decode(kept, clean_up_tokenization_spaces=False))
        text = self.tokenizer.decode([self._anchor_id, *kept], clean_up_tokenization_spaces=False)
        return str(text)[len(self.tokenizer.eos_token) :]

    def _encode_piece(self, text: str) -> list[int]:
        if self._bare:
            return _encode(self.tokenizer, text)
        for anchor in self._anchors:
            ids = self._after(anchor, text)
            if self.decode(ids) == text:
                return ids
        return self._after(self._anchors[0], text)  # normalising tokenizers may change the text

    def _after(self, anchor: str, text: str) -> list[int]:
        head, ids = _encode(self.tokenizer, anchor), _encode(self.tokenizer, anchor + text)
        return ids[len(head) :] if ids[: len(head)] == head else _encode(self.tokenizer, text)


def special_ids(tokenizer: Any) -> frozenset[int]:
    """The ids that stand for no text: EOS, padding, turn markers, control tokens."""
    added = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(tokenizer.all_special_ids) | added


def split_literals(text: str) -> list[str]:
    """`text` cut inside every control token, so that no piece holds one (`<|para|>` -> `<`, `|para|>`)."""
    pieces, rest = [], text
    while True:
        found = min((at for t in CONTROL_TOKENS if (at := rest.find(t)) >= 0), default=-1)
        if found < 0:
            return [*pieces, rest] if rest else pieces
        pieces.append(rest[: found + 1])
        rest = rest[found + 1 :]


class StreamDecoder:
    """Turns the tokens of one lane into text as they come, and never emits half a character."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.ids: list[int] = []
        self._start = self._read = 0  # ids[_start:_read] is context whose text was emitted

    def push(self, token: int) -> str:
        """The text that `token` completes; empty while a character is incomplete."""
        self.ids.append(token)
        return self._emit(final=False)

    def flush(self) -> str:
        """What is left at the end of the lane, incomplete characters as U+FFFD."""
        return self._emit(final=True)

    def _emit(self, *, final: bool) -> str:
        before = self.codec.decode(self.ids[self._start : self._read])
        after = self.codec.decode(self.ids[self._start :])
        if after.endswith(REPLACEMENT) and not final:
            return ""
        self._start, self._read = self._read, len(self.ids)
        return after[len(before) :]


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))
