"""Our language model of lm-eval against lm-eval's own, on the same weights and documents."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM

from aspd_cli.core.chat import encode_prompt
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.errors import DataError, UsageError
from aspd_cli.evaluate.lm_eval.model import AspdLM
from aspd_cli.evaluate.lm_eval.runner import TaskSettings, evaluate_tasks
from aspd_cli.evaluate.lm_eval.tasks import Tasks
from aspd_cli.evaluate.processes import Processes
from aspd_cli.evaluate.systems import make_runner
from tests.evaluate.data import GSM8K, write_jsonl


@pytest.fixture(scope="module")
def gsm8k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("data") / "gsm8k.jsonl", GSM8K)


@pytest.fixture(scope="module")
def theirs(decoder: Decoder) -> HFLM:
    """lm-eval's own class on the same weights."""
    model = copy.copy(decoder.stock)
    assert model is not None
    tokenizer = copy.deepcopy(decoder.codec.tokenizer)
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1)


def instances(kind: str, *arguments: tuple[Any, ...]) -> list[Instance]:
    return [Instance(kind, {}, args, at) for at, args in enumerate(arguments)]  # type: ignore[arg-type]


CHOICES = [
    ("Apples are", " red"),
    ("Apples are", " round and sweet: they grow on trees"),
    ("The sum of 12 and 30 is", " 42"),
    ("", "Hi"),
]


def test_log_likelihoods_are_those_of_lm_evals_own_class(decoder: Decoder, theirs: HFLM) -> None:
    requests = instances("loglikelihood", *CHOICES)
    ours = AspdLM(decoder, batch_size=3)
    expected = theirs.loglikelihood(requests, disable_tqdm=True)
    for found, (value, greedy) in zip(
        ours.loglikelihood(requests, disable_tqdm=True), expected, strict=True
    ):
        assert found[0] == pytest.approx(value, abs=1e-4)
        assert found[1] == greedy
    rolling = instances("loglikelihood_rolling", ("The end of the answer follows.",))
    assert ours.loglikelihood_rolling(rolling) == pytest.approx(
        theirs.loglikelihood_rolling(rolling), abs=1e-3
    )


@pytest.mark.parametrize("template", [False, True])
def test_gsm8k_from_a_file_is_answered_as_by_lm_evals_own_class(
    decoder: Decoder, theirs: HFLM, gsm8k: Path, template: bool
) -> None:
    """Same documents, same five solved examples, same truncation, same answers, same scores."""
    tasks = Tasks(["gsm8k"], {"gsm8k": str(gsm8k)})
    gen_kwargs: dict[str, Any] = {"max_gen_toks": 24}
    barred = sorted(decoder.codec.control)  # our plain mode writes none of these
    expected = lm_eval.simple_evaluate(
        model=theirs,
        tasks=[*tasks.load()["tasks"].values()],
        task_manager=tasks.manager,
        limit=3,
        apply_chat_template=template,
        gen_kwargs=gen_kwargs | {"suppress_tokens": barred},
    )
    runners = [make_runner(name, decoder, None, None) for name in ("plain", "hf")]
    asking = TaskSettings(limit=3, apply_chat_template=template, gen_kwargs=gen_kwargs)
    found = evaluate_tasks(runners, tasks, asking, GenerationOptions(), Processes())
    samples = [s for s in expected["samples"]["gsm8k"] if s["filter"] == "strict-match"]
    texts = [sample["resps"][0][0] for sample in samples]
    assert any(texts)
    for runner in runners:
        name = runner.system.name
        assert [a.text for a in found.answers if a.system == name] == texts
        for metric in ("exact_match,strict-match", "exact_match,flexible-extract"):
            assert (
                found.lm_eval[name]["results"]["gsm8k"][metric]
                == expected["results"]["gsm8k"][metric]
            )
    for answered, sample in zip(found.answers[::2], samples, strict=True):
        context = sample["arguments"][0][0]
        assert answered.prompt in context
        assert sample["doc"]["question"] in answered.prompt
        assert (answered.prompt != context) == template, "the template is the model's affair"


def test_solved_examples_from_the_same_file_never_hold_the_question(gsm8k: Path) -> None:
    tasks = Tasks(["gsm8k"], {"gsm8k": str(gsm8k)})
    assert "same file" in tasks.notes[0]
    [task] = tasks.load()["tasks"].values()
    task.set_fewshot_seed(1)
    task.build_all_requests(limit=8)
    for request in task.instances:
        assert request.args[0].count("Question:") == 6
        assert request.args[0].count(request.doc["question"]) == 1


def test_solved_examples_come_from_a_file_of_their_own_where_there_is_one(
    gsm8k: Path, tmp_path: Path
) -> None:
    train = write_jsonl(tmp_path / "t.jsonl", [{"question": "T?", "answer": "#### 1"}] * 6)
    tasks = Tasks(["gsm8k"], {"gsm8k": str(gsm8k), "gsm8k.train": str(train)})
    assert not tasks.notes
    [task] = tasks.load()["tasks"].values()
    task.set_fewshot_seed(1)
    task.build_all_requests(limit=2)
    assert all(request.args[0].count("Question: T?") == 5 for request in task.instances)


def test_data_out_of_reach_are_told_with_a_way_out() -> None:
    with pytest.raises(DataError, match=r"gsm8k \(openai/gsm8k on the Hub\).*--data gsm8k=FILE"):
        Tasks(["gsm8k"], {}).load()


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        ({"gsm8k": "nowhere.jsonl"}, DataError, "no file nowhere.jsonl, which --data gives"),
        ({"mmlu": "x"}, UsageError, "names no task of this run"),
    ],
)
def test_files_that_fit_no_task_are_refused(data: Any, kind: Any, says: str) -> None:
    with pytest.raises(kind, match=says):
        Tasks(["gsm8k"], data)


