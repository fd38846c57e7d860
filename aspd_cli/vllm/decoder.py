"""A decoder whose steps are vLLM's: the calls of a user are those of our own engine's decoder."""

import os
from contextlib import ExitStack
from typing import Any

from aspd_cli.core.layout import Positions
from aspd_cli.engine.decoder import Decoder
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.packed_linear import LinearKernels
from aspd_cli.engine.scheduler import Scheduler
from aspd_cli.errors import UsageError
from aspd_cli.recipe import Recipe
from aspd_cli.safe_text import keep_secret
from aspd_cli.vllm.in_process import InProcess, is_here
from aspd_cli.vllm.lane_requests import check_options
from aspd_cli.vllm.model import RemoteModel, merged_directory
from aspd_cli.vllm.planner import Planner
from aspd_cli.vllm.self_test import self_test
from aspd_cli.vllm.server import VllmServer
from aspd_cli.vllm.token_engine import TokenEngine


class VllmDecoder(Decoder):
    """Decodes on vLLM; `close` it in the end.

    Args:
        held: what is closed with it, the engine among it.
    """

    positions: Positions = "same-seq"

    def __init__(self, model: RemoteModel, engine: TokenEngine, held: ExitStack) -> None:
        self.codec, self.engine, self._held = model.codec, engine, held
        self.runner: Any = model
        self.model = None  # vLLM has the weights
        self.device = model.device
        self.max_depth = model.settings.get("max_depth", 1)
        self.forms = model.settings.get("forms", True)
        self.context = min(filter(None, (model.context, engine.max_model_len)), default=None)
        self.kernels = LinearKernels()
        self.stock = None

    def scheduler(self, rows: int, max_lanes: int | None = None) -> Scheduler:
        """The step loop by itself, for who submits and cancels requests between steps."""
        return Planner(self.runner, self.engine, self.open_answer, rows, max_lanes)

    def check_options(self, options: GenerationOptions) -> None:
        check_options(options)

    def close(self) -> None:
        """Ends vLLM, where it runs in this process, or the connection to it."""
        self._held.close()


def open_vllm(recipe: Recipe) -> VllmDecoder:
    """The decoder of a recipe whose model vLLM runs, tested before it is handed over.

    Raises:
        UsageError: a setting is not for vLLM.
        ModelError: vLLM or the model cannot decode as aspd does.
        EndpointError: the server of vLLM cannot be used.
    """
    vllm, model = recipe.vllm, recipe.model
    if model.device or model.device_map:
        raise UsageError("vLLM chooses its devices itself: leave out --device and model.device_map")
    if model.quantize:
        raise UsageError("vLLM quantizes by itself, as in vllm.args: leave out --quantize")
    if model.compile:
        raise UsageError("vLLM compiles by itself, as in vllm.args: leave out --compile")
    if vllm.url is None and not is_here():
        raise UsageError(
            "vLLM cannot be imported here: start a server of it where it can, with the command of "
            "`aspd serve --engine vllm --print-command`, and pass --set vllm.url=URL"
        )
    with ExitStack() as held:
        trusted = model.trust_remote_code
        path = held.enter_context(merged_directory(model, vllm.merged))
        arguments = recipe.data.chat_template_kwargs or None
        remote = RemoteModel(path, trust_remote_code=trusted, chat_template_kwargs=arguments)
        engine: TokenEngine
        if vllm.url is None:
            given = {"dtype": model.dtype, "trust_remote_code": trusted, **vllm.args}
            engine = InProcess(path, given)
        else:
            key = os.environ.get(vllm.api_key_env, "").strip()
            keep_secret(key)
            engine = VllmServer(vllm.url, key)
        held.callback(engine.close)
        self_test(engine, remote)
        return VllmDecoder(remote, engine, held.pop_all())
