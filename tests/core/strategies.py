"""Random texts and documents that try what could break markup, tokenizers and seams."""

import unicodedata

from hypothesis import strategies as st

from aspd_cli.core.markup import Block, Branch, Document, holds_markup

_FRAGMENTS = [
    *["<|", "|>", "<|titles|>", "<|title", "|para|>", "</|branch|>", "<|/", "<", ">", "|"],
    *[": ", "T: ", "a", "a: ", "b", " ", "  ", "\n", "\n\n", "\t", "\r\n", " a", "Hi end"],
    *["<s>", "</s>", "<eos>", "<bos>", "<unk>", "<|im_end|>", "<end_of_turn>", "<0x0A>"],
    *["你好", "世", "🙂", "👩‍👩‍👧", "é", "e\u0301", "\u0301"],
    *["▁", "▁a", "\ufffd", "\ue000", "\x00", "ß"],
]

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
        titles = draw(st.lists(texts.filter(bool), min_size=2, max_size=4, unique=True))
        return Block(tuple(Branch(title, document(depth - 1, 2)) for title in titles))

    return document(depth, parts)
