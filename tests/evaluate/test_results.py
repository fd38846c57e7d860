"""Results go to JSON and come back the same."""

import json
import math
from pathlib import Path

import pytest

from aspd_cli.errors import DataError
from aspd_cli.evaluate.figures import Score
from aspd_cli.evaluate.latency import latency
from aspd_cli.evaluate.results import EvalAnswer, Evaluation, read_evaluation
from tests.evaluate.answers import SYSTEMS, answer


def evaluation() -> Evaluation:
    answers = (
        answer("parallel", scores={"exact_match,none": 1.0}, target="x", times_s=(1.0, 3.0)),
        answer("hf", bars=(), times_s=(2.0,)),
    )
    return Evaluation(
        systems=SYSTEMS,
        baseline="hf",
        answers=answers,
        scores=(Score("parallel", "t", "all", "exact_match,none", 1, (1.0, math.nan, 1.0)),),
        latency=tuple(latency(SYSTEMS, answers)),
        lm_eval={"hf": {"results": {"t": {"x": 1}}, "n-shot": {"t": 5}}},
        settings={"model": {"path": None}},
        notes=("a sentence",),
    )


def test_an_evaluation_survives_its_files(tmp_path: Path) -> None:
    before = evaluation()
    (tmp_path / "results.json").write_text(json.dumps(before.results()))
    lines = [json.dumps(each.as_dict()) for each in before.answers]
    (tmp_path / "samples.jsonl").write_text("\n".join(lines) + "\n")
    after = read_evaluation(tmp_path)
    assert after.as_dict() == before.as_dict()
    assert after.answers == before.answers


def test_results_have_the_layout_of_lm_eval_with_ours_added() -> None:
    found = evaluation().results()
    assert found["results"] == {"t": {"x": 1}}
    assert found["n-shot"] == {"t": 5}
    assert found["aspd"]["baseline"] == "hf"
    assert "NaN" not in json.dumps(found)


def test_fields_of_another_program_are_left_out_of_an_answer() -> None:
    line = answer().as_dict() | {"later": 1}
    line["stats"] |= {"invented": 2}
    assert EvalAnswer.of(line) == answer()


def test_the_wall_clock_of_an_answer_is_the_median_of_its_runs() -> None:
    assert answer(times_s=(1.0, 9.0, 2.0)).wall_s == 2.0


@pytest.mark.parametrize("text", [None, "{", "{}", '{"aspd": {}}'])
def test_a_directory_without_results_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "results.json").write_text(text)
        (tmp_path / "samples.jsonl").write_text("")
    with pytest.raises(DataError, match="contains no results"):
        read_evaluation(tmp_path)
