"""The command line that starts a server of vLLM which aspd can decode on."""

import json
import shlex
from pathlib import Path

from aspd_cli.errors import UsageError
from aspd_cli.recipe import Recipe
from aspd_cli.vllm.model import merged_directory

MODULE = "aspd_connector"
"""What the connector's file is called where vLLM imports it."""


def server_command(recipe: Recipe) -> str:
    """Lines of a shell: the connector's file copied, and a server for each node.

    Where the recipe names an adapter, the merged weights are written to `vllm.merged` first.

    Raises:
        UsageError: `vllm.merged` is not set, and the weights have to be merged.
        ModelError: they cannot be.
    """
    model, merged = recipe.model, recipe.vllm.merged
    is_adapter = model.path is None or (Path(model.path) / "adapter_config.json").is_file()
    if (is_adapter or model.adapter) and merged is None:
        raise UsageError(
            "vLLM loads weights that the adapter is merged into: say where they are to be written, "
            "as in --set vllm.merged=merged"
        )
    with merged_directory(model, merged) as path:
        pass
    connector = {
        "kv_connector": "AspdConnector",
        "kv_role": "kv_both",
        "kv_connector_module_path": MODULE,
    }
    words = ["vllm", "serve", path, "--kv-transfer-config", json.dumps(connector)]
    if model.dtype != "auto":
        words += ["--dtype", model.dtype]
    if model.trust_remote_code:
        words.append("--trust-remote-code")
    arguments = dict(recipe.vllm.args)
    nodes = int(arguments.pop("nnodes", 1))
    for name, value in arguments.items():
        flag = "--" + name.replace("_", "-")
        words += [flag] if value is True else [flag, _spelled(value)]
    source = Path(__file__).with_name("connector.py")
    lines = [f"cp {shlex.quote(str(source))} {MODULE}.py"]
    for node in range(nodes):
        several = ["--nnodes", str(nodes), "--node-rank", str(node)] if nodes > 1 else []
        several += ["--headless"] if node else []
        lines += [f"# on node {node}"] if nodes > 1 else []
        lines.append(f"PYTHONPATH=. {shlex.join([*words, *several])}")
    return "\n".join(lines)


def _spelled(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
