"""vLLM in this process: a step of its engine is a step of ours."""

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from aspd_cli.errors import ModelError, reason
from aspd_cli.vllm.token_engine import TokenOutput, TokenRequest

CONNECTOR = "aspd_cli.vllm.connector"
"""The module of the connector, as vLLM imports it in an environment that has aspd."""


def is_here() -> bool:
    """Whether vLLM can be imported."""
    return find_spec("vllm") is not None


class InProcess:
    """An engine of vLLM that is stepped by who polls it.

    Args:
        arguments: of vLLM's `EngineArgs`, beyond what aspd sets.

    Raises:
        ModelError: vLLM cannot load the model, or cannot decode as aspd does.
    """

    tells_all = True

    def __init__(self, path: str, arguments: Mapping[str, Any]) -> None:
        # In a process of its own the engine would step by itself.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; read on a CPU only
        from vllm import SamplingParams
        from vllm.config import KVTransferConfig
        from vllm.engine.arg_utils import EngineArgs
        from vllm.platforms import current_platform
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.llm_engine import LLMEngine

        from aspd_cli.vllm.connector import refusal

        self._params, self._kind = SamplingParams, RequestOutputKind
        connector = KVTransferConfig(
            kv_connector="AspdConnector", kv_connector_module_path=CONNECTOR, kv_role="kv_both"
        )
        given = {
            "model": path,
            "kv_transfer_config": connector,
            "skip_tokenizer_init": True,
            "disable_log_stats": True,
            **arguments,
        }
        if given.get("dtype") == "auto" and current_platform.is_cpu():
            given["dtype"] = "float32"  # as in our own engine; vLLM would round the weights
        try:
            made = EngineArgs(**given)
            config = made.create_engine_config()
            if why := refusal(config):
                raise ModelError(why)
            self.engine = LLMEngine.from_engine_args(made)
        except ModelError:
            raise
        except Exception as error:  # whatever a configuration makes of vLLM
            raise ModelError(f"vLLM cannot load {path}: {reason(error)}") from error
        self.max_model_len: int | None = int(config.model_config.max_model_len)

    def submit(self, request: TokenRequest) -> None:
        sampling = request.sampling()
        if bias := sampling.get("logit_bias"):
            sampling["logit_bias"] = {int(token): value for token, value in bias.items()}
        parameters = self._params(
            **sampling,
            detokenize=False,
            output_kind=self._kind.DELTA,
            extra_args={"kv_transfer_params": {"aspd": dict(request.cache)}},
        )
        prompt: dict[str, Any] = {"prompt_token_ids": list(request.prompt_ids)}
        if request.salt is not None:
            prompt["cache_salt"] = request.salt
        try:
            self.engine.add_request(request.id, prompt, parameters)
        except ValueError as error:
            raise ModelError(f"vLLM does not take a request: {reason(error)}") from error
        if request.cache.get("release"):  # the connector has seen it: it need not run
            self.engine.abort_request([request.id])

    def abort(self, ids: Sequence[str]) -> None:
        self.engine.abort_request(list(ids))

    def poll(self) -> list[TokenOutput]:
        if not self.engine.has_unfinished_requests():
            return []
        return [_read(output) for output in self.engine.step()]

    def close(self) -> None:
        self.engine.engine_core.shutdown()


def _read(output: Any) -> TokenOutput:
    [choice] = output.outputs
    told = (output.kv_transfer_params or {}).get("aspd")
    stopped_by = choice.stop_reason if isinstance(choice.stop_reason, int) else None
    return TokenOutput(
        output.request_id,
        list(choice.token_ids),
        output.finished,
        stopped_by,
        choice.finish_reason == "error",
        told,
        [{token: each.logprob for token, each in place.items()} for place in choice.logprobs or ()],
    )
