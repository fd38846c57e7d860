"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

_DEBUG = "aspd.debug"


def debug_is_on(ctx: Any) -> bool:
    """Whether the command line holds --debug."""
    return bool(ctx.meta.get(_DEBUG))


def _set_debug(ctx: typer.Context, value: bool) -> None:
    ctx.meta[_DEBUG] = value


RecipeFile = Annotated[
    Path | None,
    typer.Option("--recipe", metavar="FILE", help="YAML file with settings; flags win over it."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=VALUE", help="Set one field of the recipe; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no measures.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_set_debug, is_eager=True, help="Show tracebacks."),
]


def option(name: str, help: str, panel: str, *more: str, **rest: Any) -> Any:
    """An option of a command's own, in a panel of its help."""
    return typer.Option(name, *more, help=help, rich_help_panel=panel, show_default=False, **rest)


MODEL = "Model"
"""The panel of what says which model runs, and where."""
ModelName = Annotated[
    str | None, option("--model", "Directory or Hub id; none: the embedded model.", MODEL)
]
AdapterName = Annotated[
    str | None, option("--adapter", "Directory or Hub id of a LoRA adapter.", MODEL)
]
Device = Annotated[str | None, option("--device", "As torch names it, like cuda:1.", MODEL)]
Dtype = Annotated[str | None, option("--dtype", "auto, float32, bfloat16 or float16.", MODEL)]
