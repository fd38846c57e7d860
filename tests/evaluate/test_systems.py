"""Systems: transformers' `generate` and our engine answer alike, and in turn."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from aspd_cli.core.markup import plain
from aspd_cli.core.parser import parse
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.errors import ModelError, UsageError
from aspd_cli.evaluate.interleave import interleave
from aspd_cli.evaluate.requests import EvalRequest
from aspd_cli.evaluate.systems import (
    WARM_UP_TOKENS,
    Engine,
    baseline,
    check_systems,
    make_runner,
    warm_up,
)
from aspd_cli.recipe.sections import ModelSection

PROMPTS = ("Hi", "Apples are red?", "Who was Ada, and who was Alan?")
BLOCK = (
    "So <|title|>One<|/title|><|title|>Two<|/title|><|para|><|branch|>One: short<|/branch|>"
    "<|branch|>Two: this one goes on.<|/branch|><|/para|> end"
)


def requests(
    decoder: Decoder, prompts: Sequence[str] = PROMPTS, **options: Any
) -> list[EvalRequest]:
    chosen = GenerationOptions(**{"max_new_tokens": 20} | options)
    return [
        EvalRequest("t", "c", str(at), prompt, tuple(decoder.encode(prompt, chosen)), chosen)
        for at, prompt in enumerate(prompts)
    ]


def replies(
    decoder: Decoder, name: str, each: list[EvalRequest], concurrency: int = 1
) -> list[Any]:
    runner = make_runner(name, decoder, None, None)
    return [runner.reply(output) for output in runner.answer(each, concurrency)]  # type: ignore[arg-type]


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("options", [{}, {"repetition_penalty": 1.3}, {"max_new_tokens": 60}])
def test_transformers_and_our_plain_mode_write_the_same(
    decoder: Decoder, concurrency: int, options: dict[str, Any]
) -> None:
    each = requests(decoder, **options)
    ours, theirs = (replies(decoder, name, each, concurrency) for name in ("plain", "hf"))
    assert [reply.text for reply in theirs] == [reply.text for reply in ours]
    assert [reply.finish_reason for reply in theirs] == [reply.finish_reason for reply in ours]
    for mine, stock in zip(ours, theirs, strict=True):
        assert (stock.stats.tokens, stock.stats.useful_tokens, stock.stats.steps) == (
            mine.stats.tokens,
            mine.stats.useful_tokens,
            mine.stats.steps + mine.stats.accepted_tokens,
        )
        assert 0 < stock.stats.ttft_s <= stock.stats.time_s


def test_a_stop_string_ends_both_at_the_same_place(decoder: Decoder) -> None:
    text = replies(decoder, "plain", requests(decoder))[1].text
    stop = (text[len(text) // 2 :][:2],)
    ours, theirs = (replies(decoder, n, requests(decoder, stop=stop))[1] for n in ("plain", "hf"))
    assert ours.text == theirs.text == text[: text.find(stop[0])]
    assert theirs.finish_reason == "stop"
    assert theirs.stats.steps < 20


def test_the_models_own_generation_settings_do_not_count(decoder: Decoder) -> None:
    before = [reply.text for reply in replies(decoder, "hf", requests(decoder))]
    settings = decoder.stock.generation_config
    settings.repetition_penalty, settings.do_sample, settings.temperature = 1.9, True, 5.0
    try:
        assert [reply.text for reply in replies(decoder, "hf", requests(decoder))] == before
    finally:
        settings.repetition_penalty, settings.do_sample, settings.temperature = 1.0, False, 1.0


def test_sampled_answers_of_transformers_follow_the_seed(decoder: Decoder) -> None:
    drawn = [
        [
            reply.text
            for reply in replies(decoder, "hf", requests(decoder, temperature=1.0, seed=seed))
        ]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_given_answer_is_written_by_every_system(decoder: Decoder) -> None:
    document = parse(BLOCK)
    [request] = requests(decoder, PROMPTS[:1], max_new_tokens=200, draft=False)
    request = replace(request, document=document)
    found = {
        name: replies(decoder, name, [request])[0] for name in ("parallel", "serial", "plain", "hf")
    }
    assert {reply.text for reply in found.values()} == {plain(document)}
    assert found["parallel"].markup == found["serial"].markup == BLOCK
    assert found["parallel"].stats.steps < found["serial"].stats.steps
    tokens = len(decoder.codec.encode(plain(document))) + 1
    assert found["plain"].stats.steps == found["hf"].stats.steps == tokens
    assert found["hf"].stats.useful_tokens == tokens - 1
    assert {bar.lane for bar in found["parallel"].bars} == {0, 1, 2}
    assert found["parallel"].bars[-1].end < found["parallel"].stats.steps


def test_a_block_cut_by_the_budget_is_malformed(decoder: Decoder) -> None:
    [request] = requests(decoder, PROMPTS[:1], max_new_tokens=35)
    [reply] = replies(decoder, "parallel", [replace(request, document=parse(BLOCK))])
    assert reply.stats.blocks == 1
    assert (reply.finish_reason, reply.malformed) == ("length", True)


class Noted(Engine):
    """An engine that notes what it is asked."""

    def __init__(self, name: str, decoder: Decoder, log: list[tuple[str, tuple[str, ...]]]) -> None:
        made = make_runner("plain", decoder, None, None)
        super().__init__(replace(made.system, name=name), decoder)
        self.log = log

    def answer(self, each: Sequence[EvalRequest], concurrency: int) -> list[Any]:
        self.log.append((self.system.name, tuple(request.doc_id for request in each)))
        return super().answer(each, concurrency)


def test_every_prompt_goes_to_all_systems_before_the_next_and_each_is_first_in_turn(
    decoder: Decoder,
) -> None:
    log: list[tuple[str, tuple[str, ...]]] = []
    runners = [Noted(name, decoder, log) for name in ("a", "b")]
    each = requests(decoder, PROMPTS[:2], max_new_tokens=3)
    told: list[int] = []
    answers = list(interleave(runners, {"a": each, "b": each}, repeats=2, advance=told.append))
    assert log == [
        ("a", ("0",)),  # warm-up
        ("b", ("0",)),
        *[("a", ("0",)), ("b", ("0",)), ("b", ("0",)), ("a", ("0",))],
        *[("b", ("1",)), ("a", ("1",)), ("a", ("1",)), ("b", ("1",))],
    ]
    assert [(a.doc_id, a.system, len(a.times_s)) for a in answers] == [
        ("0", "a", 2),
        ("0", "b", 2),
        ("1", "a", 2),
        ("1", "b", 2),
    ]
    assert sum(told) == 8
    assert all(answer.peak_memory > 0 for answer in answers)


@pytest.mark.parametrize("name", ["parallel", "serial", "plain", "hf"])
def test_nothing_is_timed_before_a_system_has_forked_and_merged_once(
    decoder: Decoder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner(name, decoder, None, None)
    answer, untimed = runner.answer, list[Any]()

    def noted(each: list[EvalRequest], concurrency: int) -> Any:
        found = answer(each, concurrency)
        untimed.extend(map(runner.reply, found))
        return found

    monkeypatch.setattr(runner, "answer", noted)
    long = " ".join(map(str, range(400)))
    document = parse(BLOCK.replace("short", long).replace("this one goes on", long))
    [request] = requests(decoder, PROMPTS[:1], max_new_tokens=4000, draft=False)
    warm_up(runner, replace(request, document=document))
    [reply] = untimed
    assert reply.stats.tokens <= WARM_UP_TOKENS
    if name in ("parallel", "serial"):
        assert "<|/para|>" in reply.markup
        assert reply.text.endswith(" end"), "it went on after the merge"
        assert reply.stats.tokens < WARM_UP_TOKENS
        assert reply.stats.max_lanes == (2 if name == "parallel" else 1)


def test_many_prompts_at_once_are_a_round_of_equal_options(decoder: Decoder) -> None:
    log: list[tuple[str, tuple[str, ...]]] = []
    few, more = requests(decoder, max_new_tokens=2), requests(decoder, ("x",) * 9, max_new_tokens=3)
    answers = list(interleave([Noted("a", decoder, log)], {"a": [*few, *more]}, concurrency=2))
    assert [len(prompts) for _, prompts in log] == [1, 3, 8, 1]
    assert [answer.concurrency for answer in answers] == [2] * 12
    rounds = {answer.times_s for answer in answers[:3]}
    assert len(rounds) == 1, "the prompts of a round share its wall-clock"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["paralel"], "paralel: unknown system"),
        (["parallel", "parallel"], "twice"),
        (["plain=x"], "NAME=PATH"),
        (["seq="], "NAME=PATH"),
        ([], "names no system"),
    ],
)
def test_what_is_no_system_is_refused(words: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_systems(words, ModelSection())


def test_seq_alone_is_the_embedded_one_and_only_for_the_embedded_model() -> None:
    assert check_systems(["parallel", "seq"], ModelSection())[1] == ("seq", "embedded")
    with pytest.raises(UsageError, match="seq=PATH"):
        check_systems(["seq"], ModelSection(path="x"))


def test_the_fairest_system_that_is_there_is_the_baseline() -> None:
    assert baseline(["parallel", "serial", "hf", "seq"]) == "seq"
    assert baseline(["parallel", "serial", "hf"]) == "hf"
    assert baseline(["parallel", "serial"]) == "serial"
    assert baseline(["parallel"]) == "parallel"


def test_transformers_needs_the_weights_that_it_understands(decoder: Decoder) -> None:
    stock, decoder.stock = decoder.stock, None
    try:
        with pytest.raises(ModelError, match="keep_stock"):
            make_runner("hf", decoder, None, None)
    finally:
        decoder.stock = stock
