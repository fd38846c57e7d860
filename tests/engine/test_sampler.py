"""Sampling as users of transformers know it, and every lane on its own generator.

Shapes: n lanes, V vocabulary.
"""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from aspd_cli.core.layout import lay_out
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.grammar import Choice
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.sampler import Draw, Sampler, generator
from aspd_cli.errors import UsageError
from tests.engine.families import make_models_fork, tiny_model

CPU = torch.device("cpu")
ANY = Choice()
NESTED = {"max_depth": 2, "max_branches": 4, "max_title_tokens": 3, "max_new_tokens": 300}


def random_logits(lanes: int, vocabulary: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(lanes, vocabulary, generator=torch.Generator().manual_seed(seed))


GREEDY = GenerationOptions()


def draws(count: int, choice: Choice = ANY, seed: int = 0, **options: Any) -> list[Draw]:
    chosen = GenerationOptions(**{"temperature": 1.0, **options})
    return [Draw(choice, chosen, generator(seed, "request", [(0, i)])) for i in range(count)]


def test_temperature_zero_is_the_best_allowed_token():
    logits = random_logits(30, 50)
    sample = Sampler(50, CPU)
    lanes = [
        Draw(Choice(banned=(i, i + 1)), GenerationOptions(top_k=3, top_p=0.5)) for i in range(30)
    ]
    allowed = logits.clone()
    for i in range(30):
        allowed[i, [i, i + 1]] = float("-inf")
    assert sample(logits, lanes) == allowed.argmax(dim=-1).tolist()
    only = [Draw(Choice(only=(4, 7)), GREEDY)] * 30
    assert sample(logits, only) == [4 if row[4] >= row[7] else 7 for row in logits.tolist()]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.7},
        {"temperature": 2},
        {"temperature": 1, "top_k": 5},
        {"temperature": 1.3, "top_p": 0.8},
        {"temperature": 0.8, "min_p": 0.1},
        {"temperature": 3, "top_k": 12, "top_p": 0.9, "min_p": 0.2},
        {"temperature": 1, "top_p": 1, "min_p": 0},
        {"temperature": 1, "min_p": 1},
        {"temperature": 1, "top_k": 1000},
    ],
    ids=str,
)
def test_what_is_sampled_lies_in_what_transformers_keeps(settings):
    lanes, vocabulary = 40, 60
    logits = random_logits(lanes, vocabulary)
    warpers = LogitsProcessorList([TemperatureLogitsWarper(float(settings["temperature"]))])
    if "top_k" in settings:
        warpers.append(TopKLogitsWarper(settings["top_k"]))
    if "top_p" in settings:
        warpers.append(TopPLogitsWarper(float(settings["top_p"])))
    if "min_p" in settings:
        warpers.append(MinPLogitsWarper(settings["min_p"]))
    scores = warpers(torch.zeros(lanes, 0, dtype=torch.long), logits.clone())
    sample = Sampler(vocabulary, CPU)
    lines = draws(lanes, **settings)
    found = torch.zeros(lanes, vocabulary)
    for _ in range(60):
        found[range(lanes), sample(logits, lines)] += 1
    assert not found[scores == float("-inf")].any()
    likely = scores.softmax(dim=-1) > 0.2
    assert (found[likely] > 0).all(), "nor is anything kept from being sampled"


def test_draws_are_distributed_as_the_softmax_says():
    vocabulary, lanes, rounds, temperature = 9, 200, 100, 1.5
    logits = random_logits(1, vocabulary, seed=3)
    banned = Choice(banned=(2,))
    sample = Sampler(vocabulary, CPU)
    lines = draws(lanes, banned, seed=11, temperature=temperature)
    counts = np.zeros(vocabulary)
    for _ in range(rounds):
        counts += np.bincount(sample(logits.expand(lanes, -1), lines), minlength=vocabulary)
    scores = logits[0].double() / temperature
    scores[2] = float("-inf")
    expected = scores.softmax(dim=-1).numpy() * lanes * rounds
    assert counts[2] == 0
    kept = expected > 0
    chi_square = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    assert chi_square < 24.3, "exceeded once in a thousand seeds (7 degrees of freedom)"


def test_the_lanes_of_an_answer_draw_independently():
    logits, rounds = torch.zeros(2, 4), 4000
    sample = Sampler(4, CPU)
    lines = draws(2)
    pairs = np.zeros((4, 4))
    for _ in range(rounds):
        pairs[tuple(sample(logits, lines))] += 1
    chi_square = ((pairs - rounds / 16) ** 2 / (rounds / 16)).sum()
    assert chi_square < 37.7, "exceeded once in a thousand seeds (15 degrees of freedom)"


def test_a_draw_does_not_depend_on_who_draws_with_it():
    logits = random_logits(5, 40)
    sample = Sampler(40, CPU)
    together, alone = draws(5, top_p=0.9), draws(5, top_p=0.9)
    for _ in range(20):
        found = sample(logits, together)
        assert found == [sample(logits[i : i + 1], alone[i : i + 1])[0] for i in range(5)]


def test_each_lane_is_sampled_under_its_own_options():
    """A step of requests with other settings gives what each of them gives by itself."""
    logits = random_logits(6, 40)

    def lanes() -> list[Draw]:
        one, other = draws(2, temperature=0.5, top_k=9), draws(2, seed=3, min_p=0.1)
        penalty = GenerationOptions(repetition_penalty=1.7)
        return [
            one[0],
            other[0],
            Draw(ANY, GREEDY),
            Draw(ANY, penalty, None, (1, 2)),
            one[1],
            other[1],
        ]

    together, alone, sample = lanes(), lanes(), Sampler(40, CPU)
    for _ in range(20):
        found = sample(logits, together)
        assert found == [sample(logits[i : i + 1], alone[i : i + 1])[0] for i in range(6)]


