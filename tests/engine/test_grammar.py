"""Whatever a model samples, a well-formed document comes out."""

import random

import pytest

from aspd_cli.core.markup import CONTROL_TOKENS, Document, plain, render
from aspd_cli.core.parser import parse
from aspd_cli.engine.decoder import Decoder
from tests import make
from tests.engine.families import tiny_model
from tests.engine.scripted import fork, make_structure_likely, scripted

PROMPTS = ["Hi", "Who was Ada?", "苹果", "x = 1"]
TEMPLATES = {"qwen": "chatml", "llama3": "llama3", "llama2": "llama2", "gemma": "gemma"}
PADDING = 5
"""Rows of embedding and head past the last token, as large models have them."""


def depth(document: Document) -> int:
    contents = [branch.content for block in document.blocks() for branch in block.branches]
    return 1 + max(map(depth, contents), default=0) if contents else 0


def random_options(draw: random.Random) -> dict:
    return {
        "mode": draw.choice(["parallel", "parallel", "serial"]),
        "temperature": draw.choice([0.5, 1.0, 2.0, 50.0]),
        "max_new_tokens": draw.choice([5, 20, 60, 120]),
        "max_depth": draw.choice([1, 2, 3]),
        "max_branches": draw.choice([2, 3, 5]),
        "max_title_tokens": draw.choice([1, 2, 5]),
        "max_branch_tokens": draw.choice([None, None, 1, 4]),
        "stop": draw.choice([(), (), "a", ("e ", "th")]),
    }


@pytest.mark.parametrize("kind", make.KINDS)
def test_what_a_wild_model_writes_is_a_well_formed_document(kind, monkeypatch):
    tokenizer = make.tokenizer(kind, TEMPLATES.get(kind))
    size = len(tokenizer)
    model = tiny_model("qwen2", size + PADDING, seed=3, num_hidden_layers=1)
    decoder = Decoder(model, tokenizer)
    blocks = 0
    for seed in range(16):
        draw = random.Random(f"{kind} {seed}")
        options = random_options(draw)
        with monkeypatch.context() as patch:
            make_structure_likely(patch, tilt=draw.choice([1.0, 2.0, 3.0]))
            outputs = decoder.generate(PROMPTS, batch_size=3, seed=seed, **options)
        for out in outputs:
            assert parse(out.markup) == out.document
            assert render(out.document) == out.markup
            assert out.text == plain(out.document)
            assert depth(out.document) <= options["max_depth"]
            for block in out.document.blocks():
                assert 2 <= len(block.branches) <= options["max_branches"]
            assert not set(out.token_ids[:-1]) & set(decoder.ends), "it ends at its end only"
            assert max(out.token_ids, default=0) < size, "ids without a token are never sampled"
            assert len(out.token_ids) == out.stats.tokens <= options["max_new_tokens"]
            assert not any(stop in out.text for stop in options["stop"])
            blocks += len(list(out.document.blocks()))
    assert blocks >= 10, "there must be something to be well formed"


@pytest.mark.parametrize("mode", ["parallel", "serial"])
def test_what_would_leave_the_grammar_cannot_be_sampled(mode, decoder):
    codec, control, [end] = decoder.codec, decoder.codec.control, decoder.ends
    turn = decoder.codec.tokenizer.convert_tokens_to_ids("<|im_start|>")
    [x, *_] = codec.encode("x")
    one = [control.title, x, control.title_end]
    opening = [
        control.branch,
        control.branch_end,
        control.title_end,
        control.para,
        control.para_end,
    ]
    in_a_title = [control.title, x]
    in_a_branch = fork(codec, "A", "B")
    in_a_nested_branch = {(): in_a_branch, ((0, 0),): fork(codec, "C", "D")}
    main, branch, nested = (), ((0, 0),), ((0, 0), (0, 0))
    forbidden = {
        "what opens nothing": ({}, main, opening),
        "an empty title": ({main: [control.title]}, main, [control.title_end]),
        "structure in a title": ({main: in_a_title}, main, {*control, end, turn} - {one[2]}),
        "more than a title may hold": ({main: [*in_a_title, x]}, main, [x, control.title]),
        "text or an end after a title": ({main: one}, main, [x, end, turn, control.branch]),
        "a block of one title": ({main: one}, main, [control.para]),
        "a title after one that was said before": ({main: [*one, *one]}, main, [control.title, x]),
        "a fourth title": ({main: fork(codec, "A", "B", "C")[:-1]}, main, [control.title]),
        "the end of the answer in a branch": ({main: in_a_branch}, branch, [end]),
        "structure in a branch": ({main: in_a_branch}, branch, {*opening} - {control.branch_end}),
        "a third level": (in_a_nested_branch, nested, [control.title]),
    }
    limits = {"mode": mode, "max_depth": 2, "max_branches": 3, "max_title_tokens": 2}
    for script, path, tokens in forbidden.values():
        for token in tokens:
            lanes = {**script, path: [*script.get(path, []), token]}
            with pytest.raises(AssertionError, match=f"forbids {token} in lane"):
                scripted(decoder, lanes, **limits)


