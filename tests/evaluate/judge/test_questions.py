"""Questions of the judged benches: every form of file, and what is no question."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aspd_cli.errors import DataError
from aspd_cli.evaluate.judge.questions import BENCHES, Question, load_questions


def write(path: Path, *records: Any) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def test_a_file_in_fastchats_form_gives_turns_and_references(tmp_path: Path) -> None:
    record = {"question_id": 7, "category": "math", "turns": ["a?", "b?"], "reference": ["1", ""]}
    path = write(tmp_path / "q.jsonl", record, {"question_id": 8, "turns": ["c?"]})
    first, second = load_questions("mt_bench", {"mt_bench": path})
    assert first == Question("7", "math", ("a?", "b?"), ("1", ""))
    assert (first.reference(0), first.reference(1), second.reference(0)) == ("1", "", "")
    assert second.category == "mt_bench"


def test_references_in_a_file_of_their_own_win_over_those_beside_the_question(
    tmp_path: Path,
) -> None:
    questions = write(
        tmp_path / "q.jsonl",
        {"question_id": 1, "turns": ["a"], "reference": ["old"]},
        {"question_id": 2, "turns": ["b"], "reference": ["kept"]},
    )
    answers = write(
        tmp_path / "r.jsonl", {"question_id": 1, "choices": [{"index": 0, "turns": ["new"]}]}
    )
    data = {"mt_bench": questions, "mt_bench.reference": answers}
    assert [q.references for q in load_questions("mt_bench", data)] == [("new",), ("kept",)]


@pytest.mark.parametrize("name", ["contexts", "context", "documents"])
def test_passages_stand_before_the_first_turn_only(tmp_path: Path, name: str) -> None:
    passages = "Ada lives in Rome." if name == "context" else ["Ada lives in Rome.", "Rome is old."]
    record = {"id": "x", "question": "Where?", name: passages, "reference": "Rome"}
    [question] = load_questions("rag_bench", {"rag_bench": write(tmp_path / "q.jsonl", record)})
    text = "Ada lives in Rome.\n\nWhere?"
    if name != "context":
        text = "Ada lives in Rome.\n\nRome is old.\n\nWhere?"
    assert question.prompt([]) == [{"role": "user", "content": text}]
    assert question.references == ("Rome",)


def test_the_second_turn_has_the_first_answer_as_plain_history() -> None:
    question = Question("1", "c", ("one?", "two?"))
    assert question.prompt(["1!"]) == [
        {"role": "user", "content": "one?"},
        {"role": "assistant", "content": "1!"},
        {"role": "user", "content": "two?"},
    ]


def test_a_limit_keeps_all_categories(tmp_path: Path) -> None:
    records = [{"id": i, "category": "abcd"[i // 10], "turns": ["?"]} for i in range(40)]
    path = write(tmp_path / "q.jsonl", *records)
    kept = load_questions("mt_bench", {"mt_bench": path}, limit=8)
    assert Counter(q.category for q in kept) == dict.fromkeys("abcd", 2)
    assert len(load_questions("mt_bench", {"mt_bench": path}, limit=99)) == 40


@pytest.mark.parametrize(
    ("bench", "text", "words"),
    [
        ("mt_bench", "{", "q.jsonl:1 is not JSON"),
        ("mt_bench", "[]", "q.jsonl:1: a question is a JSON object, not list"),
        ("mt_bench", '{"turns": []}', "needs `turns`"),
        ("mt_bench", '{"turns": [" "]}', "needs `turns`"),
        ("mt_bench", '{"turns": [1]}', "`turns` must be a string or a list of strings"),
        ("mt_bench", "\n", "no questions for"),
        ("mt_bench", '{"id": 1, "turns": ["a"]}\n{"id": 1, "turns": ["b"]}', "the id '1'"),
        ("rag_bench", '{"question": "a"}', "needs `contexts`"),
    ],
)
def test_what_is_no_question_says_where_and_why(
    tmp_path: Path, bench: str, text: str, words: str
) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        load_questions(bench, {bench: str(path)})


def test_a_line_that_holds_no_question_costs_only_itself(tmp_path: Path) -> None:
    bad = [
        "{broken",
        "[]",
        '{"turns": ["\\ud800"]}',
        '{"turns": ["a"], "id": NaN}',
        '{"turns": ["a"], "question_id": "\\ud800"}',
        '{"turns": ["a"], "turns": ["b"]}',
        '{"turns": ["a"], "category": "\\udfff"}',
        "[" * 100_000,
    ]
    path = tmp_path / "q.jsonl"
    path.write_text(
        '{"turns": ["a\u2028b"], "question_id": 1}\n' + "\n".join(bad), encoding="utf-8"
    )
    extra = tmp_path / "r.jsonl"
    extra.write_text('{"question_id": 1}\n{"question_id": 1, "reference": "x"}\n')
    rejected: list[str] = []
    data = {"mt_bench": str(path), "mt_bench.reference": str(extra)}
    [question] = load_questions("mt_bench", data, rejected=rejected)
    assert (question.turns, question.references) == (("a\u2028b",), ("x",))
    places = [f"{path}:{line}" for line in range(2, 10)] + [f"{extra}:1"]
    assert len(rejected) == len(places)
    assert all(text.startswith(place) for text, place in zip(rejected, places, strict=True))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl: No such file"):
        load_questions("mt_bench", {"mt_bench": str(tmp_path / "nowhere.jsonl")})


@pytest.mark.parametrize("bench", BENCHES)
def test_without_the_hub_one_sentence_says_what_to_do(
    bench: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(
        DataError, match=rf"cannot load the questions of .*; give .* --data {bench}=FILE\.jsonl"
    ):
        load_questions(bench)
