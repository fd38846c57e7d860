"""Adaptive serial-parallel decoding (arXiv 2508.08895): independent parts of an answer, at once.

    import aspd_cli as aspd

    decoder = aspd.load()  # the embedded model; or a directory, or a Hub id
    out = decoder.generate(["..."], mode="parallel")
    out[0].text, out[0].markup, out[0].stats.ideal_speedup

The module is called `aspd_cli`, as here; there is no module `aspd`, which is the command. Names are
imported when they are first used, so that `import aspd_cli` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aspd_cli.core.layout import Layout, layout
    from aspd_cli.core.markup import Block, Branch, Document, plain, render
    from aspd_cli.core.metrics import AnswerStats
    from aspd_cli.core.parser import parse
    from aspd_cli.engine.decoder import Decoder
    from aspd_cli.engine.events import Output
    from aspd_cli.engine.loading import load
    from aspd_cli.recipe import load_recipe
    from aspd_cli.transform.rows import transform_records

__version__ = "0.1.0"

_HOME = {
    "AnswerStats": "core.metrics",
    "Block": "core.markup",
    "Branch": "core.markup",
    "Decoder": "engine.decoder",
    "Document": "core.markup",
    "Layout": "core.layout",
    "Output": "engine.events",
    "layout": "core.layout",
    "load": "engine.loading",
    "load_recipe": "recipe",
    "parse": "core.parser",
    "plain": "core.markup",
    "render": "core.markup",
    "transform_records": "transform.rows",
}
"""Public name -> the module it lives in."""

__all__ = [
    "AnswerStats",
    "Block",
    "Branch",
    "Decoder",
    "Document",
    "Layout",
    "Output",
    "layout",
    "load",
    "load_recipe",
    "parse",
    "plain",
    "render",
    "transform_records",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
