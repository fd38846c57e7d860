"""Many requests in one cache: none notices the others."""

import numpy as np
import pytest

from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.events import Done
from aspd_cli.engine.kv_cache import LaneCache
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.scheduler import Scheduler
from tests.engine.families import make_models_fork, tiny_model

NESTED = {"max_depth": 2, "max_branches": 4, "max_title_tokens": 3, "max_new_tokens": 300}


@pytest.fixture
def steps(monkeypatch):
    """The rows that every step feeds, in order, while a decoder works."""
    seen = []
    prepare = LaneCache.prepare

    def recording(self, feeds):
        seen.append([feed.row for feed in feeds])
        return prepare(self, feeds)

    monkeypatch.setattr(LaneCache, "prepare", recording)
    return seen


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_at_most_batch_size_requests_share_a_step(batch_size, decoder, steps):
    prompts = [f"{number}?" for number in range(7)]
    list(decoder.generate_iter(prompts, batch_size=batch_size, mode="plain", max_new_tokens=6))
    widths = [len(set(rows)) for rows in steps]
    assert max(widths) == min(batch_size, 7), "and as many as there are"
    assert all(rows == sorted(rows) for rows in steps)


def test_a_row_is_taken_again_as_soon_as_it_is_free(decoder, steps, monkeypatch):
    make_models_fork(monkeypatch)
    prompts = [f"{number}?" for number in range(9)]
    outputs = decoder.generate(prompts, batch_size=3, temperature=1.0, **NESTED)
    total, longest = sum(o.stats.steps for o in outputs), max(o.stats.steps for o in outputs)
    busy = [len(set(rows)) for rows in steps]
    assert sum(busy) == total, "a request takes part in every step from its admission to its end"
    waiting = [width == 3 for width in busy]
    assert waiting.index(False) >= len(steps) - longest, "rows are idle only when no one waits"


def test_a_short_request_finishes_before_a_long_one_that_came_first(tokenizer, monkeypatch):
    decoder = Decoder(tiny_model("qwen2", len(tokenizer)), tokenizer)
    make_models_fork(monkeypatch)
    options = {"temperature": 1.0, "seed": 1, **NESTED}
    prompts = [f"{number}?" for number in range(12)]
    steps = [o.stats.steps for o in decoder.generate(prompts, **options)]
    longest, *_, short, shortest = np.argsort(steps)[::-1]
    assert steps[short] < steps[longest] - 5
    queue = [prompts[i] for i in (longest, short, shortest)]
    finished = [i for i, _ in decoder.generate_iter(queue, batch_size=2, **options)]
    assert finished[0] == 1
    assert sorted(finished) == [0, 1, 2]


@pytest.mark.parametrize("family", ["qwen2-window", "gemma2", "gpt_neox"])
def test_a_request_in_a_used_row_equals_a_run_alone(family, tokenizer, monkeypatch):
    decoder = Decoder(tiny_model(family, len(tokenizer)), tokenizer)
    make_models_fork(monkeypatch)
    options = {"temperature": 1.0, "seed": 2, **NESTED}
    prompts = ["Compare the two fruits by colour and by taste, please.", "Hi", "Who was Ada?", "x"]
    alone = [decoder.generate(prompt, **options)[0] for prompt in prompts]
    for batch_size in (1, 2):
        found = decoder.generate(prompts, batch_size=batch_size, **options)
        assert [o.token_ids for o in found] == [o.token_ids for o in alone]
        assert [o.markup for o in found] == [o.markup for o in alone]
        assert [o.stats.steps for o in found] == [o.stats.steps for o in alone]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_prompts_of_all_lengths_in_one_batch_equal_single_runs(
    family, temperature, tokenizer, monkeypatch
):
    """From a prompt of one word to one of 300 tokens: narrow and wide rows meet in a step."""
    tokenizer.chat_template, template = None, tokenizer.chat_template
    try:
        decoder = Decoder(tiny_model(family, len(tokenizer)), tokenizer)
        make_models_fork(monkeypatch)
        prompts = ["x", "Hi you", "1 + 2 = ", "word " * 30, "12" * 32, "ab" * 160, "x y " * 75]
        options = {"temperature": temperature, "seed": 5, **NESTED, "max_new_tokens": 90}
        alone = [decoder.generate(prompt, **options)[0] for prompt in prompts]
        lengths = [o.stats.prompt_tokens for o in alone]
        assert min(lengths) == 1
        assert max(lengths) >= 300
        for batch_size in (3, 7):
            found = decoder.generate(prompts, batch_size=batch_size, **options)
            assert [o.token_ids for o in found] == [o.token_ids for o in alone]
    finally:
        tokenizer.chat_template = template


def test_answers_come_in_the_order_of_the_prompts(decoder):
    prompts = ["Who was Ada? " * number for number in (9, 1, 5, 2)]
    outputs = decoder.generate(prompts, batch_size=2, max_new_tokens=3, mode="plain")
    alone = [decoder.generate(prompt, max_new_tokens=3, mode="plain")[0] for prompt in prompts]
    assert [o.stats.prompt_tokens for o in outputs] == [o.stats.prompt_tokens for o in alone]
    assert [o.token_ids for o in outputs] == [o.token_ids for o in alone]
    assert decoder.generate([]) == []


