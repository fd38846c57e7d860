"""`aspd train`, from the recipe to an adapter that `aspd generate` decodes with."""

from pathlib import Path

from tests.cli.conftest import Cli


def test_a_trained_adapter_decodes_in_parallel(cli: Cli, ordinary: Path, tmp_path: Path) -> None:
    recipe, run = tmp_path / "r.yaml", tmp_path / "run"
    recipe.write_text(
        f"model: {{path: {ordinary}}}\ndata: {{examples: 8}}\nlora: {{r: 2}}\n"
        "training: {max_steps: 1, per_device_train_batch_size: 2}\n"
    )
    trained = cli("train", recipe, "--set", f"training.output_dir={run}")
    assert trained.exit_code == 0, trained.stderr
    assert trained.stdout == f"{run}\n"
    assert "loss" in trained.stderr
    resumed = cli("train", recipe, "--set", f"training.output_dir={run}", "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    answer = ("--parallel", "--max-new-tokens", "5", "Hi")
    assert cli("generate", "--model", ordinary, "--adapter", run, *answer).exit_code == 0
    assert cli("generate", "--model", ordinary, *answer).exit_code == 1
