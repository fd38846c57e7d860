"""Tokens: text survives being cut into pieces, and control tokens stay what they are."""

import re
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from aspd_cli.core.codec import (
    Codec,
    ControlIds,
    StreamDecoder,
    add_control_tokens,
    special_ids,
    split_literals,
)
from aspd_cli.core.markup import CONTROL_TOKENS
from aspd_cli.errors import ModelError
from tests import make
from tests.core.strategies import STABLE_TEXTS, TEXTS

every_kind = pytest.mark.parametrize("kind", make.KINDS)


@cache
def codec(kind: str) -> Codec:
    return Codec(make.tokenizer(kind, "chatml"))


WIDE = st.characters(min_codepoint=0x2600, max_codepoint=0x1FAFF, exclude_categories=["Cs"])
"""Characters of three and four bytes: Chinese, Korean, symbols, emoji."""

LITERALS = st.sampled_from([*CONTROL_TOKENS, "<|im_end|>", "<s>", "</s>", "<bos>", "<eos>"])
"""Control tokens and other special tokens of some of the tokenizers, as text."""


@every_kind
@given(text=TEXTS)
def test_text_survives_encoding(kind: str, text: str) -> None:
    assert codec(kind).decode(codec(kind).encode(text)) == make.KINDS[kind](text)


@every_kind
@given(pieces=st.lists(STABLE_TEXTS, max_size=5))
def test_pieces_encoded_apart_stand_together(kind: str, pieces: list[str]) -> None:
    ids = [i for piece in pieces for i in codec(kind).encode(piece)]
    assert codec(kind).decode(ids) == "".join(pieces)


@every_kind
@given(texts=st.lists(STABLE_TEXTS | LITERALS, min_size=1, max_size=6))
def test_special_tokens_in_text_are_text(kind: str, texts: list[str]) -> None:
    text = "".join(texts)
    ids = codec(kind).encode(text)
    assert not set(ids) & special_ids(codec(kind).tokenizer)
    assert codec(kind).decode(ids) == make.KINDS[kind](text)


@given(st.lists(TEXTS | st.sampled_from(CONTROL_TOKENS), max_size=6).map("".join))
def test_cutting_literals_loses_nothing_and_leaves_none(text: str) -> None:
    pieces = split_literals(text)
    assert "".join(pieces) == text
    assert all(pieces)
    assert not any(token in piece for token in CONTROL_TOKENS for piece in pieces)
    assert len(pieces) <= 1 + sum(text.count(token) for token in CONTROL_TOKENS)


@every_kind
@given(text=STABLE_TEXTS | st.text(WIDE))
def test_a_stream_says_what_the_whole_says_and_never_half_a_character(kind: str, text: str) -> None:
    stream = StreamDecoder(codec(kind))
    ids = codec(kind).encode(text)
    shown = [stream.push(token) for token in ids]
    assert "".join(shown) + stream.flush() == codec(kind).decode(ids)
    if "\ufffd" not in text:
        assert "\ufffd" not in "".join(shown)
        assert "".join(shown) == codec(kind).decode(ids)


@every_kind
@given(data=st.data())
def test_a_stream_of_any_tokens_says_what_the_whole_says(kind: str, data: st.DataObject) -> None:
    tokens = st.integers(0, len(codec(kind).tokenizer) - 1)
    ids = data.draw(st.lists(tokens, max_size=20))
    stream = StreamDecoder(codec(kind))
    shown = "".join(map(stream.push, ids))
    assert shown + stream.flush() == codec(kind).decode(ids)


@every_kind
def test_a_stream_shows_each_word_at_once(kind: str) -> None:
    stream = StreamDecoder(codec(kind))
    ids = codec(kind).encode(" Apples are red, round and sweet:\n\n they grow on trees.")
    assert all(stream.push(token) for token in ids)
    assert stream.flush() == ""


