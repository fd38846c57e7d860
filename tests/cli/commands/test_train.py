"""`aspd train`, from the recipe to an adapter that `aspd generate` decodes with."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import datasets
import pytest

from aspd_cli.recipe import packaged_recipes
from tests.cli.conftest import Cli
from tests.small_disk import small_disk


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path) -> Iterator[None]:
    """Encoded records are cached where the test ends with them."""
    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path / "cache"
    yield
    datasets.config.HF_DATASETS_CACHE = before


@pytest.fixture
def recipe(ordinary: Path, tmp_path: Path) -> Path:
    path = tmp_path / "r.yaml"
    path.write_text(
        f"model: {{path: {ordinary}}}\ndata: {{examples: 8}}\nlora: {{r: 2}}\n"
        "training: {max_steps: 1, per_device_train_batch_size: 2, logging_steps: 1, "
        f"output_dir: {tmp_path / 'run'}}}\ngeneration: {{max_new_tokens: 20}}\n"
    )
    return path


def test_a_trained_adapter_decodes_in_parallel(
    cli: Cli, ordinary: Path, recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    trained = cli("train", recipe)
    assert trained.exit_code == 0, trained.stderr
    assert trained.stdout == f"{run}\n"
    lines = trained.stderr.splitlines()
    assert any(re.fullmatch(r"step 1/1: loss [\d.]+, lr [\d.e-]+", line) for line in lines)
    assert not re.search(r"[{}%|]|it/s", "".join(lines[2:])), "plain lines, no bars, no dicts"
    resumed = cli("train", recipe, "--resume", "--quiet", "--merge")
    assert (resumed.exit_code, resumed.stdout, resumed.stderr) == (0, f"{run}\n", "")
    answer = ("--parallel", "--max-new-tokens", "5", "Hi")
    assert cli("generate", "--model", ordinary, "--adapter", run, *answer).exit_code == 0
    assert cli("generate", "--model", run / "merged", *answer).exit_code == 0
    assert cli("generate", "--model", ordinary, *answer).exit_code == 1


def test_the_seq_model_is_trained_in_the_same_command(
    cli: Cli, recipe: Path, tmp_path: Path
) -> None:
    run, seq = tmp_path / "run", tmp_path / "run-seq"
    done = cli("train", recipe, "--seq", "--json", "--quiet")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["run"], found["seq"]["run"]) == (str(run), str(seq))
    styles = [json.loads((each / "aspd.json").read_text())["style"] for each in (run, seq)]
    assert styles == ["parallel", "serial"]
    again = cli("train", recipe, "--seq", "--resume")
    assert (again.exit_code, again.stdout) == (0, f"{run}\n{seq}\n")
    assert again.stderr.count("the run is finished: all of its 1 steps are done") == 2


def test_what_the_seq_model_would_replace_is_refused_before_the_first_step(
    cli: Cli, recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "run-seq" / "checkpoint-1").mkdir(parents=True)
    refused = cli("train", recipe, "--seq")
    assert refused.exit_code == 2
    assert f"{tmp_path / 'run-seq'}" in refused.stderr
    assert not list((tmp_path / "run").glob("*"))


def test_json_is_one_object_about_the_run(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    done = cli("train", recipe, "--json", "--quiet", "--set", "data.eval_share=0.3")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["run"], found["steps"]) == (str(tmp_path / "run"), 1)
    assert found["losses"] == [[1, found["loss"]]]
    assert found["evaluation"]["eval_loss"] > 0


def test_a_dry_run_shows_figures_and_a_record_and_writes_nothing(
    cli: Cli, recipe: Path, tmp_path: Path
) -> None:
    shown = cli("train", recipe, "--dry-run")
    assert shown.exit_code == 0, shown.stderr
    for words in ("with blocks", "memory", "1 step of 2 records", "<|/para|>"):
        assert words in shown.stdout
    figures = json.loads(cli("train", recipe, "--dry-run", "--json").stdout)
    assert figures["steps"] == 1
    assert figures["family"] == "qwen2"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--resume", "--fresh"], 2, "choose one"),
        (["--dry-run", "--merge"], 2, "--dry-run changes nothing"),
        (["--seq", "--push", "me/it"], 2, "leave out --seq"),
        (["--seq", "--set", "data.style=serial"], 2, "leave out --seq"),
        (["--set", "lora.rank=2"], 2, "lora.rank: no such field"),
        (["--set", "data.train=nowhere.jsonl"], 1, "no file nowhere.jsonl"),
        (["--set", "model.path=nowhere"], 1, "cannot load the model nowhere to train it"),
        (["--set", "lora.quantization=4bit"], 2, "needs a CUDA device"),
        (["--set", "training.report_to=mlflow"], 2, "pip install mlflow"),
        (["--set", "training.optim=adam"], 2, "training: "),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    cli: Cli, recipe: Path, arguments: list[str], code: int, words: str
) -> None:
    refused = cli("train", recipe, *arguments)
    assert refused.exit_code == code
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert refused.stdout == ""


def test_init_writes_a_recipe_that_runs_and_overwrites_nothing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = cli("train", "--init", "my.yaml")
    assert (written.exit_code, written.stdout) == (0, "my.yaml\n")
    assert "aspd train my.yaml --dry-run" in written.stderr
    text = Path("my.yaml").read_text()
    checked = cli("train", "my.yaml", "--dry-run", "--set", "data.examples=8")
    assert checked.exit_code == 0, checked.stderr
    again = cli("train", "--init", "my.yaml")
    assert again.exit_code == 2
    assert again.stderr == (
        "aspd: error: my.yaml exists and is left as it is; give --init a new name\n"
    )
    assert Path("my.yaml").read_text() == text
    assert cli("train", "--init", "-").stdout == text
    assert json.loads(cli("train", "--init", "b.yaml", "--json").stdout) == {"recipe": "b.yaml"}


def test_a_recipe_that_does_not_fit_on_the_disk_leaves_no_piece_of_it(
    cli: Cli, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        disk.fill()
        full = cli("train", "--init", disk.path / "my.yaml")
        assert full.exit_code == 1
        assert "my.yaml: No space left on device" in full.stderr
        assert not (disk.path / "my.yaml").exists()
        disk.free()
        assert cli("train", "--init", disk.path / "my.yaml").exit_code == 0


def test_init_copies_a_packaged_recipe_with_its_comments(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copied = cli("train", "qwen", "--init", "qwen.yaml", "--quiet")
    assert (copied.exit_code, copied.stderr) == (0, "")
    assert Path("qwen.yaml").read_bytes() == packaged_recipes()["qwen"].read_bytes()
    own = cli("train", "qwen", "--set", "lora.r=x")
    assert (
        own.stderr.splitlines()[0] == "reading qwen.yaml in this directory, not the packaged recipe"
    )
    with_recipe = cli("validate", "nowhere.jsonl", "--recipe", "qwen", "--set", "lora.r=x")
    assert with_recipe.stderr.splitlines()[0] == own.stderr.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["qwne"], 2, "no recipe at qwne: did you mean qwen? Packaged recipes: llama, qwen"),
        (["qwne", "--init", "a.yaml"], 2, "did you mean qwen?"),
        (["--init", "a.yaml", "--dry-run"], 2, "--init only writes a recipe"),
        (["--init", "no/a.yaml"], 1, "cannot write the recipe no/a.yaml: No such file"),
    ],
)
def test_a_recipe_that_is_not_there_is_one_sentence(
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = cli("train", *arguments)
    assert (refused.exit_code, refused.stdout) == (code, "")
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_nothing_of_an_earlier_run_is_removed_before_the_new_one_can_begin(
    cli: Cli, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~` stands for the home directory in a field of the recipe, too."""
    run = tmp_path / "run"
    monkeypatch.setenv("HOME", str(tmp_path))
    home = ("--set", "training.output_dir=~/run")
    assert cli("train", recipe, "--quiet", *home).exit_code == 0

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    before = files()
    assert run / "checkpoint-1" / "trainer_state.json" in before
    for wrong in ("lora.target_modules=q_prj", "lora.target_modules=[q_prj]", "data.train=none"):
        refused = cli("train", recipe, "--fresh", *home, "--set", wrong)
        assert refused.exit_code in (1, 2)
        assert files() == before
    assert cli("train", recipe, "--quiet", "--fresh", *home, "--set", "lora.r=3").exit_code == 0
    assert "r: 3" in (run / "recipe.yaml").read_text()
    assert not list(run.glob(".*"))


