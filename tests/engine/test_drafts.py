"""Drafts change how many steps an answer takes, and not a token of it."""

from typing import Any

import numpy as np
import pytest
import torch

from aspd_cli.engine.cuda_graph import GraphSteps
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.drafts import MOST, Drafts, price
from aspd_cli.engine.events import Done, Output
from aspd_cli.engine.kv_cache import LaneCache
from aspd_cli.engine.options import GenerationOptions
from tests.engine.families import make_models_fork, tiny_model
from tests.engine.scripted import fork, scripted, shown_texts

PROMPTS = ["Compare the two fruits.", "end"]
NESTED = {"max_depth": 2, "max_branches": 4, "max_title_tokens": 3, "max_new_tokens": 120}


def told(lane: int, *tokens: int) -> Drafts:
    found = Drafts(None)
    for token in tokens:
        found.write(lane, [token])
    return found


def test_a_guess_is_what_followed_when_the_last_tokens_stood_before():
    assert told(0, 1, 2, 3, 4, 9, 1, 2).guess(0, 0.0)[:3] == [3, 4, 9]
    assert told(0, 7, 2, 5, 1, 2, 6, 3, 7, 2).guess(0, 0.0)[0] == 5, "rather two tokens than one"
    assert told(0, 8, 2, 5, 9, 2).guess(0, 0.0)[0] == 5
    assert told(0, 1, 2, 3).guess(0, 0.0) == []


def test_a_lane_may_repeat_another_one_or_itself():
    found = told(0, 1, 2, 3, 4)
    found.write(1, [50, 1, 2])
    assert found.guess(1, 0.0) == [3, 4], "and no further than that lane has come"
    assert told(0, 5, 6, 5, 6, 5).guess(0, 0.0) == [6, 5, 6, 5, 6, 5, 6]


def test_another_title_is_guessed_after_a_title_and_nothing_that_forks_or_ends(decoder):
    control = decoder.codec.control
    found = Drafts(control)
    found.write(0, [1, control.title, 5, control.title_end])
    assert found.guess(0, 0.1) == [control.title]
    found = Drafts(control)
    found.write(0, [1, 2, 5, control.title_end, control.para, 1, 2])
    assert found.guess(0, 0.0) == [5, control.title_end, control.title]
    for token in (control.para, control.branch, control.branch_end, control.para_end):
        found = Drafts(control)
        found.write(0, [1, 2, token, 9, 1, 2])
        assert found.guess(0, 0.0) == []


def test_guesses_that_do_not_come_true_are_given_up_and_taken_up_again():
    found, dear = told(0), price(1)
    for token in np.random.default_rng(0).integers(0, 4, 400):
        found.write(0, [int(token)])
    assert not found.guess(0, 0.4), "a quarter comes true"
    for _ in range(60):
        for token in (11, 12, 13, 14, 15, 16, 17):
            found.write(0, [token])
    assert len(found.guess(0, dear)) == MOST
    assert told(0, 1, 2, 3, 1, 2).guess(0, price(1))[:4] == [3, 1, 2, 3]
    assert told(0, 1, 2, 3, 1, 2).guess(0, price(40)) == [], "in a wide step it saves little"


