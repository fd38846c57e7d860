"""Looking up words gives the ids that encoding gives, or gives none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

from aspd_cli.transform.word_cache import _known, words_of
from tests import make
from tests.transform import answers

LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
OPENAI = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def backend(pattern: str | None = None) -> Tokenizer:
    """A byte-level tokenizer that cuts by `pattern`; None: by the expression of GPT-2."""
    made = Tokenizer.from_str(make.tokenizer("qwen", "chatml").backend_tokenizer.to_str())
    if pattern is None:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    elif pattern:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_])
    return made


BACKENDS = {
    "qwen": backend(""),
    "gpt2": backend(),
    "llama3": backend(LLAMA),
    "o200k": backend(OPENAI),
}
PIECES = st.sampled_from(
    [
        *(
            "don't",
            "'S",
            "'ll",
            "I'VE",
            "  ",
            "\n\n",
            "1234",
            "# ",
            "...",
            "\r\n",
            " \n ",
            "\t",
            "**b**",
        ),
        *(
            " World",
            "é",
            "e\u0301",
            "中文，",
            "—",
            "’",
            "🚀",
            "❄\ufe0f",
            "²",
            "Ⅷ",
            "ſ",
            "\xa0",
            "\u3000",
        ),
        *(
            "\x1c",
            "\x85",
            "\u2028",
            "<|para|>",
            "<|im_end|>",
            "ñ",
            "Д",
            "가",
            "\u0378",
            "\ud7a3",
            "ǅ",
        ),
    ]
)


@pytest.mark.parametrize("name", BACKENDS)
@given(st.lists(PIECES | st.characters(codec="utf-8"), max_size=14).map("".join))
@settings(max_examples=300, deadline=None)
def test_ids_by_words_are_the_ids_of_the_tokenizer(name: str, text: str) -> None:
    words = words_of(BACKENDS[name])
    assert words is not None
    for _ in range(2):  # when its words are new, and when they are known
        found = words.encode(text)
        assert found is None or found == BACKENDS[name].encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("name", ["qwen", "o200k"])
def test_every_character_that_is_known_is_cut_as_the_tokenizer_cuts_it(name: str) -> None:
    words, missed = words_of(BACKENDS[name]), 0
    assert words is not None
    for start in range(0, len(_known()), 16):
        some = _known()[start : start + 16]
        text = "".join(f"ab{c}cd {c}{c} 1{c}'{c}\n" for c in some)
        found = words.encode(text)
        missed += found is None
        expected = BACKENDS[name].encode(text, add_special_tokens=False).ids
        assert found is None or found == expected, some
    assert missed < 20, "only blocks with characters that NFC changes"


@pytest.mark.parametrize("name", BACKENDS)
def test_ordinary_answers_go_by_words(name: str) -> None:
    words = words_of(BACKENDS[name])
    assert words is not None
    for text in (*(text for text, _ in answers.PARALLEL.values()), *answers.SERIAL.values()):
        assert words.encode(text) == BACKENDS[name].encode(text, add_special_tokens=False).ids


def test_tokenizers_that_cut_in_other_ways_are_left_alone() -> None:
    lower = backend("")
    lower.normalizer = normalizers.Lowercase()
    assert words_of(lower) is None
    for pattern in (r"\p{Greek}+|\s+", r"[a-z&&[^b]]+", r"(a)|b", r"\P{L}+|\p{L}+"):
        assert words_of(backend(pattern)) is None
    for kind in ("llama2", "mistral", "gemma"):
        assert words_of(make.tokenizer(kind).backend_tokenizer) is None
