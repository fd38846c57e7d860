"""Steps of fixed shapes: the same answers, whatever fills the grid. A GPU takes them by itself.

Here they run without the recording: the same buffers, grids, masks and checks.

That every family's logits stay what they were is shown in test_equivalence.
"""

import gc
import itertools
import weakref

import pytest

from aspd_cli.engine import cuda_graph, model_runner
from aspd_cli.engine.cuda_graph import GraphSteps
from aspd_cli.engine.decoder import Decoder
from tests.engine.families import make_models_fork, tiny_model

PROMPTS = ["Compare the two fruits.", "Hi", "Who was Ada?", "What is it?", "end"]
OPTIONS = {"max_depth": 2, "max_branches": 4, "max_title_tokens": 3, "max_new_tokens": 300}


@pytest.fixture
def decoder(tokenizer):
    """Its layers differ: one has a sliding window."""
    return Decoder(tiny_model("qwen2-window", len(tokenizer), seed=1), tokenizer)


@pytest.fixture
def recorder(monkeypatch):
    return make_models_fork(monkeypatch)


@pytest.fixture
def grids(monkeypatch):
    """(rows, queries, slots) of every grid, in the order in which they were made."""
    made = []
    init = cuda_graph._Grid.__init__

    def recording(self, cache, queries, windows):
        made.append((cache.rows, queries, cache.capacity))
        init(self, cache, queries, windows)

    monkeypatch.setattr(cuda_graph._Grid, "__init__", recording)
    return made


def ids(decoder, **options):
    outputs = decoder.generate(PROMPTS, temperature=1.0, seed=4, **OPTIONS, **options)
    return [output.token_ids for output in outputs]


def fix(decoder):
    decoder.runner.graphs = GraphSteps(decoder.runner._forward)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_answers_are_the_same(batch_size, decoder, recorder, grids):
    expected = ids(decoder, batch_size=batch_size)
    fix(decoder)
    called = []
    decoder.model.register_forward_hook(lambda *args: called.append(1))
    assert ids(decoder, batch_size=batch_size) == expected
    graphs = decoder.runner.graphs
    assert graphs.refusal is None
    steps = graphs.steps
    assert len(called) == steps + steps.bit_length(), "once each, and once more to compare"
    assert {rows for rows, _, _ in grids} == {batch_size}
    assert {queries for _, queries, _ in grids} >= {1, 2, 4}
    assert len(grids) == len(set(grids)), "each shape is made once"
    assert len(grids) < steps / 10


def test_a_cache_that_grows_gets_new_grids(decoder, recorder, grids, monkeypatch):
    expected = ids(decoder, batch_size=2)
    monkeypatch.setattr(model_runner, "_ROOM", 32)
    monkeypatch.setattr(model_runner, "_MOST_ROOM", 64)
    fix(decoder)
    assert ids(decoder, batch_size=2) == expected
    assert len({slots for _, _, slots in grids}) >= 2


def test_what_fills_a_grid_writes_to_a_slot_of_its_own(decoder, recorder):
    fix(decoder)
    decoder.generate(PROMPTS[:3], batch_size=3, **OPTIONS)
    [cache] = recorder.caches
    assert max(cache.used) < cache.capacity
    for states in (states for layer in cache.layers for states in (layer.keys, layer.values)):
        assert states[:, :, -1].any(), "filling was written"
        for row, used in enumerate(cache.used):
            assert not states[row, :, used:-1].any(), "and nowhere else"


def test_one_run_after_another_shares_a_cache_and_what_was_recorded_on_it(decoder, recorder, grids):
    fix(decoder)
    first, made = ids(decoder, batch_size=1), len(grids)
    assert ids(decoder, batch_size=1) == first
    assert len(recorder.caches) == 1
    assert len(grids) == made


def test_a_cache_goes_at_once_when_another_takes_its_place(decoder, recorder):
    """With it what was recorded on it, which holds memory of the device."""
    fix(decoder)
    decoder.generate(PROMPTS[:1], max_new_tokens=8)
    recorder.caches.clear()
    gone = weakref.ref(decoder.runner._idle)
    gc.disable()
    try:
        decoder.generate(PROMPTS[:2], max_new_tokens=8)
        assert gone() is None
        assert len(decoder.runner.graphs._grids) == 1
    finally:
        gc.enable()


def test_a_very_long_cache_is_not_kept(decoder, recorder, monkeypatch):
    monkeypatch.setattr("aspd_cli.engine.model_runner._MOST_ROOM", 64)
    fix(decoder)
    ids(decoder, batch_size=1)
    assert decoder.runner._idle is None


def test_two_streams_at_once_do_not_share_a_cache(decoder, recorder):
    expected = [decoder.generate(prompt, **OPTIONS)[0].token_ids for prompt in PROMPTS[:2]]
    fix(decoder)
    streams = [decoder.stream(prompt, **OPTIONS) for prompt in PROMPTS[:2]]
    last = [None, None]
    going = [0, 1]
    while going:
        for index in list(going):
            event = next(streams[index], None)
            if event is None:
                going.remove(index)
            else:
                last[index] = event
    assert [done.output.token_ids for done in last] == expected


def test_a_step_of_many_tokens_is_not_fixed(decoder, recorder, grids):
    fix(decoder)
    prompt = "Compare the two fruits. " * 40
    decoder.generate([prompt, "Hi"], max_new_tokens=8, mode="plain")
    assert max(rows * queries for rows, queries, _ in grids) <= 256


def test_a_window_that_nobody_named_is_refused_not_ignored(decoder, recorder, monkeypatch):
    expected = ids(decoder)
    fix(decoder)
    init = cuda_graph._Grid.__init__
    monkeypatch.setattr(
        cuda_graph._Grid,
        "__init__",
        lambda self, cache, queries, windows: init(self, cache, queries, frozenset({None})),
    )
    assert ids(decoder) == expected
    assert decoder.runner.graphs.refusal


def test_grids_that_compute_something_else_are_given_up_with_a_warning(
    decoder, recorder, monkeypatch, caplog
):
    expected = ids(decoder)
    fix(decoder)
    mask = cuda_graph._FixedGroup.mask
    monkeypatch.setattr(cuda_graph._FixedGroup, "mask", lambda *args: 0 * mask(*args))
    assert ids(decoder) == expected
    assert "logits are off by" in decoder.runner.graphs.refusal
    [said] = caplog.messages
    assert said.startswith("aspd: CUDA graphs are off for this model, decoding is slower: logits")


def test_a_step_that_fails_later_is_done_by_the_model(decoder, recorder, monkeypatch, caplog):
    expected = ids(decoder)
    fix(decoder)
    calls, step = itertools.count(), cuda_graph._Grid._step

    def fails(self, *args):
        if next(calls) == 9:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        return step(self, *args)

    monkeypatch.setattr(cuda_graph._Grid, "_step", fails)
    assert ids(decoder) == expected
    reason = "RuntimeError: operation not permitted when stream is capturing"
    assert decoder.runner.graphs.refusal == reason
    assert reason in str(decoder.runner)
    assert len(caplog.messages) == 1, "said once"
