"""Options that several commands share."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

_DEBUG = "aspd.debug"


def debug_is_on(ctx: Any) -> bool:
    """Whether the command line holds --debug."""
    return bool(ctx.meta.get(_DEBUG))


def _set_debug(ctx: typer.Context, value: bool) -> None:
    ctx.meta[_DEBUG] = value


def option(name: str, help: str, panel: str, *more: str, **rest: Any) -> Any:
    """An option in a panel of the help page; defaults are named in `help`."""
    return typer.Option(name, *more, help=help, rich_help_panel=panel, show_default=False, **rest)


def words(*choices: str) -> Callable[[str], list[str]]:
    """Completes the last word of a list with commas."""

    def complete(incomplete: str) -> list[str]:
        head, comma, last = incomplete.rpartition(",")
        return [f"{head}{comma}{word}" for word in choices if word.startswith(last)]

    return complete


def _fields(incomplete: str) -> list[str]:
    from aspd_cli.recipe import field_names

    return [f"{name}=" for name in field_names() if name.startswith(incomplete)]


def tell_shadowed(value: Path | None) -> Path | None:
    """Says so where a file of the working directory stands before a packaged recipe."""
    if value is not None:
        from aspd_cli.recipe.packaged import shadowed

        if found := shadowed(value):
            print(f"reading {found} in this directory, not the packaged recipe", file=sys.stderr)
    return value


GENERAL = "General options"
"""The panel, last on every help page, of what most commands have."""
RecipeFile = Annotated[
    Path | None,
    option(
        "--recipe",
        "YAML file or packaged recipe, as in qwen; flags take precedence.",
        GENERAL,
        "-r",
        metavar="FILE",
        callback=tell_shadowed,
    ),
]
Set = Annotated[
    list[str] | None,
    option(
        "--set",
        "Set one field of the recipe; repeatable.",
        GENERAL,
        metavar="A.B=VALUE",
        autocompletion=_fields,
    ),
]
Json = Annotated[bool, option("--json", "Print JSON, one object per line.", GENERAL)]
Quiet = Annotated[bool, option("--quiet", "Hide progress and statistics.", GENERAL, "-q")]
Debug = Annotated[
    bool,
    option("--debug", "Show tracebacks.", GENERAL, callback=_set_debug, is_eager=True),
]

MODEL = "Model"
"""The panel of what says which model runs, and where."""
ModelName = Annotated[
    str | None,
    option("--model", "Directory, GGUF file or Hub id (default: the embedded model).", MODEL, "-m"),
]
AdapterName = Annotated[
    str | None, option("--adapter", "Directory or Hub id of a LoRA adapter.", MODEL, "-a")
]
Device = Annotated[str | None, option("--device", "Device, as in cpu or cuda:1.", MODEL)]
DTYPES = ("auto", "float32", "bfloat16", "float16")
Dtype = Annotated[
    str | None,
    option(
        "--dtype",
        "auto, float32, bfloat16 or float16 (default: auto).",
        MODEL,
        autocompletion=words(*DTYPES),
    ),
]
Engine = Annotated[
    str | None,
    option(
        "--engine",
        "aspd or vllm, which is experimental (default: aspd).",
        MODEL,
        autocompletion=words("aspd", "vllm"),
    ),
]
Quantize = Annotated[
    str | None,
    option(
        "--quantize",
        "int8: decode with 8-bit weights on a CPU (default: no).",
        MODEL,
        autocompletion=words("int8"),
    ),
]
Compile = Annotated[
    bool | None,
    option("--compile", "Compile decoding steps on a CPU, which takes its time at first.", MODEL),
]
TrustRemoteCode = Annotated[
    bool | None,
    option("--trust-remote-code", "Run Python code that comes with the model.", MODEL),
]


def model_flags(
    model: str | None,
    adapter: str | None,
    device: str | None,
    dtype: str | None,
    trust_remote_code: bool | None,
    quantize: str | None = None,
    compile: bool | None = None,
) -> dict[str, Any]:
    """The flags of the panel "Model" as fields of a recipe."""
    names = ("path", "adapter", "device", "dtype", "trust_remote_code", "quantize", "compile")
    values = (model, adapter, device, dtype, trust_remote_code, quantize, compile)
    return {f"model.{name}": value for name, value in zip(names, values, strict=True)}
