"""`aspd env`: one report, as text and as JSON."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import aspd_cli as aspd
from aspd_cli.engine import packed_linear
from aspd_cli.environment import LIBRARIES, VARIABLES
from tests.cli.conftest import Cli

SECRETS = {"HF_TOKEN": "hf_s3cret", "OPENAI_API_KEY": "sk-s3cret", "WANDB_API_KEY": "s3cret"}


def report(cli: Cli, *args: str) -> dict[str, Any]:
    result = cli("env", "--json", *args)
    [line] = result.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def told(text: str) -> dict[str, str]:
    """Label -> value, put together where it was wrapped."""
    rows: dict[str, str] = {}
    label = ""
    for line in text.splitlines():
        label = line[:22].strip() or label
        if line:
            rows[label] = f"{rows[label]} {line[22:]}" if label in rows else line[22:]
    return rows


def test_text_and_json_tell_the_same(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    # What wins is measured anew in each of the two runs: here all of it does.
    monkeypatch.setattr(packed_linear, "_MARGIN", 1e9)
    text = cli("env")
    assert text.exit_code == 0
    found, rows = report(cli), told(text.stdout)
    assert rows["aspd"] == found["aspd"] == aspd.__version__
    assert rows["Python"] == found["python"]
    assert rows["platform"] == found["platform"]
    for each in found["libraries"]:
        version, bounds, *mark = rows[each["name"]].split()
        assert (version, bounds) == (each["version"], each["bounds"])
        assert bool(mark) is not each["fits"]
    assert rows["CPU"] == f"{found['cpu']['name']}, {found['cpu']['cores']} cores"
    assert rows["CPU flags"].split() == (found["cpu"]["flags"] or ["none"])
    seen, model = found["torch"], found["model"]
    assert f"{seen['threads']} threads, {seen['capability']}" in rows["torch computes with"]
    assert rows["auto means"] == f"{seen['device']}, {seen['dtype']}"
    assert rows["model"] == f"embedded, on {model['device']} in {model['dtype']}"
    assert rows["linear layers"] == model["kernels"]
    assert rows["decode steps"] == model["steps"]
    assert rows.items() >= found["caches"].items()
    for name, value in found["variables"].items():
        assert rows[name] == (value or "not set")


def test_kernels_are_those_of_the_model_as_it_is_decoded(cli: Cli, ordinary: Path) -> None:
    decoder = aspd.load(ordinary, dtype="bfloat16")
    model = report(cli, "--model", str(ordinary), "--dtype", "bfloat16")["model"]
    assert model == {
        "name": str(ordinary),
        "device": "cpu",
        "dtype": "bfloat16",
        "kernels": str(decoder.kernels),
        "steps": str(decoder.runner),
        "problem": None,
    }


def test_a_recipe_names_the_model_too(cli: Cli, ordinary: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"model:\n  path: {ordinary}\n")
    assert report(cli, "--recipe", str(recipe))["model"]["name"] == str(ordinary)
    assert report(cli, "--set", f"model.path={ordinary}")["model"]["name"] == str(ordinary)


def test_text_fits_a_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/home/a")
    lines = cli("env", "--no-model").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)


def test_a_broken_bound_is_marked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {each["name"] for each in report(cli, "--no-model")["libraries"] if not each["fits"]}
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda n: "99.1" if n == "peft" else real(n))
    text = cli("env", "--no-model").stdout
    [line] = [line for line in text.splitlines() if line.startswith("peft ")]
    assert "99.1" in line
    assert line.endswith("OUTSIDE OF THESE BOUNDS")
    wrong = {each["name"] for each in report(cli, "--no-model")["libraries"] if not each["fits"]}
    assert "peft" not in before
    assert wrong == before | {"peft"}
    assert text.count("OUTSIDE") == len(wrong)


def test_a_missing_library_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "openai":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    assert told(cli("env", "--no-model").stdout)["openai"].startswith("not installed")


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_model_that_cannot_be_loaded_is_told_beside_the_rest(
    form: tuple[str, ...], cli: Cli, tmp_path: Path
) -> None:
    result = cli("env", "--model", tmp_path, *form)
    assert result.exit_code == 1
    assert "contains no config.json" in " ".join(result.stdout.split())
    assert all(name in result.stdout for name in (*LIBRARIES, *VARIABLES))
    assert "Traceback" not in result.output
    assert "Traceback" in cli("env", "--model", tmp_path, "--debug", *form).stderr


def test_no_secret_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for form in ((), ("--json",)):
        output = cli("env", *form).output
        assert "s3cret" not in output
        assert not any(name in output for name in SECRETS)


def test_without_a_model_none_is_loaded(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aspd_cli.cli.views.generate.open_decoder", None)
    assert report(cli, "--no-model")["model"] is None
    assert "linear layers" not in cli("env", "--no-model").stdout


@pytest.mark.parametrize(
    "flag", [("--model", "x"), ("--adapter", "x"), ("--device", "cpu"), ("--dtype", "float32")]
)
def test_no_model_goes_without_what_loads_one(flag: tuple[str, str], cli: Cli) -> None:
    result = cli("env", "--no-model", *flag)
    assert result.exit_code == 2
    assert "--no-model" in result.stderr


def test_a_variable_that_is_empty_is_set(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    rows = told(cli("env", "--no-model").stdout)
    assert rows["CUDA_VISIBLE_DEVICES"] == "set, and empty"
    assert rows["OMP_WAIT_POLICY"] == "not set"


def test_the_report_is_alone_on_standard_output(spawn: Any) -> None:
    with spawn("env", "--json") as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert set(json.loads(out)) >= {"aspd", "libraries", "torch", "model", "caches", "variables"}
