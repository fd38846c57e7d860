"""The run directory holds one run, and nothing of anybody else is lost in it."""

from pathlib import Path

import pytest

from aspd_cli.errors import UsageError
from aspd_cli.train import run_dir
from tests import make
from tests.train.conftest import recipe
from tests.train.test_checkpoints import checkpoint


def test_what_another_program_left_is_refused_whatever_is_asked(tmp_path: Path) -> None:
    for name in ("recipe.yaml", "model.safetensors", "checkpoint-5/model.safetensors"):
        run = tmp_path / name.replace("/", " ")
        theirs = run / name
        theirs.parent.mkdir(parents=True)
        theirs.write_text("precious")
        made = recipe(tmp_path / "base", run)
        for how in ({"resume": True, "fresh": False}, {"resume": False, "fresh": True}):
            with pytest.raises(UsageError, match=r"was not made by `aspd train`, which would"):
                run_dir.open_run(made, **how)
        assert theirs.read_text() == "precious"
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.md").write_text("mine")
    run_dir.open_run(recipe(tmp_path / "base", tmp_path / "notes"), resume=False, fresh=False)
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["notes.md"]


def test_a_run_of_version_0_1_is_known_by_its_versions(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(
        make.recipe_of_0_1(recipe(tmp_path / "b", tmp_path).to_yaml())
    )
    (tmp_path / "versions.json").write_text('{"aspd": "0.1.0"}')
    last = checkpoint(tmp_path, 3)
    made = recipe(tmp_path / "b", tmp_path)
    assert run_dir.open_run(made, resume=True, fresh=False) == last
    run_dir.check_recipe_file(tmp_path / "recipe.yaml", made)
    (tmp_path / "recipe.yaml").write_text("# mine\nmodel: {path: b}\n")
    with pytest.raises(UsageError, match=r"which has no comments; move it"):
        run_dir.check_recipe_file(tmp_path / "recipe.yaml", made)


def test_the_model_that_is_trained_is_never_the_run_directory(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with pytest.raises(UsageError, match=r"model\.path and training\.output_dir are the same"):
        run_dir.check_places(recipe(tmp_path / "base", tmp_path / "x" / ".." / "base"))


def test_samples_are_cut_at_line_feeds_only(tmp_path: Path) -> None:
    lines = [f'{{"step": {step}, "markup": "a\u2028b\x85c"}}\n' for step in (1, 2, 3)]
    (tmp_path / "samples.jsonl").write_text("".join(lines), encoding="utf-8")
    run_dir.cut_samples(tmp_path, checkpoint(tmp_path, 2))
    assert (tmp_path / "samples.jsonl").read_text(encoding="utf-8") == "".join(lines[:2])


@pytest.mark.parametrize("part", ["merged", "checkpoint-2", "config.json"])
def test_what_a_run_would_replace_is_not_what_it_reads(tmp_path: Path, part: str) -> None:
    run = tmp_path / "run"
    (run / part).mkdir(parents=True)
    (run / "data").mkdir()
    for reads in (run / part, run / part / "deeper"):
        with pytest.raises(UsageError, match=r"model.path .* is part of the run in .*, which"):
            run_dir.check_places(recipe(reads, run))
    run_dir.check_places(recipe(run / "data", run))


def test_a_line_that_is_no_sample_is_kept(tmp_path: Path) -> None:
    lines = [b'{"step": 1}', b"torn \xe2\x80\xa8", b'{"step": 3}', b"[]", b'{"step": "x"}']
    (tmp_path / "samples.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    run_dir.cut_samples(tmp_path, checkpoint(tmp_path, 2))
    left = (tmp_path / "samples.jsonl").read_bytes().split(b"\n")
    assert left == [lines[0], lines[1], lines[3], lines[4], b""]
