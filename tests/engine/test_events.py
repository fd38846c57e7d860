"""Events tell an answer as it grows: whole characters, in an order that can be followed."""

import random

import pytest

from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.events import Close, Done, Fork, Merge, Text
from tests import make
from tests.engine.families import make_models_fork, tiny_model
from tests.engine.scripted import fork, lane_texts, scripted_events, shown_texts


@pytest.mark.parametrize("kind", make.KINDS)
def test_the_texts_of_a_lane_add_up_to_its_content(kind, monkeypatch):
    tokenizer = make.tokenizer(kind)
    decoder = Decoder(tiny_model("llama", len(tokenizer), num_hidden_layers=1), tokenizer)
    make_models_fork(monkeypatch)
    draw, lanes = random.Random(kind), 0
    for seed in range(14):
        options = {
            "mode": draw.choice(["parallel", "serial"]),
            "max_depth": draw.choice([1, 2]),
            "max_new_tokens": draw.choice([40, 200]),
            "max_branch_tokens": draw.choice([None, 3]),
            "max_branches": 4,
            "max_title_tokens": 3,
            "temperature": draw.choice([0.7, 2.0]),
        }
        events = list(decoder.stream("Hi", seed=seed, **options))
        shown = shown_texts(events)
        assert shown == lane_texts(events[-1].output.document)
        lanes += len(shown)
    assert lanes > 20


@pytest.mark.parametrize("kind", ["qwen", "mistral"])
def test_a_stream_shows_whole_characters_only(kind):
    tokenizer = make.tokenizer(kind)
    decoder = Decoder(tiny_model("qwen2", len(tokenizer), num_hidden_layers=1), tokenizer)
    codec = decoder.codec
    texts = ["naïve 🍎 你好吗", "🍌🍌 ﷽", "سلام"]
    script = {
        (): [*codec.encode("🍇 "), *fork(codec, "🍎", "é"), *codec.encode(texts[2])],
        ((0, 0),): codec.encode(texts[0]),
        ((0, 1),): codec.encode(texts[1]),
    }
    events = list(scripted_events(decoder, script))
    assert shown_texts(events) == ["🍇 " + texts[2], texts[0], texts[1]]
    assert not any("\ufffd" in event.text for event in events if isinstance(event, Text))
    assert len([event for event in events if isinstance(event, Text)]) > 10, "piece by piece"
    [opened] = [event for event in events if isinstance(event, Fork)]
    assert opened.titles == ("🍎", "é")


def test_what_spells_a_control_token_is_shown_as_it_is_kept(decoder):
    codec, spelled = decoder.codec, "a <|para|><|/branch|> b"
    script = {
        (): [*codec.encode(spelled), *fork(codec, "<|title|>", "B")],
        ((0, 0),): codec.encode(spelled),
    }
    events = list(scripted_events(decoder, script))
    output = events[-1].output
    assert shown_texts(events) == lane_texts(output.document)
    [opened] = [event for event in events if isinstance(event, Fork)]
    [block] = output.document.blocks()
    assert opened.titles == tuple(branch.title for branch in block.branches)


def test_events_come_in_the_order_of_the_answer(decoder):
    codec = decoder.codec
    script = {
        (): [*codec.encode("x"), *fork(codec, "A", "B"), *codec.encode("y")],
        ((0, 0),): codec.encode("xxx"),
        ((0, 1),): codec.encode("y"),
    }
    kinds = {"parallel": [2, 1], "serial": [1, 2]}
    for mode, closing in kinds.items():
        events = list(scripted_events(decoder, script, mode=mode))
        marks = [event for event in events if not isinstance(event, Text)]
        assert [type(event) for event in marks] == [Fork, Close, Close, Merge, Done]
        assert [event.lane for event in marks[1:3]] == closing
        assert shown_texts(events) == ["xy", "xxx", "y"]
        merged = events.index(marks[3])
        assert [event.text for event in events[merged:-1] if isinstance(event, Text)] == ["y"]


def test_text_is_shown_in_the_step_that_samples_it(decoder, monkeypatch):
    calls = []
    runner, forward = decoder.runner, decoder.runner.forward
    monkeypatch.setattr(runner, "forward", lambda *a: calls.append(1) or forward(*a))
    events = decoder.stream("Hi", mode="plain", max_new_tokens=40, draft=False)
    first = next(event for event in events if isinstance(event, Text))
    assert first.text
    assert len(calls) <= 4, "a character of at most four bytes"
    assert len(list(events)) > 5
    assert len(calls) == 40


def test_a_stream_abandoned_half_way_leaves_the_decoder_usable(decoder, monkeypatch):
    make_models_fork(monkeypatch)
    options = {"temperature": 1.0, "max_depth": 2, "max_branches": 4, "max_new_tokens": 300}
    expected = decoder.generate("Who?", **options)[0].token_ids
    for events_read in (1, 5, 30):
        abandoned = decoder.stream("Hi", **options)
        for _ in range(events_read):
            next(abandoned)
        paused = decoder.stream("Who?", **options)
        next(paused)
        abandoned.close()
        assert decoder.generate("Who?", **options)[0].token_ids == expected
        *_, done = paused
        assert done.output.token_ids == expected, "two at a time do not meet"