def test_documents_of_another_shape_are_told(tmp_path: Path, decoder: Decoder) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{"text": "a"}, {"text": "b"}] * 4)
    runner = make_runner("plain", decoder, None, None)
    with pytest.raises(DataError, match="gsm8k"):
        evaluate_tasks(
            [runner],
            Tasks(["gsm8k"], {"gsm8k": str(path)}),
            TaskSettings(),
            GenerationOptions(),
            Processes(),
        )


def test_generation_arguments_are_lm_evals(decoder: Decoder) -> None:
    model = AspdLM(decoder, mode="serial")
    options = model.options({"until": ["\n", ""], "do_sample": False, "temperature": 0.7})
    assert (options.mode, options.stop, options.temperature) == ("serial", ("\n",), 0.0)
    assert options.max_new_tokens == 256
    drawn = model.options({"do_sample": True, "temperature": 0.7, "top_k": 0, "max_tokens": 9})
    assert (drawn.temperature, drawn.top_k, drawn.max_new_tokens) == (0.7, None, 9)
    with pytest.raises(UsageError, match="length_penalty"):
        model.options({"length_penalty": 2})
    with pytest.raises(UsageError, match="beam"):
        model.options({"num_beams": 4})


def test_a_repetition_penalty_of_the_model_counts_as_for_lm_evals_own_class(
    decoder: Decoder,
) -> None:
    settings = decoder.model.generation_config
    settings.repetition_penalty = 1.2
    try:
        assert AspdLM(decoder).options({}).repetition_penalty == 1.2
        assert AspdLM(decoder).options({"repetition_penalty": 1.0}).repetition_penalty == 1.0
    finally:
        settings.repetition_penalty = 1.0


def test_special_tokens_in_a_document_are_its_text(decoder: Decoder) -> None:
    model, typed = AspdLM(decoder), "what is <|para|>?<|im_end|> <|im_start|>assistant"
    assert (
        not set(model.context_ids(typed, GenerationOptions(max_new_tokens=256)))
        & decoder.codec.special
    )
    turns = [{"role": "system", "content": typed}, {"role": "user", "content": typed}]
    context = model.apply_chat_template(turns)
    assert context.count(typed) == 2, "the context itself is what the template says"
    ids = model.context_ids(context, GenerationOptions(max_new_tokens=256))
    assert ids == encode_prompt(decoder.codec, turns)
    clean = model.apply_chat_template([{**turn, "content": "What?"} for turn in turns])
    special = [i for i in model.tok_encode(clean) if i in decoder.codec.special]
    assert [i for i in ids if i in decoder.codec.special] == special
    whole = model.tok_encode(context + " red<|im_end|>")
    assert [i for i in whole if i in decoder.codec.special] == special


def test_rendered_contexts_have_the_ids_of_lm_evals_own_class(
    decoder: Decoder, theirs: HFLM
) -> None:
    model = AspdLM(decoder)
    turns = [{"role": "user", "content": "Compare <b>two</b> fruits.> "}]
    context = model.apply_chat_template(turns)
    assert context == theirs.apply_chat_template(turns)
    for text in (context, context.rstrip(), f"{context}1. red", "a plain text ", ""):
        assert model.tok_encode(text) == theirs.tok_encode(text)
    turns += [{"role": "assistant", "content": "Sure:"}]
    assert model.apply_chat_template(turns, False) == theirs.apply_chat_template(turns, False)


def test_a_long_context_loses_its_beginning_as_with_lm_evals_own_class(
    decoder: Decoder, theirs: HFLM
) -> None:
    model, text = AspdLM(decoder), "Apples are red. " * 400
    ids = model.context_ids(text, GenerationOptions(max_new_tokens=100))
    assert ids == theirs.tok_encode(text, left_truncate_len=int(theirs.max_length) - 100)
    with pytest.raises(UsageError, match="no room"):
        model.context_ids(text, GenerationOptions(max_new_tokens=10_000))


def test_lm_eval_finds_the_model_type(forking: Path) -> None:
    made = get_model("aspd").create_from_arg_string(
        f"pretrained={forking},mode=plain", {"batch_size": 2, "device": "cpu"}
    )
    options = {"until": [], "max_gen_toks": 8}
    requests = instances("generate_until", ("Hi", options), ("Apples", options))
    texts = made.generate_until(requests)
    runner = AspdLM(made.decoder, mode="plain", batch_size=1)
    assert texts == [runner.generate_until([request])[0] for request in requests]


@pytest.mark.slow
def test_lm_evals_own_command_line_runs_it(forking: Path, gsm8k: Path, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "sums.yaml").write_text(
        "task: sums\ndataset_path: json\ntest_split: test\noutput_type: generate_until\n"
        f"dataset_kwargs:\n  data_files:\n    test: {gsm8k}\n"
        'doc_to_text: "{{question}}"\ndoc_to_target: "{{answer}}"\n'
        "generation_kwargs:\n  until: ['.']\n  max_gen_toks: 6\n"
        "metric_list:\n  - metric: exact_match\n"
    )
    command = [sys.executable, "-m", "aspd_cli.evaluate.lm_eval.model", "--model", "aspd"]
    command += ["--model_args", f"pretrained={forking},mode=serial", "--tasks", "sums"]
    command += ["--include_path", str(tmp_path / "tasks"), "--limit", "2", "--log_samples"]
    command += ["--output_path", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, env=os.environ, timeout=280, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    [results] = (tmp_path / "out").rglob("results_*.json")
    assert json.loads(results.read_text())["results"]["sums"]["exact_match,none"] == 0.0
