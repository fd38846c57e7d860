"""A text is what its words are: the ids are those that the tokenizer gives for the whole."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers

from aspd_cli.core.markup import CONTROL_TOKENS
from aspd_cli.files import EMBEDDED_MODEL
from aspd_cli.transform.word_ids import _LLAMA_3, _QWEN_2, WordIds, parts_words

_FRAGMENTS = [
    *[" ", "  ", "\n", "\n\n", "\r\n", "\t", "\x0b", "\x1c", "\x85", "\xa0", "\u3000", "\u200d"],
    *["a", "B", "word", " word", "7", "12", "123", "don't", "'S", "'ll", "_", "-", ".", ": ", "**"],
    *["é", "e\u0301", "=\u0338", "\u0301", "\u212a", "\u017f", "你好", "，", "🙂", "½", "٣", "’s"],
    *["<tool_call>", "<tool", "_call>", "<|para|>", "<|", "\ufffd"],
]
_TEXTS = st.lists(st.sampled_from(_FRAGMENTS) | st.text(max_size=3), max_size=12).map("".join)


def _split(regex: str) -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(regex), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _gpt_2(*, add_prefix_space: bool = False) -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=True)


def _made(pre_tokenizer: Any) -> Any:
    """The embedded tokenizer with another way of parting texts, and with tokens of one's own."""
    made = Tokenizer.from_file(str(EMBEDDED_MODEL / "base" / "tokenizer.json"))
    made.pre_tokenizer = pre_tokenizer
    tokens = [AddedToken(t, normalized=False) for t in ("<tool_call>", *CONTROL_TOKENS)]
    made.add_tokens(tokens)
    return made


_KNOWN = {
    "GPT-2": _made(_gpt_2()),
    "SmolLM2": _made(pre_tokenizers.Sequence([pre_tokenizers.Digits(True), _gpt_2()])),
    "Qwen 2": _made(_split(_QWEN_2)),
    "Llama 3": _made(_split(_LLAMA_3)),
}
_WORD_IDS = {name: WordIds(backend) for name, backend in _KNOWN.items()}


@pytest.mark.parametrize("name", _KNOWN)
@given(text=_TEXTS)
@settings(deadline=None)
def test_the_ids_are_those_of_the_whole_text(name: str, text: str) -> None:
    assert parts_words(_KNOWN[name])
    whole = _KNOWN[name].encode(text, add_special_tokens=False).ids
    assert _WORD_IDS[name].encode(text) == whole
    assert _WORD_IDS[name].encode(text) == whole, "its words are known now"


def _with(**parts: Any) -> Any:
    made = _made(_gpt_2())
    for name, part in parts.items():
        setattr(made, name, part)
    return made


def _truncated() -> Any:
    made = _made(_gpt_2())
    made.enable_truncation(8)
    return made


def _with_token(**how: bool) -> Any:
    made = _made(_gpt_2())
    made.add_tokens([AddedToken("<new>", **{"normalized": False, **how})])
    return made


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param(_made(_gpt_2(add_prefix_space=True)), id="a space before every text"),
        pytest.param(
            _made(pre_tokenizers.ByteLevel(False, use_regex=False)), id="texts not parted"
        ),
        pytest.param(_made(_split(r"\w+'\w+|\w+|\W+")), id="an unknown expression"),
        pytest.param(_with(normalizer=normalizers.Strip()), id="a normaliser that strips"),
        pytest.param(_made(pre_tokenizers.PreTokenizer.custom(object())), id="written in Python"),
        pytest.param(_truncated(), id="texts cut at a length"),
        pytest.param(_with_token(lstrip=True), id="a token that takes the space before it"),
        pytest.param(_with_token(single_word=True), id="a token that looks around itself"),
        pytest.param(_with_token(normalized=True), id="a token of normalised text"),
    ],
)
def test_other_tokenizers_encode_whole_texts(backend: Any) -> None:
    assert not parts_words(backend)


def test_memory_holds_the_words_that_came_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aspd_cli.transform.word_ids._MOST_WORDS", 3)
    backend = _KNOWN["GPT-2"]
    words = WordIds(backend)
    for text in ("one two three four five", "five six one", "long" * 20, "six one five"):
        assert words.encode(text) == backend.encode(text, add_special_tokens=False).ids
        assert max(len(words), len(words._before)) <= 3
    assert " one" in words._before
    assert " two" not in {*words._before, *words}