def test_conversations_and_questions_go_together(decoder):
    asked = [{"role": "user", "content": "Who?"}]
    one, other, third = decoder.generate(
        ["Who?", asked, [{"role": "system", "content": "Be brief."}, *asked]], max_new_tokens=5
    )
    assert one.token_ids == other.token_ids
    assert third.stats.prompt_tokens > other.stats.prompt_tokens
    [alone] = decoder.generate(asked, max_new_tokens=5)
    assert alone.token_ids == one.token_ids
    [briefed] = decoder.generate("Who?", system="Be brief.", max_new_tokens=5)
    assert briefed.token_ids == third.token_ids


def test_a_finished_request_leaves_nothing_behind(decoder, monkeypatch):
    """Whatever a row held before, as large as it was, the next request computes the same."""
    make_models_fork(monkeypatch)
    made = []
    init = Scheduler.__init__

    def remembering(self, *args, **kwargs):
        init(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(Scheduler, "__init__", remembering)
    options = {"temperature": 0.0, **NESTED}
    decoder.generate(["Compare the two fruits. " * 20, "Hi"], batch_size=1, **options)
    [scheduler] = made
    assert not scheduler.active
    assert scheduler.cache.rows == 1
    cache = scheduler.cache
    assert cache.writes > cache.used[0], "the second request began again at the first slot"


def outputs_of(scheduler, decoder, prompts, options, steps=None):
    """Answers by their index, with the lanes that each step fed."""
    for index, prompt in enumerate(prompts):
        scheduler.submit(index, decoder.encode(prompt, options[index]), options[index])
    return {i: event.output for i, event in scheduler.run() if isinstance(event, Done)}


def test_requests_of_one_step_have_options_of_their_own(decoder, monkeypatch):
    make_models_fork(monkeypatch)
    chosen = [
        GenerationOptions(temperature=1.0, seed=3, **NESTED),
        GenerationOptions(mode="plain", max_new_tokens=20),
        GenerationOptions(mode="serial", temperature=0.7, top_k=20, **NESTED),
        GenerationOptions(temperature=1.0, top_p=0.9, max_branches=2, max_new_tokens=50),
    ]
    prompts = ["Who?", "Who?", "So?", "Hi"]
    together = outputs_of(decoder.scheduler(4), decoder, prompts, chosen)
    for index, prompt in enumerate(prompts):
        alone = outputs_of(decoder.scheduler(1), decoder, [prompt], [chosen[index]])[0]
        assert together[index].token_ids == alone.token_ids


@pytest.mark.parametrize("max_lanes", [3, 5, 50])
def test_branches_that_wait_for_a_lane_write_the_same(max_lanes, decoder, monkeypatch):
    """However few lanes there are, all are used, no more are, and the texts are those of many."""
    make_models_fork(monkeypatch)
    options = GenerationOptions(temperature=1.0, **NESTED | {"max_new_tokens": 600})
    prompts = [f"{number}?" for number in range(6)]
    free = outputs_of(decoder.scheduler(3), decoder, prompts, [options] * 6)
    widths = []
    scheduler = decoder.scheduler(3, max_lanes)
    sample = scheduler.sampler

    def counting(logits, draws):
        widths.append(len(draws))
        return sample(logits, draws)

    scheduler.sampler = counting
    bounded = outputs_of(scheduler, decoder, prompts, [options] * 6)
    assert max(widths) <= max_lanes
    assert max(widths) > 2 if max_lanes < 50 else max(widths) >= 6
    whole = [i for i in range(6) if free[i].finish_reason == "stop"]
    assert len(whole) > 1
    for index in whole:
        assert bounded[index].token_ids == free[index].token_ids
        assert bounded[index].stats.steps >= free[index].stats.steps


def test_a_cancelled_request_frees_its_row_and_disturbs_none(decoder, monkeypatch):
    make_models_fork(monkeypatch)
    options = GenerationOptions(temperature=1.0, **NESTED)
    prompts = [f"{number}?" for number in range(6)]
    alone = outputs_of(decoder.scheduler(1), decoder, prompts, [options] * 6)
    scheduler, outputs = decoder.scheduler(2), {}
    for index, prompt in enumerate(prompts):
        scheduler.submit(index, decoder.encode(prompt, options), options)
    scheduler.cancel(4)  # in the queue
    for _ in range(5):
        list(scheduler.step())
    scheduler.cancel(0)  # in the middle of its answer
    scheduler.cancel(77)
    assert len(scheduler.active) == 1
    while not scheduler.idle:
        outputs |= {i: e.output for i, e in scheduler.step() if isinstance(e, Done)}
    assert sorted(outputs) == [1, 2, 3, 5]
    assert scheduler.lanes == 0
    for index, output in outputs.items():
        assert output.token_ids == alone[index].token_ids
