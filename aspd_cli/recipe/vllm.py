"""The section `vllm` of a recipe."""

from typing import Any

from pydantic import Field

from aspd_cli.recipe.base import Section


class VllmSection(Section):
    """How vLLM is reached where `model.engine` is `vllm`."""

    url: str | None = Field(None, pattern="^https?://")
    """Address of a running server of vLLM with the same model; null: vLLM runs in this process."""
    api_key_env: str = "VLLM_API_KEY"
    """Environment variable with the key of that server; unset: it asks for none."""
    merged: str | None = None
    """Directory for weights that an adapter is merged into, written once; null: a temporary one."""
    args: dict[str, Any] = {}
    """Arguments of vLLM's engine, as in {tensor_parallel_size: 8, max_model_len: 8192}."""
