"""Scripts: an answer of given text and structure, written by any model in any mode."""

import pytest

from aspd_cli.core.layout import lay_out, tokenize
from aspd_cli.core.markup import Document, plain, render
from aspd_cli.core.parser import parse
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.events import Done, Output
from aspd_cli.engine.forced_tokens import Script
from aspd_cli.engine.options import GenerationOptions

BLOCK = (
    "<|title|>One<|/title|><|title|>Two, longer<|/title|><|para|>"
    "<|branch|>One: short<|/branch|><|branch|>Two, longer: this one goes on.<|/branch|><|/para|>"
)
NESTED = (
    "<|title|>A<|/title|><|title|>B<|/title|><|para|>"
    f"<|branch|>A: before {BLOCK} after<|/branch|><|branch|>B: b<|/branch|><|/para|>"
)
DOCUMENTS = ["only text", BLOCK, f"Hi\n{BLOCK}\nend", f"{BLOCK} and {BLOCK}", f"x {NESTED}."]


def replayed(decoder: Decoder, documents: list[Document], **options: object) -> list[Output]:
    chosen = GenerationOptions(**{"max_new_tokens": 2000} | options)
    scripts = [
        Script(tokenize(document, decoder.codec), decoder.codec, decoder.ends[0])
        for document in documents
    ]
    prompts = [decoder.encode("Fruits?", chosen) for _ in documents]
    events = decoder.run(prompts, chosen, batch_size=3, scripts=scripts)
    found = {index: event.output for index, event in events if isinstance(event, Done)}
    return [found[index] for index in range(len(documents))]


@pytest.mark.parametrize("mode", ["parallel", "serial"])
def test_a_scripted_answer_is_its_script(decoder: Decoder, mode: str) -> None:
    documents = [parse(text) for text in DOCUMENTS]
    for document, output in zip(documents, replayed(decoder, documents, mode=mode), strict=True):
        layout = lay_out(
            tokenize(document, decoder.codec), decoder.codec, end_ids=[decoder.ends[0]]
        )
        assert output.markup == render(document)
        assert output.token_ids == layout.input_ids.tolist()
        assert output.finish_reason == "stop"


def test_limits_of_the_grammar_do_not_bind_a_script(decoder: Decoder) -> None:
    document = parse(NESTED)  # deeper than this model goes by itself, and its titles too long
    [output] = replayed(decoder, [document], mode="parallel", max_title_tokens=1, max_branches=2)
    assert output.markup == render(document)


def test_parallel_takes_as_many_steps_as_the_longest_branch(decoder: Decoder) -> None:
    document = parse(BLOCK)
    modes = ("parallel", "serial")
    outputs = [replayed(decoder, [document], mode=mode, draft=False)[0] for mode in modes]
    encode = decoder.codec.encode
    titles = sum(len(encode(title)) + 2 for title in ("One", "Two, longer")) + 1
    contents = [len(encode(text)) + 1 for text in ("short", "this one goes on.")]
    assert [output.stats.steps for output in outputs] == [
        titles + max(contents) + 1,
        titles + sum(contents) + 1,
    ]


def test_plain_text_takes_a_step_a_token(decoder: Decoder) -> None:
    text = plain(parse(BLOCK))
    [output] = replayed(decoder, [Document((text,))], mode="plain", draft=False)
    assert (output.text, output.stats.steps) == (text, len(decoder.codec.encode(text)) + 1)


def test_a_script_that_the_budget_does_not_hold_is_cut(decoder: Decoder) -> None:
    [output] = replayed(decoder, [Document(("one two three four five",))], max_new_tokens=3)
    assert output.finish_reason == "length"
    assert len(output.token_ids) == 3
