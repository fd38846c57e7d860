"""`aspd env`: what a bug report needs to know of the machine and of a model on it."""

import textwrap
import traceback
from collections.abc import Iterable
from dataclasses import asdict
from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer

from aspd_cli.cli.options import (
    MODEL,
    AdapterName,
    Debug,
    Device,
    Dtype,
    Json,
    ModelName,
    RecipeFile,
    Set,
    TrustRemoteCode,
    debug_is_on,
    model_flags,
    option,
)
from aspd_cli.errors import UsageError

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder
    from aspd_cli.environment import Environment, Library, Model, Torch

_LABEL, _WIDTH = 22, 80
"""Columns of a label, and of a line."""

Row = tuple[str, str]
"""Label and value; ("", "") is a blank line."""


def env(
    ctx: typer.Context,
    model: ModelName = None,
    adapter: AdapterName = None,
    device: Device = None,
    dtype: Dtype = None,
    trust_remote_code: TrustRemoteCode = None,
    no_model: Annotated[bool, option("--no-model", "Do not load a model.", MODEL)] = False,
    recipe: RecipeFile = None,
    set: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show versions, devices, caches and how a model runs here, for a bug report.

    The exit code is 1 if the model cannot be loaded.
    """
    from aspd_cli.cli.views.generate import open_decoder
    from aspd_cli.environment import describe, environment
    from aspd_cli.recipe import load_recipe

    flags = model_flags(model, adapter, device, dtype, trust_remote_code)
    if no_model and any(flags.values()):
        raise UsageError(
            "--no-model cannot be combined with --model, --adapter, --device, --dtype or "
            "--trust-remote-code"
        )
    settings = load_recipe(recipe, set or (), flags)

    def load() -> "Decoder":
        try:
            return open_decoder(settings, quiet=True)
        except Exception:
            if debug_is_on(ctx):
                traceback.print_exc()
            raise

    here = environment()
    one = None if no_model else describe(settings.model.path or "embedded", load)
    if json:
        print(dumps({**asdict(here), "model": one and asdict(one)}, ensure_ascii=False))
    else:
        print("\n".join(_lines([*_rows(here), *_model_rows(one), *_place_rows(here)])))
    if one is not None and one.problem is not None:
        raise typer.Exit(1)


def _rows(here: "Environment") -> list[Row]:
    cpu = here.cpu
    return [
        ("aspd", here.aspd),
        ("Python", here.python),
        ("platform", here.platform),
        ("", ""),
        *((each.name, _library(each)) for each in here.libraries),
        ("", ""),
        ("CPU", f"{cpu.name}, {cpu.cores or 'unknown'} cores"),
        ("CPU flags", "unknown" if cpu.flags is None else " ".join(cpu.flags) or "none"),
        *([("NVIDIA driver", here.driver)] if here.driver else []),
        *([("torch", f"cannot be used: {here.problem}")] if here.torch is None else []),
        *(_torch_rows(here.torch) if here.torch else []),
    ]


def _library(each: "Library") -> str:
    mark = "" if each.fits or each.version is None else "  OUTSIDE OF THESE BOUNDS"
    return f"{each.version or 'not installed':<14}  {each.bounds}{mark}".rstrip()


def _torch_rows(torch: "Torch") -> list[Row]:
    onednn = "oneDNN" if torch.onednn else "no oneDNN"
    gpus = [f"{gpu.name}, {gpu.memory / 2**30:.1f} GiB" for gpu in torch.gpus]
    built = f"for CUDA {torch.cuda}" if torch.cuda else "without CUDA"
    return [
        ("torch computes with", f"{torch.threads} threads, {torch.capability}, {onednn}"),
        ("torch is built", built),
        *((f"cuda:{index}", gpu) for index, gpu in enumerate(gpus)),
        *([("CUDA devices", "none")] if not gpus else []),
        ("auto means", f"{torch.device}, {torch.dtype}"),
    ]


def _model_rows(one: "Model | None") -> list[Row]:
    if one is None:
        return []
    if one.problem is not None:
        return [("", ""), ("model", f"{one.name} cannot be loaded: {one.problem}")]
    return [
        ("", ""),
        ("model", f"{one.name}, on {one.device} in {one.dtype}"),
        ("linear layers", one.kernels or ""),
        ("decode steps", one.steps or ""),
    ]


def _place_rows(here: "Environment") -> list[Row]:
    values = [
        (name, "not set" if value is None else value or "set, and empty")
        for name, value in here.variables.items()
    ]
    return [("", ""), *here.caches.items(), ("", ""), *values]


def _lines(rows: Iterable[Row]) -> list[str]:
    """Labels and values in two columns; a long value goes on below itself, a path stays whole."""
    lines: list[str] = []
    for label, value in rows:
        lines += textwrap.wrap(
            value,
            _WIDTH,
            initial_indent=f"{label:<{_LABEL}}",
            subsequent_indent=" " * _LABEL,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return lines
