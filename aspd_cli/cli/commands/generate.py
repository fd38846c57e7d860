"""`aspd generate`: decode one prompt, or a file of prompts."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from aspd_cli.cli.options import (
    AdapterName,
    Compile,
    Debug,
    Device,
    Dtype,
    Engine,
    Json,
    ModelName,
    Quantize,
    Quiet,
    RecipeFile,
    Set,
    TrustRemoteCode,
    model_flags,
    option,
)
from aspd_cli.errors import DataError, UsageError

SERVER, DECODING, OUTPUT = "Server", "Decoding", "Input and output"


def generate(
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT", help="The question; - for standard input.", show_default=False
        ),
    ] = None,
    model: ModelName = None,
    adapter: AdapterName = None,
    device: Device = None,
    dtype: Dtype = None,
    quantize: Quantize = None,
    compile: Compile = None,
    trust_remote_code: TrustRemoteCode = None,
    engine: Engine = None,
    endpoint: Annotated[
        str | None,
        option("--endpoint", "Server that answers instead; --model is its name there.", SERVER),
    ] = None,
    api_key_env: Annotated[
        str | None,
        option(
            "--api-key-env", "Environment variable with its key (default: OPENAI_API_KEY).", SERVER
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        option("--max-new-tokens", "Longest answer in tokens (default: 1024).", DECODING, "-n"),
    ] = None,
    temperature: Annotated[
        float | None,
        option("--temperature", "Sampling temperature; 0 is greedy (default: 0).", DECODING),
    ] = None,
    system: Annotated[str | None, option("--system", "System message.", DECODING)] = None,
    parallel: Annotated[
        bool, option("--parallel", "Decode all branches at once (default).", DECODING)
    ] = False,
    serial: Annotated[
        bool, option("--serial", "Decode one branch after another.", DECODING)
    ] = False,
    plain: Annotated[bool, option("--plain", "Decode without branches.", DECODING)] = False,
    seed: Annotated[
        int | None, option("--seed", "Seed for sampling (default: 0).", DECODING)
    ] = None,
    stop: Annotated[
        list[str] | None,
        option("--stop", "Stop before this string; repeatable.", DECODING, metavar="TEXT"),
    ] = None,
    top_k: Annotated[
        int | None, option("--top-k", "Sample from the k most likely tokens.", DECODING)
    ] = None,
    top_p: Annotated[
        float | None,
        option("--top-p", "Sample from the top tokens that sum to this probability.", DECODING),
    ] = None,
    min_p: Annotated[
        float | None,
        option("--min-p", "Drop tokens below this fraction of the top probability.", DECODING),
    ] = None,
    repetition_penalty: Annotated[
        float | None,
        option("--repetition-penalty", "Above 1: discourage repetition.", DECODING),
    ] = None,
    max_branch_tokens: Annotated[
        int | None, option("--max-branch-tokens", "Longest branch in tokens.", DECODING)
    ] = None,
    batch_size: Annotated[
        int | None,
        option("--batch-size", "Prompts to decode at once (default: 8).", DECODING),
    ] = None,
    no_draft: Annotated[
        bool, option("--no-draft", "Do not guess tokens ahead: same text, more steps.", DECODING)
    ] = False,
    input: Annotated[
        Path | None, option("--input", "JSONL file of prompts; needs --output.", OUTPUT)
    ] = None,
    output: Annotated[
        Path | None,
        option("--output", "JSONL file of answers; resumed if it exists.", OUTPUT, "-o"),
    ] = None,
    stats: Annotated[
        bool, option("--stats", "Print statistics, and time serial decoding to compare.", OUTPUT)
    ] = False,
    markup: Annotated[
        bool, option("--markup", "Print the answer with its control tokens.", OUTPUT)
    ] = False,
    no_stream: Annotated[
        bool, option("--no-stream", "Print the answer only when it is complete.", OUTPUT)
    ] = False,
    recipe: RecipeFile = None,
    set: Set = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Answer a prompt, decoding its independent parts at once.

    With --input and --output, answer every record of a JSONL file; run the same command again to
    resume. With --endpoint, a running aspd serve or any OpenAI-compatible server answers.
    """
    from aspd_cli.recipe import find_recipe, load_recipe

    modes = {"parallel": parallel, "serial": serial, "plain": plain}
    chosen = [mode for mode, on in modes.items() if on]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other; choose one")
    flags = {
        **(
            model_flags(model, adapter, device, dtype, trust_remote_code, quantize, compile)
            if endpoint is None
            else {"model.endpoint.base_url": endpoint, "model.endpoint.model": model}
        ),
        "model.endpoint.api_key_env": api_key_env,
        "model.engine": engine,
        "generation.mode": chosen[0] if chosen else None,
        "generation.system": system,
        "generation.max_new_tokens": max_new_tokens,
        "generation.max_branch_tokens": max_branch_tokens,
        "generation.temperature": temperature,
        "generation.top_k": top_k,
        "generation.top_p": top_p,
        "generation.min_p": min_p,
        "generation.repetition_penalty": repetition_penalty,
        "generation.stop": stop or None,
        "generation.seed": seed,
        "generation.batch_size": batch_size,
        "generation.draft": False if no_draft else None,
    }
    own = {
        "--adapter": adapter,
        "--device": device,
        "--dtype": dtype,
        "--quantize": quantize,
        "--compile": compile,
        "--trust-remote-code": trust_remote_code,
        "--engine": engine,
    }
    if endpoint is not None and (given := [flag for flag, value in own.items() if value]):
        raise UsageError(f"{given[0]} is for a model of this machine: leave it out of --endpoint")
    if api_key_env is not None and endpoint is None:
        raise UsageError("--api-key-env needs --endpoint URL: a model of this machine has no key")
    settings = load_recipe(recipe, set or (), flags)
    if json and markup:
        raise UsageError("--json already contains the markup; leave out --markup")
    if quiet and stats:
        raise UsageError("--stats prints statistics and --quiet hides them; choose one")
    if input or output:
        if prompt is not None or markup or no_stream or stats or json:
            raise UsageError(
                "--input cannot be combined with PROMPT, --markup, --no-stream, --stats or --json: "
                "each line of the output file already contains text, markup and statistics"
            )
        if input is None or output is None:
            raise UsageError(
                "--input and --output need each other: --input prompts.jsonl --output answers.jsonl"
            )
        from aspd_cli.cli.views.answering import answer_file

        code = answer_file(
            settings, input, output, recipe_file=recipe and find_recipe(recipe), quiet=quiet
        )
        raise typer.Exit(code)
    from aspd_cli.cli.views.generate import OutputForm, answer_prompt
    from aspd_cli.cli.views.served import answer_from_server

    form: OutputForm = (
        "json" if json else "markup" if markup else "whole" if no_stream else "stream"
    )
    answer = answer_prompt if settings.model.endpoint is None else answer_from_server
    answer(settings, _question(prompt), form=form, stats=stats, quiet=quiet)


def _question(prompt: str | None) -> str:
    """The prompt of the command line, or of standard input without its last newline."""
    from aspd_cli.core.chat import to_messages

    if prompt is None and sys.stdin.isatty():
        raise UsageError('no prompt: give one, as in aspd generate "...", or pipe one in')
    try:
        if prompt is None or prompt == "-":
            prompt = sys.stdin.buffer.read().decode().removesuffix("\n")
        prompt.encode()  # bytes of another encoding arrive as half surrogate pairs
    except UnicodeError:
        raise DataError("the prompt is not UTF-8; convert it, for example with iconv") from None
    to_messages(prompt)  # an empty one is refused before a model is loaded
    return prompt