class Oracle:
    """Guesses what each lane wrote in an earlier run, now and then with a wrong token in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch, self._rng = monkeypatch, np.random.default_rng(0)
        self._written: list[dict[int, list[int]]] = []

    def watch(self) -> None:
        """Guesses nothing and notes what lanes write."""
        seen: dict[int, Drafts] = {}

        def nothing(drafts: Drafts, lane: int, price: float) -> list[int]:
            seen[id(drafts)] = drafts
            self._written = [_tokens(each) for each in seen.values()]
            return []

        self._monkeypatch.setattr(Drafts, "guess", nothing)

    def speak(self) -> None:
        guess = self._guess
        self._monkeypatch.setattr(Drafts, "guess", lambda *args: guess(*args))

    def _guess(self, drafts: Drafts, lane: int, price: float) -> list[int]:
        now = _tokens(drafts)
        for written in self._written:
            if written[0][: len(now[0])] == now[0]:
                at, count = len(now[lane]), int(self._rng.integers(1, MOST + 1))
                guessed = written.get(lane, [])[at : at + count]
                if guessed and self._rng.random() < 0.5:
                    guessed[self._rng.integers(len(guessed))] = int(self._rng.integers(30, 90))
                return guessed
        return []


def _tokens(drafts: Drafts) -> dict[int, list[int]]:
    return {lane: trail.tokens for lane, trail in drafts._trails.items()}


@pytest.fixture
def oracle(monkeypatch):
    return Oracle(monkeypatch)


@pytest.fixture
def rubbish(monkeypatch):
    """Overwrites what is taken back at once; how many entries that were, and with what."""
    counts: list[int] = []
    take_back = LaneCache.take_back

    @torch.inference_mode()
    def spoiling(self: LaneCache, row: int, entries: int) -> None:
        take_back(self, row, entries)
        counts.append(entries)
        # One row reads nothing behind its end. Several are read to the end of the longest, under a
        # mask: that gives what is hidden no weight, but no weight at all of NaN is NaN.
        what = float("nan") if self.rows == 1 and not spoiling.is_masked else 1e4
        for layer in self.layers:
            for states in (layer.keys, layer.values):
                states[row, :, self.used[row] : self.used[row] + entries] = what

    spoiling.is_masked = False
    monkeypatch.setattr(LaneCache, "take_back", spoiling)
    spoiling.counts = counts
    return spoiling


def assert_same(found: list[Output], expected: list[Output]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.token_ids == other.token_ids
        assert (one.text, one.markup) == (other.text, other.markup)
        assert (one.finish_reason, one.cut_by) == (other.finish_reason, other.cut_by)


def check(decoder: Decoder, oracle: Oracle, rubbish: Any, least: int, **options: Any) -> None:
    """No drafts, drafts that never come, drafts that are right and wrong: the same answers."""
    without = decoder.generate(PROMPTS, draft=False, **options)
    oracle.watch()
    assert_same(decoder.generate(PROMPTS, **options), without)
    oracle.speak()
    drafted = decoder.generate(PROMPTS, **options)
    assert_same(drafted, without)
    accepted = sum(output.stats.accepted_tokens for output in drafted)
    assert accepted >= least
    assert sum(output.stats.drafted_tokens for output in drafted) == accepted + sum(rubbish.counts)
    saved = [a.stats.steps - b.stats.steps for a, b in zip(without, drafted, strict=True)]
    assert saved == [output.stats.accepted_tokens for output in drafted]
    assert all(output.stats.drafted_tokens == 0 for output in without)


@pytest.mark.parametrize("family", ["qwen2-window", "llama", "gemma2", "gpt_neox"])
def test_every_family_writes_the_same_with_drafts(family, tokenizer, oracle, rubbish, monkeypatch):
    decoder = Decoder(tiny_model(family, len(tokenizer), seed=3), tokenizer)
    make_models_fork(monkeypatch)
    check(decoder, oracle, rubbish, 10, temperature=1.0, seed=5, batch_size=1, **NESTED)
    assert rubbish.counts, "and what was wrong has been NaN"


@pytest.mark.parametrize(
    ("batch_size", "options"),
    [
        (1, {"temperature": 0.0}),
        (2, {"temperature": 1.0, "seed": 1}),
        (2, {"temperature": 0.7, "seed": 2, "top_p": 0.9, "repetition_penalty": 1.4}),
        (1, {"repetition_penalty": 1.4}),
        (2, {"temperature": 1.0, "seed": 3, "mode": "serial"}),
        (1, {"temperature": 1.0, "seed": 4, "mode": "plain"}),
        (1, {"temperature": 1.0, "seed": 5, "stop": ("e", "an")}),
        (2, {"temperature": 1.0, "seed": 6, "max_branch_tokens": 2}),
        (1, {"temperature": 1.0, "seed": 7, "max_depth": 1}),
        *((1, {"temperature": 1.0, "seed": 8, "max_new_tokens": most}) for most in (1, 5, 24, 41)),
        (2, {"temperature": 1.0, "seed": 9, "max_new_tokens": 45, "mode": "serial"}),
    ],
    ids=str,
)
def test_no_option_makes_drafts_show(batch_size, options, decoder, oracle, rubbish, monkeypatch):
    make_models_fork(monkeypatch)
    least = 0 if options.get("max_new_tokens", 99) < 9 else 2
    check(decoder, oracle, rubbish, least, batch_size=batch_size, **NESTED | options)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_steps_of_fixed_shapes_take_drafts(batch_size, tokenizer, oracle, rubbish, monkeypatch):
    decoder = Decoder(tiny_model("qwen2-window", len(tokenizer), seed=1), tokenizer)
    make_models_fork(monkeypatch)
    decoder.runner.graphs = GraphSteps(decoder.runner._forward)
    rubbish.is_masked = True
    check(decoder, oracle, rubbish, 10, temperature=1.0, seed=4, batch_size=batch_size, **NESTED)
    assert decoder.runner.graphs.refusal is None


def test_bounded_lanes_and_cancelled_requests_leave_texts_alone(
    decoder, oracle, rubbish, monkeypatch
):
    make_models_fork(monkeypatch)

    def answers(options: GenerationOptions) -> dict[int, Output]:
        scheduler, found = decoder.scheduler(3, max_lanes=4), {}
        for index, prompt in enumerate([*PROMPTS, "x", "y"]):
            scheduler.submit(index, decoder.encode(prompt, options), options)
        while not scheduler.idle:
            found |= {i: e.output for i, e in scheduler.step() if isinstance(e, Done)}
            if 0 in scheduler.active and scheduler.active[0].steps == 4:
                scheduler.cancel(0)
        return found

    settings = {"temperature": 1.0, "seed": 2, **NESTED}
    without = answers(GenerationOptions(draft=False, **settings))
    oracle.watch()
    answers(GenerationOptions(**settings))
    oracle.speak()
    drafted = answers(GenerationOptions(**settings))
    assert sorted(drafted) == sorted(without) == [1, 2, 3]
    assert_same([drafted[i] for i in (1, 2, 3)], [without[i] for i in (1, 2, 3)])
    assert sum(output.stats.accepted_tokens for output in drafted.values()) > 10
    assert rubbish.counts


def test_nothing_but_wrong_drafts_is_written_twice(tokenizer, oracle, monkeypatch):
    decoder = Decoder(tiny_model("llama", len(tokenizer)), tokenizer)
    recorder = make_models_fork(monkeypatch)
    settings = {"temperature": 1.0, "seed": 2, **NESTED, "max_new_tokens": 400}
    oracle.watch()
    decoder.generate("Who?", **settings)
    oracle.speak()
    recorder.caches.clear()
    [out] = decoder.generate("Who?", **settings)
    [cache] = recorder.caches
    wrong = out.stats.drafted_tokens - out.stats.accepted_tokens
    assert out.finish_reason == "stop"
    assert cache.taken_back == wrong > 0
    assert cache.writes - wrong == cache.used[0] == out.stats.prompt_tokens + out.stats.tokens - 1
    assert cache.forwards == out.stats.steps


def test_events_of_a_stream_are_those_of_a_decode_without_drafts(decoder, oracle, monkeypatch):
    make_models_fork(monkeypatch)
    settings = {"temperature": 1.0, "seed": 6, **NESTED}
    without = list(decoder.stream("Who?", draft=False, **settings))
    oracle.watch()
    list(decoder.stream("Who?", **settings))
    oracle.speak()
    drafted = list(decoder.stream("Who?", **settings))
    assert drafted[:-1] == without[:-1]
    assert shown_texts(drafted) == shown_texts(without)
    assert drafted[-1].output.stats.steps < without[-1].output.stats.steps


def test_titles_and_quotes_take_fewer_steps(decoder):
    """What stands in the prompt, and `<|title|>` after a title, by the guesses that ship."""
    codec, control = decoder.codec, decoder.codec.control
    quote = codec.encode("one two three four five six seven eight nine ten")
    script = {
        (): [*fork(codec, "A", "B", "C"), *quote, *quote, *quote, decoder.ends[0]],
        ((0, 0),): [*codec.encode("x"), control.branch_end],
        ((0, 1),): [*codec.encode("y"), control.branch_end],
        ((0, 2),): [*codec.encode("z"), control.branch_end],
    }
    without, drafted = (scripted(decoder, script, draft=draft) for draft in (False, True))
    assert_same([drafted], [without])
    stats = drafted.stats
    assert without.stats.steps - stats.steps == stats.accepted_tokens > len(quote)


def test_a_request_that_does_without_is_not_guessed_at(decoder, monkeypatch):
    monkeypatch.setattr(Drafts, "guess", lambda *args: pytest.fail("it was"))
    decoder.generate(PROMPTS, draft=False, max_new_tokens=5)