@pytest.mark.slow
def test_of_two_runs_at_once_the_second_is_refused(
    cli: Cli, spawn: Callable[..., Popen[bytes]], recipe: Path, tmp_path: Path
) -> None:
    process = spawn("train", recipe, "--set", "training.max_steps=100000")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(b"step 3/"):
            break
    for how in ("--resume", "--fresh"):
        refused = cli("train", recipe, how, "--quiet")
        assert refused.exit_code == 2
        assert f"another run is writing {tmp_path / 'run'}" in refused.stderr
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert cli("train", recipe, "--fresh", "--quiet").exit_code == 0


@pytest.mark.slow
def test_an_interrupted_run_exits_130_and_goes_on(
    spawn: Callable[..., Popen[bytes]], recipe: Path
) -> None:
    process = spawn("train", recipe, "--set", "training.max_steps=100000")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(b"step 3/"):
            process.send_signal(signal.SIGINT)
            break
    _, rest = process.communicate(timeout=120)
    assert process.returncode == 130, rest
    last = int(re.search(rb"stopped after step (\d+)", rest)[1])  # type: ignore[index]
    again = spawn("train", recipe, "--resume", "--set", "training.max_steps=100001")
    assert again.stderr is not None
    for line in again.stderr:
        if line.startswith(b"step "):
            assert line.startswith(b"step %d/" % (last + 1))
            again.send_signal(signal.SIGINT)
            break
    again.communicate(timeout=120)
    assert again.returncode == 130
