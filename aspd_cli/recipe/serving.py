"""The sections of what serves: `serve`, our own server, and `vllm`, where vLLM decodes."""

from typing import Any

from pydantic import Field

from aspd_cli.recipe.base import Section


class ServeSection(Section):
    """How `aspd serve` listens, and how much it takes. The names are vLLM's where it has one."""

    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on; other machines reach it only if it is not a loopback address."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0: a free one."""
    served_model_name: str | None = Field(None, min_length=1)
    """Name of the model for clients; null: that of its directory or on the Hub."""
    api_key_env: str = "ASPD_API_KEY"
    """Environment variable with the key that clients must send; unset: none is asked for."""
    max_num_seqs: int = Field(16, ge=1, le=4096)
    """Answers that are decoded at once."""
    max_lanes: int | None = Field(64, ge=1, le=65536)
    """Lanes that are decoded at once, over all answers: branches beyond it wait; null: no bound."""
    max_queue: int = Field(256, ge=0)
    """Answers that may wait; more are refused with status 429."""
    max_body_bytes: int = Field(2**20, ge=1024)
    """Longest request in bytes."""
    drain_s: int = Field(120, ge=0)
    """Seconds after a signal to end in which accepted requests are finished."""
    log_prompts: bool = False
    """Whether the log holds what was asked."""


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