def test_the_same_seed_gives_the_same_text_and_another_another(decoder, monkeypatch):
    make_models_fork(monkeypatch)
    texts = []
    for seed in (1, 2, 3):
        options = {"temperature": 1.0, "seed": seed, **NESTED}
        one, same = (decoder.generate("Who?", **options)[0] for _ in range(2))
        assert one.token_ids == same.token_ids
        texts.append(one.text)
    assert len(set(texts)) == 3


def test_the_same_prompt_twice_draws_twice_and_again_the_same(decoder, monkeypatch):
    make_models_fork(monkeypatch)
    options = {"temperature": 1.0, "seed": 4, **NESTED}
    first, other, second, third = decoder.generate(["Hi", "Who?", "Hi", "Hi"], **options)
    assert len({first.text, second.text, third.text}) == 3
    again = decoder.generate(["Hi", "Hi", "Hi", "Who?"], batch_size=2, **options)
    assert [out.text for out in again] == [first.text, second.text, third.text, other.text]
    assert decoder.generate("Hi", **options)[0].text == first.text


def test_a_repetition_penalty_touches_only_what_a_lane_has_seen():
    logits = random_logits(3, 30)
    before = logits.clone()
    histories = [(1, 5, 5, 1), (), (29,)]
    penalised = before.clone()
    for row, history in zip(penalised, histories, strict=True):
        for token in set(history):
            row[token] = row[token] / 1.7 if row[token] > 0 else row[token] * 1.7
    sample, mild = Sampler(30, CPU), GenerationOptions(repetition_penalty=1.7)
    found = sample(logits, [Draw(ANY, mild, None, history) for history in histories])
    assert found == penalised.argmax(dim=-1).tolist()
    assert torch.equal(logits, before), "the model's logits are left alone"
    for token in range(30):  # whatever stands first is what counts
        one = before.clone()
        one[:, token] = 20.0
        strong = GenerationOptions(repetition_penalty=1e6)
        seen = [Draw(ANY, strong, None, history) for history in ((token,), (), (token, token))]
        assert [t == token for t in sample(one, seen)] == [False, True, False]


def test_a_lane_repeats_control_tokens_and_its_siblings_but_nothing_that_it_sees(
    tokenizer, monkeypatch
):
    """With a penalty that forbids: text in a lane is new to it, structure is not counted."""
    decoder = Decoder(tiny_model("qwen2", len(tokenizer), seed=1), tokenizer)
    recorder = make_models_fork(monkeypatch)
    prompts = ["Who was Ada?", "Hi", "Compare.", "x = 1", "So?"]
    decoder.generate(prompts, temperature=0.0, repetition_penalty=1e9, **NESTED)
    shared = lanes = 0
    for index, prompt in enumerate(prompts):
        answer = recorder.answers[index]
        tree, prompt_ids = answer.main.tree(), decoder.encode(prompt, answer.options)
        layout = lay_out(tree, decoder.codec, prompt_ids=prompt_ids)
        sees = layout.visibility()
        text = ~np.isin(layout.input_ids, sorted(decoder.runner.unpenalised_ids))
        for at in np.flatnonzero(layout.sampled & text):
            # The best of many logits is positive, so a penalised token never is the best one.
            seen = set(layout.input_ids[:at][sees[at, :at] & text[:at]].tolist())
            assert layout.input_ids[at] not in seen
        written = [
            set(layout.input_ids[(layout.lanes == lane) & layout.sampled & text].tolist())
            for lane in range(len(layout.sees))
        ]
        hidden = [(a, b) for a, b in np.argwhere(~layout.sees) if a < b]
        shared += sum(len(written[a] & written[b]) for a, b in hidden)
        lanes += len(written)
    assert lanes > 15
    assert shared > 0, "siblings do not see each other"


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "fast"},
        {"max_new_tokens": 0},
        {"max_branch_tokens": 0},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": 0},
        {"top_p": 0},
        {"top_p": 1.1},
        {"min_p": 2},
        {"repetition_penalty": 0},
        {"repetition_penalty": float("inf")},
        {"stop": ["a", ""]},
        {"max_branches": 1},
        {"max_title_tokens": 0},
        {"max_depth": 0},
        {"max_depth": 33},
    ],
    ids=str,
)
def test_an_option_out_of_range_is_named(options, decoder):
    [name] = options
    word = "stop string" if name == "stop" else name
    with pytest.raises(UsageError, match=word) as caught:
        decoder.generate("Hi", **options)
    assert "\n" not in str(caught.value)


def test_whole_numbers_do_where_transformers_wants_fractions(decoder):
    options = {"temperature": 2, "top_p": 1, "min_p": 0, "repetition_penalty": 2}
    [whole] = decoder.generate("Hi", max_new_tokens=5, **options)
    fractions = {name: float(value) for name, value in options.items()}
    [same] = decoder.generate("Hi", max_new_tokens=5, **fractions)
    assert whole.token_ids == same.token_ids


def test_a_single_stop_string_is_not_taken_apart():
    assert GenerationOptions(stop="end").stop == ("end",)
    assert GenerationOptions(stop=["a", "b"]).stop == ("a", "b")
