"""What is printed and refused before vLLM is met."""

import json
import shlex
from importlib.util import find_spec

import pytest

import aspd_cli
from aspd_cli.errors import ModelError, UsageError
from aspd_cli.recipe import load_recipe
from aspd_cli.vllm.command import server_command
from aspd_cli.vllm.decoder import open_vllm
from aspd_cli.vllm.model import RemoteModel, merged_directory


def recipe(**fields):
    return load_recipe(None, [], {"model.engine": "vllm", **fields})


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vllm") / "merged"
    with merged_directory(recipe().model, str(folder)) as path:
        return path


def test_merged_weights_are_a_model_like_any_other(merged):
    assert aspd_cli.load(merged).generate("Who?")[0].text == (
        aspd_cli.load().generate("Who?")[0].text
    )
    model = RemoteModel(merged)
    own = aspd_cli.load()
    assert model.ends == own.ends
    assert model.unnamed_ids.tolist() == own.runner.unnamed_ids.tolist()
    assert (model.context, model.vocabulary) == (own.context, own.runner.vocabulary)
    assert (model.settings["forms"], model.settings["max_depth"]) == (own.forms, own.max_depth)


def test_merged_weights_are_written_once_and_over_nothing_else(merged, tmp_path):
    with merged_directory(recipe().model, merged) as path:
        assert path == merged
    (tmp_path / "notes").write_text("mine")
    with (
        pytest.raises(UsageError, match="holds something else"),
        merged_directory(recipe().model, str(tmp_path)),
    ):
        pass
    assert (tmp_path / "notes").read_text() == "mine"


def test_the_command_names_connector_model_and_nodes(merged):
    arguments = {"tensor_parallel_size": 16, "nnodes": 2, "master_addr": "10.0.0.1"}
    text = server_command(recipe(**{"model.path": merged, "vllm.args": arguments}))
    copied, *lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert copied.endswith("connector.py aspd_connector.py")
    for node, line in enumerate(lines):
        words = shlex.split(line)
        assert words[:4] == ["PYTHONPATH=.", "vllm", "serve", merged]
        config = json.loads(words[words.index("--kv-transfer-config") + 1])
        assert config["kv_connector_module_path"] == "aspd_connector"
        assert words[words.index("--tensor-parallel-size") + 1] == "16"
        assert words[words.index("--node-rank") + 1] == str(node)
        assert ("--headless" in words) == (node > 0)
    assert len(lines) == 2


def test_an_adapter_needs_a_place_for_merged_weights():
    with pytest.raises(UsageError, match=r"vllm\.merged=merged"):
        server_command(recipe())


def test_same_max_positions_are_refused(merged, tmp_path):
    from pathlib import Path
    from shutil import copytree

    copytree(merged, tmp_path / "max")
    settings = Path(tmp_path / "max" / "aspd.json")
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "positions": "same-max"}))
    with pytest.raises(ModelError, match="same-max positions"):
        RemoteModel(str(tmp_path / "max"))


def test_devices_are_left_to_vllm(merged):
    with pytest.raises(UsageError, match="vLLM chooses its devices itself"):
        open_vllm(recipe(**{"model.path": merged, "model.device": "cpu"}))


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is here")
def test_without_vllm_a_server_is_asked_for(merged):
    with pytest.raises(UsageError, match="vLLM cannot be imported here"):
        open_vllm(recipe(**{"model.path": merged}))
