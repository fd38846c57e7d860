"""The new tokenizer: what training and decoding rely on."""

from pathlib import Path
from typing import Any

import pytest

from aspd_cli.core.codec import Codec
from aspd_cli.core.markup import CONTROL_TOKENS, plain, render
from aspd_cli.synth import examples


def test_the_six_control_tokens_are_neighbours_in_the_order_of_the_design(codec: Codec) -> None:
    ids = list(codec.control)
    assert ids == list(range(ids[0], ids[0] + 6))
    assert codec.tokenizer.convert_ids_to_tokens(ids) == list(CONTROL_TOKENS)


def test_names_and_numbers_are_the_same_tokens_wherever_they_stand(codec: Codec) -> None:
    for word in ("Anna", "Zorvik", "7", "42"):
        ids = codec.encode(word)
        for before in ("", "- ", "about ", "and ", "(", "12, "):
            assert codec.encode(before + word)[-len(ids) :] == ids
    assert all(len(codec.encode(str(n))) == 1 for n in range(100))


def test_an_answer_encoded_in_pieces_is_encoded_as_it_is_whole(codec: Codec) -> None:
    for example in examples(200):
        pieces = []
        for part in example.answer.parts:
            if isinstance(part, str):
                pieces.append(part)
            else:
                contents = [plain(branch.content) for branch in part.branches]
                pieces += [
                    piece for pair in zip(part.leads, contents, strict=True) for piece in pair
                ]
        ids = [token for piece in pieces for token in codec.encode(piece)]
        assert ids == codec.encode(example.text)


ODD = ["naïve café", "漢字 🙂", "\t x\n\n  y", "A1b2 <|x|>", "iPhone 1234-5", "(a) McDo?!\n\nx100"]


def test_auto_tokenizer_cuts_text_as_the_model_was_trained_on_it(
    tokenizer: Any, model: Any, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    model.config.save_pretrained(tmp_path)  # from its model type, a tokenizer class of its own
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    for text in [*ODD, *(t for e in examples(300) for t in (e.question, render(e.answer)))]:
        assert loaded(text).input_ids == tokenizer(text).input_ids


@pytest.mark.parametrize("text", ODD)
def test_any_text_decodes_to_itself(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text).input_ids) == text
