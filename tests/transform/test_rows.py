"""The function for one's own engine: the rows of `aspd transform`, in any process."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aspd_cli as aspd
from aspd_cli.errors import DataError, UsageError
from aspd_cli.recipe import Recipe
from aspd_cli.transform.blocks import Budgets
from aspd_cli.transform.io.readers import Raw
from aspd_cli.transform.pipeline import transform_file
from aspd_cli.transform.rows import _codec
from aspd_cli.transform.validation.checks import Checker
from tests.transform import answers
from tests.transform.test_pipeline import ANSWERS

RECIPE = aspd.load_recipe(None, ["transform.min_tokens=10"])
RECORDS = [
    {"id": f"n{n}", "question": f"q {n}", "answer": answer} for n, answer in enumerate(ANSWERS)
]


def columns(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [record[name] for record in records] for name in records[0]}


def test_rows_are_those_that_the_command_writes(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    transform_file(source, out, RECIPE.transform, _codec(None, False))
    expected = list(map(json.loads, out.read_text().splitlines()))
    assert aspd.transform_records(RECORDS, RECIPE) == expected
    batch = aspd.transform_records(columns(RECORDS), RECIPE)
    for row in expected:
        row["aspd"] |= {name: row["aspd"][name] or "" for name in ("reason", "notation")}
    assert batch == columns(expected)
    assert {"parallel", "serial"} == {row["aspd"]["status"] for row in expected}


@pytest.mark.parametrize("limit", ["max_branches=2", "max_title_tokens=8", "max_depth=1"])
def test_what_is_written_is_within_what_the_same_recipe_decodes(limit: str) -> None:
    texts = [text for text, _ in answers.PARALLEL.values()]
    records = [{"id": n, "question": "q", "answer": text} for n, text in enumerate(texts)]
    free = ["transform.min_tokens=10", "transform.min_speedup=1.05"]
    codec = _codec(None, False)

    def beyond(rows: list[dict[str, Any]], recipe: Recipe) -> set[str]:
        checker = Checker(codec, 2000, budgets=Budgets.of(recipe.generation))
        found = [each for row in rows for each in checker.check(Raw(1, row)).findings]
        return {each.kind for each in found}

    bound = aspd.load_recipe(None, [*free, f"generation.{limit}"])
    unbound = aspd.transform_records(records, aspd.load_recipe(None, free))
    assert "budget" in beyond(unbound, bound)
    rows = aspd.transform_records(records, bound)
    assert "budget" not in beyond(rows, bound)
    assert "parallel" in {row["aspd"]["status"] for row in rows}


def test_it_is_pure_and_can_be_sent_to_another_process() -> None:
    before = json.dumps(RECORDS)
    again, recipe = pickle.loads(pickle.dumps((aspd.transform_records, RECIPE)))
    assert again(RECORDS, recipe) == aspd.transform_records(RECORDS, RECIPE)
    assert json.dumps(RECORDS) == before


def test_arrays_are_read_as_the_lists_that_they_were() -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": ANSWERS[0]}]
    cell = np.empty(1, dtype=object)
    cell[0] = np.array(turns, dtype=object)
    batch = {"messages": cell, "id": np.array([7])}
    assert aspd.transform_records(batch, RECIPE) == aspd.transform_records(
        {"id": [7], "messages": [turns]}, RECIPE
    )


def test_what_holds_no_conversation_has_a_row_that_says_why() -> None:
    bad = {"id": "x", "question": "q", "answer": " "}
    good, rejected = aspd.transform_records([RECORDS[0], bad], RECIPE)
    assert rejected["aspd"]["status"] == "rejected"
    assert rejected["aspd"]["reason"] == "the answer is empty"
    assert (rejected["prompt"], rejected["completion"]) == ([], [])
    assert rejected["aspd"].keys() == good["aspd"].keys()
    assert aspd.transform_records([], RECIPE) == []


def test_what_it_cannot_do_is_said() -> None:
    asking = aspd.load_recipe(None, ["transform.endpoint={model: m}"])
    with pytest.raises(UsageError, match="works by rules"):
        aspd.transform_records(RECORDS, asking)
    with pytest.raises(DataError, match="unrecognised record format"):
        aspd.transform_records([{"text": "x"}])


def test_datasets_maps_it_in_two_processes(tmp_path: Path) -> None:
    from datasets import Dataset

    # Batches without a reason, and with nothing but reasons, are one table.
    records = [*RECORDS[:3], *RECORDS]
    found = Dataset.from_list(records).map(
        aspd.transform_records,
        batched=True,
        batch_size=3,
        num_proc=2,
        fn_kwargs={"recipe": RECIPE},
        remove_columns=["question", "answer"],
        load_from_cache_file=False,
    )
    expected = aspd.transform_records(records, RECIPE)
    assert found["completion"] == [row["completion"] for row in expected]
    assert [row["status"] for row in found["aspd"]] == [row["aspd"]["status"] for row in expected]


@pytest.mark.slow
def test_ray_data_maps_it() -> None:
    ray = pytest.importorskip("ray")
    data = pytest.importorskip("ray.data")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        found = data.from_items(RECORDS).map_batches(
            aspd.transform_records, fn_kwargs={"recipe": RECIPE}, batch_size=7
        )
        rows = {row["id"]: row for row in found.take_all()}
    finally:
        ray.shutdown()
    for expected in aspd.transform_records(RECORDS, RECIPE):
        row = rows[expected["id"]]
        assert row["completion"][0]["content"] == expected["completion"][0]["content"]
        assert row["aspd"]["status"] == expected["aspd"]["status"]