@every_kind
def test_a_stream_shows_a_character_with_its_last_byte_and_gives_up_at_the_end(kind: str) -> None:
    ids = codec(kind).encode("🙂")
    assert len(ids) == 4
    stream = StreamDecoder(codec(kind))
    assert [stream.push(token) for token in ids * 2] == ["", "", "", "🙂"] * 2
    assert stream.push(ids[0]) == ""
    assert stream.flush() == "\ufffd"
    assert stream.flush() == ""
    assert codec(kind).decode([*ids, *ids, ids[0]]) == "🙂🙂\ufffd"


@every_kind
def test_special_tokens_have_no_text(kind: str) -> None:
    it = codec(kind)
    special = [*it.control, it.tokenizer.eos_token_id]
    assert it.decode(special) == it.decode([]) == ""
    assert it.decode([special[0], *it.encode(" a"), special[1], *it.encode("b ")]) == " ab "


@every_kind
def test_control_tokens_are_added_in_the_order_of_the_authors_release(kind: str) -> None:
    tokenizer = make.tokenizer(kind, control=False)
    size = len(tokenizer)
    assert add_control_tokens(tokenizer) == 6
    assert list(ControlIds.of(tokenizer)) == list(range(size, size + 6))
    assert tokenizer.convert_tokens_to_ids(CONTROL_TOKENS) == list(ControlIds.of(tokenizer))
    assert add_control_tokens(tokenizer) == 0


@every_kind
def test_the_error_names_exactly_the_missing_control_tokens(kind: str) -> None:
    tokenizer = make.tokenizer(kind, control=False)
    tokenizer.add_tokens(["<|branch|>", "<|title|>"], special_tokens=True)
    missing = "<|/branch|> <|/title|> <|para|> <|/para|>:"
    with pytest.raises(ModelError, match=re.escape(f"the control tokens {missing}")):
        _ = Codec(tokenizer).control
    with pytest.raises(ModelError, match="aspd train"):
        ControlIds.of(tokenizer)


def test_an_unknown_token_is_no_control_token() -> None:
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    assert tokenizer.encode("<|para|>") == [0]
    with pytest.raises(ModelError, match=re.escape(" ".join(CONTROL_TOKENS))):
        ControlIds.of(tokenizer)


@every_kind
def test_control_tokens_that_were_not_added_as_special_are_control_tokens(kind: str) -> None:
    tokenizer = make.tokenizer(kind, control=False)
    tokenizer.add_tokens(list(CONTROL_TOKENS))
    it = Codec(tokenizer)
    assert it.decode(list(it.control)) == ""
    assert not set(it.encode("".join(CONTROL_TOKENS))) & set(it.control)
    assert it.decode(it.encode("x<|para|>")) == "x<|para|>"


@every_kind
@given(pieces=st.lists(STABLE_TEXTS, max_size=4))
def test_pieces_stand_together_without_an_eos_token(kind: str, pieces: list[str]) -> None:
    it = without_eos(kind)
    ids = [i for piece in pieces for i in it.encode(piece)]
    assert it.decode(ids) == "".join(pieces)


@cache
def without_eos(kind: str) -> Codec:
    tokenizer = make.tokenizer(kind)
    tokenizer.eos_token = None
    return Codec(tokenizer)


@every_kind
def test_pieces_stand_together_when_what_stands_before_them_would_merge_with_them(
    kind: str,
) -> None:
    tokenizer = make.tokenizer(kind)
    tokenizer.add_tokens(["\n\n", "||"])
    it = Codec(tokenizer)
    pieces = ["\n", "a", "\nb c", " d", "|e", "\n"]
    assert it.decode([i for piece in pieces for i in it.encode(piece)]) == "".join(pieces)


def test_a_tokenizer_that_drops_spaces_is_refused() -> None:
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2, "c": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    with pytest.raises(ModelError, match="cannot encode text as a continuation"):
        Codec(tokenizer)
