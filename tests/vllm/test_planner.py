"""The planner writes what our own engine writes, whatever the server behind it is up to."""

from dataclasses import replace

import pytest

from aspd_cli.core.parser import parse
from aspd_cli.engine.events import Done
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.errors import ModelError, UsageError
from tests.engine.scripted import shown_texts
from tests.vllm.emulator import EmulatedVllm

PROMPTS = ["Compare the two fruits.", "Who was Ada?", "1 + 2 = ", "Banana", "What is it?", "end"]
OPTIONS = {"max_branches": 4, "max_title_tokens": 3, "max_new_tokens": 160, "draft": False}
"""Without drafts, which are our engine's own, steps can be compared too."""


def untimed(output):
    """All that must be the same."""
    names = ("ttft_s", "time_s", "parallel_s")
    return replace(output, stats=replace(output.stats, **dict.fromkeys(names, 0.0)))


def same(own, others):
    return [untimed(a) == untimed(b) for a, b in zip(own, others, strict=True)]


@pytest.fixture(scope="module")
def expected(forking):
    own = forking[0].generate(PROMPTS, **OPTIONS)
    assert sum(output.stats.blocks for output in own) >= 8, "or little is shown"
    assert max(output.stats.max_lanes for output in own) > 2
    return own


@pytest.mark.parametrize("tells_all", [True, False])
@pytest.mark.parametrize("pace", [1.0, 0.4])
@pytest.mark.parametrize("at_once", [1, 6])
def test_answers_are_those_of_our_own_engine(at_once, pace, tells_all, forking, on_vllm, expected):
    engine = EmulatedVllm(forking[1], pace=pace, tells_all=tells_all)
    found = on_vllm(engine).generate(PROMPTS, batch_size=at_once, **OPTIONS)
    assert same(expected, found) == [True] * len(PROMPTS)
    engine.close()


def test_lost_keys_and_values_are_made_again(forking, on_vllm, expected):
    engine = EmulatedVllm(forking[1], losses=0.08, tells_all=False)
    found = on_vllm(engine).generate(PROMPTS, batch_size=3, **OPTIONS)
    assert same(expected, found) == [True] * len(PROMPTS)
    assert engine.lost_answers > 3
    engine.close()


@pytest.mark.parametrize("mode", ["serial", "plain"])
def test_every_mode_is_that_of_our_own_engine(mode, forking, on_vllm):
    engine = EmulatedVllm(forking[1])
    options = {**OPTIONS, "mode": mode}
    found = on_vllm(engine).generate(PROMPTS, **options)
    assert same(forking[0].generate(PROMPTS, **options), found) == [True] * len(PROMPTS)
    assert mode != "plain" or engine.most_running <= len(PROMPTS)
    engine.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_lane_far_ahead_of_the_others_leaves_nothing_wrong_behind(seed, forking, on_vllm):
    """Its request may have ended, and be kept, with tokens that the grammar forbids then."""
    engine = EmulatedVllm(forking[1], pace=0.3, ahead=80, seed=seed, tells_all=False)
    found = on_vllm(engine).generate(PROMPTS[1], **OPTIONS)
    assert same(forking[0].generate(PROMPTS[1], **OPTIONS), found) == [True]
    engine.close()


@pytest.mark.parametrize("budget", [1, 7, 12, 20, 33, 50, 71])
def test_budgets_cut_where_our_own_engine_cuts(budget, forking, on_vllm):
    engine = EmulatedVllm(forking[1], pace=0.6)
    options = {**OPTIONS, "max_new_tokens": budget, "max_branch_tokens": 5}
    found = on_vllm(engine).generate(PROMPTS, **options)
    assert same(forking[0].generate(PROMPTS, **options), found) == [True] * len(PROMPTS)
    assert all(parse(output.markup) == output.document for output in found)
    engine.close()


