"""Datasets as input: what names one, a directory read by `datasets`, and what is said offline."""

import json
from pathlib import Path

import pytest

from aspd_cli.errors import DataError
from aspd_cli.sources import DatasetName, dataset_name
from aspd_cli.transform.io.readers import read_values
from aspd_cli.transform.io.records import Record, read_records


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("org/name", DatasetName("org/name")),
        ("org/name:test", DatasetName("org/name", None, "test")),
        ("org/name/main:test", DatasetName("org/name", "main", "test")),
        ("org/name/main", DatasetName("org/name", "main")),
        ("org/name:train[:10%]", DatasetName("org/name", None, "train[:10%]")),
        ("org/answers.jsonl", None),
        ("answers", None),
        ("/tmp/no/such/file", None),
        ("a/b/c/d", None),
    ],
)
def test_names_of_datasets_and_of_files_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: DatasetName | None
) -> None:
    monkeypatch.chdir(tmp_path)
    assert dataset_name(Path(text)) == name


def test_a_missing_file_in_a_directory_that_is_there_is_no_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    assert dataset_name(Path("data/answers")) is None
    with pytest.raises(DataError, match="No such file"):
        list(read_values(Path("data/answers")))


def test_a_directory_is_read_by_its_splits(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2)):
        rows = (json.dumps({"question": f"{split} {n}", "answer": "a"}) for n in range(count))
        (tmp_path / f"{split}.jsonl").write_text("\n".join(rows))
    found = list(read_records(tmp_path))
    assert all(isinstance(record, Record) for record in found)
    assert [r.line for r in found] == [1, 2, 3]
    test = [r for r in read_records(Path(f"{tmp_path}:test")) if isinstance(r, Record)]
    assert [r.example.prompt[0]["content"] for r in test] == ["test 0", "test 1"]
    with pytest.raises(DataError, match=r"cannot read the dataset .*: Bad split: dev"):
        list(read_records(Path(f"{tmp_path}:dev")))