def test_a_repeated_title_forks_once(decoder):
    codec = decoder.codec
    script = {
        (): [*codec.encode("so "), *fork(codec, "A", "B", "A"), *codec.encode("end")],
        ((0, 0),): codec.encode("red"),
        ((0, 1),): codec.encode("yellow"),
    }
    for mode in ("parallel", "serial"):
        out = scripted(decoder, script, mode=mode)
        [block] = out.document.blocks()
        assert [branch.title for branch in block.branches] == ["A", "B"]
        assert out.text == "so redyellowend"
        assert parse(out.markup) == out.document
        assert out.stats.branches == 2


def test_a_block_with_one_title_over_and_over_becomes_its_content(decoder):
    codec = decoder.codec
    script = {
        (): [*codec.encode("so "), *fork(codec, "A", "A"), *codec.encode("end")],
        ((0, 0),): [*codec.encode("red "), *fork(codec, "C", "D"), *codec.encode("sweet ")],
        ((0, 0), (0, 0)): codec.encode("cold "),
        ((0, 0), (0, 1)): codec.encode("mild "),
    }
    out = scripted(decoder, script, max_branches=2, max_depth=2)
    assert out.text == "so red cold mild sweet end"
    assert [b.title for block in out.document.blocks() for b in block.branches] == ["C", "D"]
    assert parse(out.markup) == out.document


@pytest.mark.parametrize("kind", ["qwen", "mistral"])
def test_control_tokens_spelled_out_by_a_model_are_text(kind):
    tokenizer = make.tokenizer(kind)
    decoder = Decoder(tiny_model("qwen2", len(tokenizer), num_hidden_layers=1), tokenizer)
    codec, spelled = decoder.codec, "".join(CONTROL_TOKENS)
    assert not set(codec.encode(spelled)) & set(codec.control)
    script = {
        (): [*codec.encode(f"so {spelled}"), *fork(codec, "<|para|>", "B"), *codec.encode(spelled)],
        ((0, 0),): codec.encode(f"{spelled}red"),
        ((0, 1),): codec.encode(spelled),
    }
    out = scripted(decoder, script)
    assert parse(out.markup) == out.document
    assert len(list(out.document.blocks())) == 1
    assert out.text.replace("\u200b", "") == f"so {spelled}{spelled}red{spelled}{spelled}"


def test_a_control_token_spelled_across_the_border_of_a_flattened_block_is_text(decoder):
    codec = decoder.codec
    script = {
        (): [*codec.encode("a <|pa"), *fork(codec, "A", "A"), *codec.encode("a|> b")],
        ((0, 0),): codec.encode("r"),
    }
    out = scripted(decoder, script, max_branches=2)
    assert parse(out.markup) == out.document
    assert out.text.replace("\u200b", "") == "a <|para|> b"


@pytest.mark.parametrize("kind", ["qwen", "gemma"])
def test_half_a_character_at_the_border_of_a_block_is_a_replacement_character(kind):
    tokenizer = make.tokenizer(kind)
    decoder = Decoder(tiny_model("qwen2", len(tokenizer), num_hidden_layers=1), tokenizer)
    codec = decoder.codec
    apple = codec.encode("🍎")
    assert len(apple) == 4, "one token a byte"
    script = {
        (): [*apple[:2], *fork(codec, "A", "B"), *apple[2:], *codec.encode("end")],
        ((0, 0),): [*codec.encode("red"), *apple[:3]],
        ((0, 1),): [*apple[3:], *codec.encode("yellow"), *apple],
    }
    out = scripted(decoder, script)
    assert parse(out.markup) == out.document
    first, block, last = out.document.parts
    assert first.strip("\ufffd") == ""
    assert last.strip("\ufffd") == "end"
    red, yellow = (plain(branch.content) for branch in block.branches)
    assert red.rstrip("\ufffd") == "red"
    assert yellow.lstrip("\ufffd") == "yellow🍎"
