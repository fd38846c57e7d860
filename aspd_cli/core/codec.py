"""Token ids: the six control tokens of a tokenizer, and text as pieces that can be appended."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from aspd_cli.core.markup import CONTROL_TOKENS, SEPARATOR
from aspd_cli.errors import DataError, ModelError

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
        """Raises `ModelError` when a control token is not in the vocabulary."""
        ids = _ids_of(tokenizer, CONTROL_TOKENS)
        if missing := [t for t in CONTROL_TOKENS if t not in ids]:
            raise ModelError(
                f"the tokenizer lacks the control tokens {' '.join(missing)}: add them and "
                "teach them to the model with `aspd train`, load an adapter that has them with "
                "--adapter, or decode with --plain"
            )
        return cls(*(ids[t] for t in CONTROL_TOKENS))


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

    Args:
        chat_template_kwargs: arguments of the chat template, such as `{"enable_thinking": False}`.
    """

    def __init__(
        self, tokenizer: Any, chat_template_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.chat_template_kwargs = dict(chat_template_kwargs or {})
        self.special = special_ids(tokenizer)
        """Ids that stand for no text."""
        unknown = tokenizer.unk_token_id
        self.guarded = self.special - ({unknown} - {tokenizer.eos_token_id})
        """Ids that data must not come to; unknown characters may come to the unknown token."""
        self._texts: dict[int, str] = {}
        special = tokenizer.convert_ids_to_tokens(sorted(self.special))
        self.literals = frozenset({*CONTROL_TOKENS, *special})
        """Texts that are special tokens, or would be if the tokenizer had them."""
        self._literals = any_of(self.literals)
        eos = tokenizer.eos_token
        self._head = [tokenizer.eos_token_id] if eos else _encode(tokenizer, "|")
        self._head_text = self._text(self._head)
        self._anchors = [
            anchor
            for anchor in [*([eos] if eos else []), "\n", "|"]
            if self.decode(self._after(anchor, "a b")) == "a b"
        ]
        names = {f"<0x{byte:02X}>": byte for byte in range(256)}
        self._bytes = {i: names[t] for t, i in _ids_of(tokenizer, names).items()}
        self._bare = self.decode(_encode(tokenizer, "a b")) == "a b"
        if not self._bare and not self._anchors:
            raise ModelError(
                f"{type(tokenizer).__name__} cannot encode text as a continuation: it makes "
                f"{self.decode(_encode(tokenizer, 'a b'))!r} of 'a b'"
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
        """The ids of one piece; control and other special tokens in it are plain text."""
        ids: list[int] = []
        for piece in self.cut(text):
            ids += self._unforged(piece, self.encode_rendered(piece))
        return ids

    def title_length(self, title: str) -> int:
        """The tokens of a title."""
        return len(self.encode(title))

    def encode_first(self, text: str) -> list[int]:
        """As `encode`, for a text before which nothing stands: it may get a space of its own."""
        head, *rest = self.cut(text) or [""]
        ids = self._unforged(head, _encode(self.tokenizer, head))
        return ids + [i for piece in rest for i in self.encode(piece)]

    def cut(self, text: str) -> list[str]:
        """`text` in pieces none of which holds a special token's text."""
        return cut_literals(text, self._literals)

    def _unforged(self, text: str, ids: list[int]) -> list[int]:
        """The `ids` of a text of data, or others where they hold a special token all the same.

        A normaliser may make one (`＜s＞` becomes `<s>`), and a model of whole words may know one.
        Halves are encoded apart until no half comes to a special token, so little is cut.
        """
        if self.guarded.isdisjoint(ids):
            return ids
        if len(text) > 1:
            halves = text[: len(text) // 2], text[len(text) // 2 :]
            return [i for half in halves for i in self._unforged(half, self.encode_rendered(half))]
        by_byte = {byte: i for i, byte in self._bytes.items()}
        if all(byte in by_byte for byte in text.encode()):
            return [by_byte[byte] for byte in text.encode()]
        if self.tokenizer.unk_token_id is not None:
            return [self.tokenizer.unk_token_id]
        raise DataError(f"the tokenizer has no token for {text!r} but a special one")

    def encode_rendered(self, text: str) -> list[int]:
        """The ids of a piece of a rendered chat template: special tokens in it are meant."""
        if self._bare:
            return _encode(self.tokenizer, text)
        for anchor in self._anchors:
            ids = self._after(anchor, text)
            if self._continuation(ids) == text:
                return ids
        return self._after(self._anchors[0], text)  # normalising tokenizers may change the text

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids that follow other tokens; special tokens are left out."""
        kept = [i for i in ids if i not in self.special]
        text = self._continuation(kept) if kept else ""
        return self._decode_bytes(kept) if REPLACEMENT in text and self._bytes else text

    def decode_one(self, token: int) -> str:
        """`decode` of a single id; what was asked once is known."""
        if token not in self._texts:
            self._texts[token] = self.decode([token])
        return self._texts[token]

    def _decode_bytes(self, ids: list[int]) -> str:
        """Byte tokens put together here: the libraries give up a whole run for one bad byte."""
        return "".join(
            bytes(self._bytes[i] for i in run).decode(errors="replace")
            if are_bytes
            else self._continuation(list(run))
            for are_bytes, run in groupby(ids, self._bytes.__contains__)
        )

    def _continuation(self, ids: list[int]) -> str:
        return self._text([*self._head, *ids])[len(self._head_text) :]

    def _text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def _after(self, anchor: str, text: str) -> list[int]:
        head, ids = _encode(self.tokenizer, anchor), _encode(self.tokenizer, anchor + text)
        return ids[len(head) :] if ids[: len(head)] == head else _encode(self.tokenizer, text)


def special_ids(tokenizer: Any) -> frozenset[int]:
    """The ids that stand for no text: EOS, padding, turn markers, control tokens."""
    added = {
        i
        for i, token in tokenizer.added_tokens_decoder.items()
        if token.special or token.content in CONTROL_TOKENS
    }
    return frozenset(tokenizer.all_special_ids) | added


def split_literals(text: str) -> list[str]:
    """`text` cut so that no piece holds a control token (`<|para|>` -> `<`, `|para|>`)."""
    return cut_literals(text, _CONTROL)


class StreamDecoder:
    """Turns the tokens of one lane into text as they come, and never emits half a character."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._pending: list[int] = []

    def push(self, token: int) -> str:
        """The text that `token` completes; empty while a character is incomplete."""
        self._pending.append(token)
        alone = len(self._pending) == 1
        text = self._codec.decode_one(token) if alone else self._codec.decode(self._pending)
        if text.endswith(REPLACEMENT):
            return ""
        self._pending.clear()
        return text

    def flush(self) -> str:
        """What is left at the end of the lane, incomplete characters as U+FFFD."""
        text = self._codec.decode(self._pending)
        self._pending.clear()
        return text


def _ids_of(tokenizer: Any, tokens: Iterable[str]) -> dict[str, int]:
    """The ids of those tokens that the vocabulary holds."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in tokens}
    unknown = (None, tokenizer.unk_token_id)
    return {token: i for token, i in ids.items() if i not in unknown}


def any_of(literals: Iterable[str]) -> re.Pattern[str]:
    """Finds the longest of some texts; those of one character cannot be cut and are left out."""
    longest_first = sorted((t for t in literals if len(t) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)))


_CONTROL = any_of(CONTROL_TOKENS)


def cut_literals(text: str, literals: re.Pattern[str]) -> list[str]:
    """The pieces of `text`, cut after the first character of every literal."""
    pieces, start, found = [], 0, literals.search(text)
    while found:
        cut = found.start() + 1
        pieces.append(text[start:cut])
        start, found = cut, literals.search(text, cut)
    return [*pieces, text[start:]] if text[start:] else pieces


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))