def test_stop_strings_end_an_answer_and_free_what_it_holds(forking, on_vllm, expected):
    texts = [output.text for output in expected]
    stop = next(text[len(text) // 2 :][:2] for text in texts if len(text) > 20)
    engine = EmulatedVllm(forking[1])
    found = on_vllm(engine).generate(PROMPTS, stop=(stop,), **OPTIONS)
    own = forking[0].generate(PROMPTS, stop=(stop,), **OPTIONS)
    assert same(own, found) == [True] * len(PROMPTS)
    assert any(output.text != text for output, text in zip(found, texts, strict=True))
    engine.close()


def test_events_come_as_those_of_our_own_engine(forking, on_vllm):
    engine = EmulatedVllm(forking[1])
    for prompt in PROMPTS[:3]:
        found = list(on_vllm(engine).stream(prompt, **OPTIONS))
        own = list(forking[0].stream(prompt, **OPTIONS))
        assert [type(event) for event in found] == [type(event) for event in own]
        assert found[:-1] == own[:-1]
        shown_texts(found)


def test_lanes_are_bounded_as_by_our_own_engine(forking, on_vllm):
    engine = EmulatedVllm(forking[1])
    options = GenerationOptions(**OPTIONS)
    decoder, texts = on_vllm(engine), []
    for each in (forking[0], decoder):
        scheduler = each.scheduler(2, max_lanes=3)
        for index, prompt in enumerate(PROMPTS):
            scheduler.submit(index, each.encode(prompt, options), options)
        done = {i: e.output.text for i, e in scheduler.run() if isinstance(e, Done)}
        texts.append([done[index] for index in range(len(PROMPTS))])
    assert engine.most_running <= 3 + 2, "lanes, and branches that are made whole"
    engine.close()


def test_a_cancelled_answer_leaves_nothing_behind(forking, on_vllm, expected):
    engine = EmulatedVllm(forking[1])
    decoder, options = on_vllm(engine), GenerationOptions(**OPTIONS)
    scheduler = decoder.scheduler(3)
    for index, prompt in enumerate(PROMPTS):
        scheduler.submit(index, decoder.encode(prompt, options), options)
    done = {}
    for step in range(2000):
        if step == 12:
            scheduler.cancel(1)
            scheduler.cancel(2)
        if scheduler.idle:
            break
        done |= {i: e.output for i, e in scheduler.step() if isinstance(e, Done)}
    assert sorted(done) == [0, 3, 4, 5]
    assert same([expected[i] for i in sorted(done)], [done[i] for i in sorted(done)]) == [True] * 4
    engine.close()


def test_without_a_connector_nothing_is_answered(forking, on_vllm):
    engine = EmulatedVllm(forking[1], has_connector=False, tells_all=False)
    with pytest.raises(ModelError, match="has no connector of aspd"):
        on_vllm(engine).generate(PROMPTS, **OPTIONS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"repetition_penalty": 1.2}, "repetition_penalty"),
        ({"temperature": 1.0, "min_p": 0.1, "top_p": 0.9}, "min_p and top_p together"),
    ],
)
def test_what_would_be_another_distribution_is_refused(options, said, forking, on_vllm):
    with pytest.raises(UsageError, match=said):
        on_vllm(EmulatedVllm(forking[1])).generate(PROMPTS[:1], **options)


def test_sampling_under_warping_is_held_to_the_grammar_by_vllm(forking, on_vllm):
    engine = EmulatedVllm(forking[1])
    sampled = {**OPTIONS, "temperature": 1.0, "top_k": 5, "seed": 3}
    outputs = on_vllm(engine).generate(PROMPTS[:2], **sampled)
    assert all(parse(output.markup) == output.document for output in outputs)
    lanes = [request for request in engine.submitted if request.options]
    assert all(request.choice for request in lanes)
    assert len({request.seed for request in lanes}) == len(lanes)
    again = EmulatedVllm(forking[1], pace=0.5)
    on_vllm(again).generate(PROMPTS[:2], **sampled)
    seeds = [{request.seed for request in each.submitted} for each in (engine, again)]
    assert seeds[0] == seeds[1], "seeds do not depend on the schedule"
