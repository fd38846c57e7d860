"""`aspd serve` in a terminal: what is refused before a model is loaded, and where the server is."""

import sys
from dataclasses import replace
from pathlib import Path

from aspd_cli.cli.libraries import hush
from aspd_cli.cli.views.generate import open_decoder, settings
from aspd_cli.errors import UsageError
from aspd_cli.recipe import Recipe


def serve_model(recipe: Recipe, *, quiet: bool) -> None:
    """Loads the model of a recipe and serves it until a signal comes."""
    from aspd_cli.engine.options import GenerationOptions
    from aspd_cli.serve.server import api_key, open_socket, run_server

    serve = recipe.serve
    if serve.max_lanes is not None and serve.max_lanes < serve.max_num_seqs:
        raise UsageError(
            f"max_lanes={serve.max_lanes} is less than max_num_seqs={serve.max_num_seqs}: "
            "each answer needs a lane"
        )
    key = api_key(serve)
    options = GenerationOptions(**settings(recipe))
    bound = open_socket(serve.host, serve.port)
    with bound:
        decoder = open_decoder(recipe, quiet=quiet)
        if options.mode != "plain" and not decoder.has_control:
            options = replace(options, mode="plain")
            if not quiet:
                print("the model was not trained to fork: answers are plain", file=sys.stderr)
        name = serve.served_model_name or model_name(recipe)
        host, port = bound.getsockname()[:2]
        place = f"[{host}]" if ":" in host else host

        def ready() -> None:
            if not quiet:
                print(f"serving {name} at http://{place}:{port}", file=sys.stderr)
                print("press Ctrl-C to end", file=sys.stderr)

        run_server(decoder, options, serve, bound, model=name, key=key, quiet=quiet, ready=ready)


def print_vllm_command(recipe: Recipe) -> None:
    """Prints how to start a server of vLLM with the model of a recipe."""
    from aspd_cli.vllm.command import server_command

    if recipe.model.engine != "vllm":
        raise UsageError("--print-command is about vLLM: add --engine vllm")
    hush()
    print(server_command(recipe))


def model_name(recipe: Recipe) -> str:
    """The name of a recipe's model for clients: that of its directory, or its Hub id."""
    source = recipe.model.adapter or recipe.model.path
    if source is None:
        return "aspd-tiny"
    path = Path(source)
    return path.resolve().name if path.exists() else source
