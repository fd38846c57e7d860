"""`aspd serve`: an OpenAI-compatible server."""

from typing import Annotated

from aspd_cli.cli.options import (
    AdapterName,
    Compile,
    Debug,
    Device,
    Dtype,
    Engine,
    ModelName,
    Quantize,
    Quiet,
    RecipeFile,
    Set,
    TrustRemoteCode,
    model_flags,
    option,
)

SERVER, LOAD = "Server", "Load"


def serve(
    model: ModelName = None,
    adapter: AdapterName = None,
    device: Device = None,
    dtype: Dtype = None,
    quantize: Quantize = None,
    compile: Compile = None,
    trust_remote_code: TrustRemoteCode = None,
    engine: Engine = None,
    host: Annotated[
        str | None, option("--host", "Address to listen on (default: 127.0.0.1).", SERVER)
    ] = None,
    port: Annotated[
        int | None,
        option("--port", "Port to listen on; 0: a free one (default: 8000).", SERVER, "-p"),
    ] = None,
    served_model_name: Annotated[
        str | None, option("--served-model-name", "Name of the model for clients.", SERVER)
    ] = None,
    api_key_env: Annotated[
        str | None,
        option(
            "--api-key-env",
            "Environment variable with the API key (default: ASPD_API_KEY).",
            SERVER,
        ),
    ] = None,
    log_prompts: Annotated[
        bool | None, option("--log-prompts", "Write prompts to the log.", SERVER)
    ] = None,
    max_num_seqs: Annotated[
        int | None, option("--max-num-seqs", "Answers to decode at once (default: 16).", LOAD)
    ] = None,
    max_lanes: Annotated[
        int | None,
        option("--max-lanes", "Lanes to decode at once, over all answers (default: 64).", LOAD),
    ] = None,
    max_queue: Annotated[
        int | None,
        option("--max-queue", "Answers that may wait; more are refused (default: 256).", LOAD),
    ] = None,
    print_command: Annotated[
        bool,
        option(
            "--print-command",
            "With --engine vllm: print the command that starts vLLM, and exit.",
            SERVER,
        ),
    ] = False,
    recipe: RecipeFile = None,
    set: Set = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Serve a model to clients of OpenAI's API.

    Without --model, the embedded model is served. A chat page is at /, metrics for Prometheus are
    at /metrics. Set an API key before you listen on an address that other machines reach.
    """
    from aspd_cli.recipe import load_recipe

    flags = {
        **model_flags(model, adapter, device, dtype, trust_remote_code, quantize, compile),
        "model.engine": engine,
        "serve.host": host,
        "serve.port": port,
        "serve.served_model_name": served_model_name,
        "serve.api_key_env": api_key_env,
        "serve.log_prompts": log_prompts,
        "serve.max_num_seqs": max_num_seqs,
        "serve.max_lanes": max_lanes,
        "serve.max_queue": max_queue,
    }
    settings = load_recipe(recipe, set or (), flags)
    from aspd_cli.cli.views.serve import print_vllm_command, serve_model

    if print_command:
        print_vllm_command(settings)
    else:
        serve_model(settings, quiet=quiet)
