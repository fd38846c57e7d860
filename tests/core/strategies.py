"""Random texts and documents that try what could break markup, tokenizers and seams."""

import unicodedata

from hypothesis import assume
from hypothesis import strategies as st

from aspd_cli.core.forms import core_of, read_label, title_key
from aspd_cli.core.markup import Block, Branch, Document, holds_markup

_FRAGMENTS = [
    *["<|", "|>", "<|titles|>", "<|title", "|para|>", "</|branch|>", "<|/", "<", ">", "|"],
    *[": ", "T: ", "a", "a: ", "b", " ", "  ", "\n", "\n\n", "\t", "\r\n", " a", "Hi end"],
    *["<s>", "</s>", "<eos>", "<bos>", "<unk>", "<|im_end|>", "<end_of_turn>", "<0x0A>"],
    *["你好", "世", "🙂", "👩‍👩‍👧", "é", "e\u0301", "\u0301"],
    *["▁", "▁a", "\ufffd", "\ue000", "\x00", "ß"],
]

_LABELS = ["{}", "{}", "1. **{}**:", "- {}", "{}:", "（3）{}：", "### {}", "a) _{}:_", "**①{}**"]

TEXTS = (
    st.lists(st.sampled_from(_FRAGMENTS) | st.text(max_size=4), max_size=3)
    .map("".join)
    .filter(lambda text: not holds_markup(text))
)

STABLE_TEXTS = TEXTS.map(lambda text: unicodedata.normalize("NFC", text.replace("▁", "_")))
"""Texts that no tokenizer's normaliser changes."""


@st.composite
def documents(
    draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS, depth: int = 2, parts: int = 4
) -> Document:
    """Documents whose blocks nest up to `depth` deep."""

    def document(depth: int, most: int) -> Document:
        parts: list[str | Block] = []
        for is_block in draw(st.lists(st.booleans(), max_size=most)):
            if is_block and depth:
                parts.append(block(depth))
            elif not parts or isinstance(parts[-1], Block):
                parts.append(draw(texts))  # two texts would merge into one that `texts` never gives
        return Document(tuple(parts))

    def block(depth: int) -> Block:
        named = texts.filter(bool)
        titles = draw(st.lists(named, min_size=2, max_size=4, unique_by=title_key))
        branches = [Branch(title, document(depth - 1, 2)) for title in titles]
        label = read_label(draw(st.sampled_from(_LABELS)).format(titles[0]))
        titles = [label.title if label else core_of(titles[0]), *map(core_of, titles[1:])]
        branches = [Branch(t, branch.content) for t, branch in zip(titles, branches, strict=True)]
        assume(len(set(map(title_key, titles))) == len(titles) == len(set(titles)))
        return Block(tuple(branches), label.form if label else None)

    return document(depth, parts)
