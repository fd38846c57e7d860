"""Stop strings: the answer ends before the first one, whoever writes it and in whatever mode."""

import random

import pytest

from aspd_cli.core.markup import plain
from aspd_cli.core.parser import parse
from aspd_cli.engine.events import Text
from aspd_cli.engine.until_stop import first_stop
from tests.engine.families import make_models_fork
from tests.engine.scripted import fork, scripted, scripted_events

NESTED = {"max_depth": 2, "max_branches": 4, "max_title_tokens": 3, "max_new_tokens": 700}


def before(text: str, stops: tuple[str, ...]) -> str:
    return text[: first_stop(text, stops)]


def test_a_stopped_text_is_the_beginning_of_the_unstopped_one(decoder, monkeypatch):
    make_models_fork(monkeypatch)
    draw, cut = random.Random(0), set()
    for seed in range(6):
        options = {"temperature": 1.0, "seed": seed, **NESTED}
        [full] = decoder.generate("Compare.", **options)
        assert full.finish_reason == "stop"
        for _ in range(3):
            starts = [draw.randrange(len(full.text) - 1) for _ in range(draw.choice([1, 2]))]
            stops = tuple(full.text[at : at + draw.choice([1, 2, 3])] for at in starts)
            for mode in ("parallel", "serial"):
                [out] = decoder.generate("Compare.", mode=mode, stop=stops, **options)
                assert out.text == before(full.text, stops)
                assert out.finish_reason == "stop"
                assert parse(out.markup) == out.document
                assert plain(out.document) == out.text
            cut.add(len(list(out.document.blocks())))
    assert len(cut) > 2, "strings must be met in several places"


@pytest.fixture
def script(decoder):
    """Serial text, two branches of which the first forks, serial text."""
    codec = decoder.codec
    return {
        (): [*codec.encode("so it is: "), *fork(codec, "A", "B"), *codec.encode("the end")],
        ((0, 0),): [*codec.encode("apples "), *fork(codec, "C", "D"), *codec.encode("grow ")],
        ((0, 0), (0, 0)): codec.encode("red and round "),
        ((0, 0), (0, 1)): codec.encode("cold "),
        ((0, 1),): codec.encode("yellow, long "),
    }


FULL = "so it is: apples red and round cold grow yellow, long the end"
LANES = ["so it is: the end", "apples grow ", "yellow, long ", "red and round ", "cold "]
"""The text of each lane, in the order in which they fork."""


@pytest.mark.parametrize("mode", ["parallel", "serial"])
@pytest.mark.parametrize(
    ("stop", "where"),
    [
        (("it",), "in the main lane before the block"),
        (("pp",), "in a branch before it forks"),
        (("d an",), "in a branch of a branch"),
        (("ld",), "in its sibling"),
        (("row",), "in a branch after it merged"),
        (("y",), "in the last branch, which writes while the first still forks"),
        (("w, lo",), "across several tokens"),
        (("e e",), "in the main lane after the block"),
        (("long the",), "across the border of two lanes"),
        (("d grow", "ello"), "across a border, before one inside a lane"),
        (("end", "low", "oun"), "the first of several"),
        (("zebra",), "nowhere"),
        (("end of it",), "only its beginning"),
    ],
)
def test_a_stop_string_is_met(mode, stop, where, decoder, script):
    out = scripted(decoder, script, mode=mode, stop=stop, max_depth=2)
    assert out.text == before(FULL, stop), where
    assert out.finish_reason == "stop"
    assert parse(out.markup) == out.document
    assert plain(out.document) == out.text


@pytest.mark.parametrize("mode", ["parallel", "serial"])
@pytest.mark.parametrize("stop", ["it", "d an", "ellow", "w, lo", "e e", "zebra"])
def test_a_stream_never_shows_a_part_of_what_stops_it(mode, stop, decoder, script):
    shown = [""] * len(LANES)
    for event in scripted_events(decoder, script, mode=mode, stop=(stop,), max_depth=2):
        if isinstance(event, Text):
            shown[event.lane] += event.text
            assert before(LANES[event.lane], (stop,)).startswith(shown[event.lane])
    if stop not in FULL:
        assert shown == LANES


def test_what_looks_like_the_beginning_of_a_stop_string_is_shown_in_the_end(decoder):
    codec = decoder.codec
    script = {
        (): [*codec.encode("a e"), *fork(codec, "A", "B"), *codec.encode("nd en")],
        ((0, 0),): codec.encode("en"),
        ((0, 1),): codec.encode("d e"),
    }
    out = scripted(decoder, script, stop=("end.",))
    assert out.text == "a eend end en"
    assert out.finish_reason == "stop"


def test_an_answer_that_stops_still_finishes_the_branches_before(decoder):
    """In document order they come first, so they belong to the text."""
    codec = decoder.codec
    script = {
        (): fork(codec, "A", "B", "C"),
        ((0, 0),): codec.encode("red and round and sweet and long"),
        ((0, 1),): codec.encode("stop here"),
        ((0, 2),): codec.encode("red and round and sweet and long"),
    }
    parallel = scripted(decoder, script, stop="stop", draft=False)
    assert parallel.text == "red and round and sweet and long"
    alone = scripted(decoder, {**script, ((0, 2),): []}, stop="stop", draft=False)
    assert parallel.stats.steps == alone.stats.steps, "and later ones take no step"
