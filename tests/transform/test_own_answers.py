"""A model's own answers: sound blocks stay, those that the rules call dependent do not."""

import pytest

from aspd_cli.core.markup import Block, Branch, Document, plain, render
from aspd_cli.core.parser import parse
from aspd_cli.recipe.sections import TransformSection
from aspd_cli.transform.io.records import Record, Rejected
from aspd_cli.transform.outcome import Outcome
from aspd_cli.transform.own_answers import NO_BLOCK, own_record, sound
from aspd_cli.transform.token_counts import EstimatingCodec

SOUND = (
    ("- **Basil**: sweet and slightly peppery, at home in every Italian kitchen.\n", "Basil"),
    ("- **Mint**: cooling, for teas and a good many summer drinks.\n", "Mint"),
    ("- **Rosemary**: strong and resinous, made for roasted meat and potatoes.\n", "Rosemary"),
)
DEPENDENT = (
    ("- **Light**: Bright screens tell the brain that it is still the middle of the day.\n", "L"),
    ("- **Noise**: As mentioned above, it keeps people awake, and ear plugs help.\n", "N"),
)
STEPS = (
    ("1. Preheat the oven to 180 degrees and butter a large tin.\n", "Preheat the oven"),
    ("2. Whisk the eggs with the sugar until the mixture is pale.\n", "Whisk the eggs"),
    ("3. Fold in the flour, pour everything into the tin and bake.\n", "Fold in the flour"),
)


def block(parts: tuple[tuple[str, str], ...]) -> Block:
    return Block.of([Branch(title, Document((text,))) for text, title in parts])


def outcome(*parts: str | Block, **fields: float) -> Outcome:
    document = Document(parts)
    record = own_record(0, 1, "a", "What is there?", render(document), None)
    assert isinstance(record, Record)
    assert record.example.answer == plain(document)
    assert record.document == document
    transform = TransformSection(**{"min_tokens": 10, "from_model": "x", **fields})  # type: ignore[arg-type]
    found = sound(record, document, transform, EstimatingCodec())
    assert plain(found.document) == plain(document), "the model's words stay"
    return found


def test_a_sound_block_stays_and_a_dependent_one_beside_it_does_not() -> None:
    good, bad = block(SOUND), block(DEPENDENT)
    assert outcome("Herbs:\n\n", good).document.parts == ("Herbs:\n\n", good)
    found = outcome("Herbs:\n\n", good, "\nAnd sleep:\n\n", bad, "\nThat is all.")
    assert list(found.document.blocks()) == [good]
    assert found.stage == "parallel"


@pytest.mark.parametrize(
    ("parts", "stage", "reason"),
    [
        (("Sleep:\n\n", block(DEPENDENT)), "independence", "a branch says 'as mentioned'"),
        (("Instructions:\n\n", block(STEPS)), "independence", "step"),
        (("Only words, and many of them, so that it is long enough.",), "structure", NO_BLOCK),
        (("A.",), "length", "fewer than 10 tokens"),
    ],
)
def test_why_an_answer_stays_serial_is_said(
    parts: tuple[str | Block, ...], stage: str, reason: str
) -> None:
    found = outcome(*parts)
    assert (found.stage, list(found.document.blocks())) == (stage, [])
    assert reason in (found.reason or "")


def test_a_block_that_does_not_pay_goes() -> None:
    assert outcome("Herbs:\n\n", block(SOUND), min_speedup=9.0).stage == "structure"


@pytest.mark.parametrize(
    ("markup", "cut_by", "reason"),
    [
        ("text", "max_new_tokens", "is cut by max_new_tokens"),
        (" \n", None, "is empty"),
        ("<|para|>text", None, "is not valid"),
    ],
)
def test_what_is_no_answer_to_learn_from_is_rejected(
    markup: str, cut_by: str | None, reason: str
) -> None:
    found = own_record(3, 5, None, "q", markup, cut_by)
    assert isinstance(found, Rejected)
    assert found.line == 5
    assert reason in found.reason


def test_the_markup_of_a_valid_answer_is_read_back() -> None:
    markup = render(Document(("Herbs:\n\n", block(SOUND))))
    record = own_record(0, 1, None, [{"role": "user", "content": "q"}], markup, None)
    assert isinstance(record, Record)
    assert record.document == parse(markup)
