"""From a recipe to a decoder, to the arguments of a decode, and to the line that measures it."""

import contextlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from aspd_cli.cli.libraries import hush
from aspd_cli.engine.events import Output
from aspd_cli.recipe import Recipe

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder


def open_decoder(recipe: Recipe, *, quiet: bool, device: str | None = None) -> "Decoder":
    """Loads the model of a recipe, with a spinner where a person waits for it.

    Args:
        device: None: the recipe's.
    """
    console = Console(stderr=True)
    waits = console.is_terminal and not quiet
    with console.status("loading the model") if waits else contextlib.nullcontext():
        hush()
        from aspd_cli.engine.loading import load

        model = recipe.model
        return load(
            model.path,
            adapter=model.adapter,
            device=device or model.device,
            dtype=model.dtype,
            device_map=model.device_map,
        )


def settings(recipe: Recipe) -> dict[str, Any]:
    """The options of a decode: the generation section by the same names, less the batch size."""
    return recipe.generation.model_dump(exclude={"batch_size"})


def answer_json(output: Output) -> dict[str, Any]:
    """What `--json` and an answers file say of one answer."""
    return {
        "text": output.text,
        "markup": output.markup,
        "finish_reason": output.finish_reason,
        "stats": output.stats.as_dict(),
    }


def measures(output: Output) -> str:
    """One line on how an answer was decoded."""
    stats = output.stats
    estimate = stats.estimated_speedup
    measured = f", measured about {estimate:.2f}" if estimate else ""
    parts = [
        f"{stats.tokens} tokens ({stats.useful_tokens} useful) in {stats.steps} steps",
        f"ideal speed-up {stats.ideal_speedup:.2f}{measured}",
        f"{stats.tps:.0f} useful tokens/s",
        f"first token {stats.ttft_s * 1000:.0f} ms",
        f"{stats.time_s:.2f} s",
    ]
    if output.finish_reason == "length":
        parts.append("cut at the token limit")
    return " | ".join(parts)


WARM_UP_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Comparison:
    """Seconds of the same answer, decoded in parallel and branch after branch."""

    parallel_s: float
    serial_s: float

    @property
    def speedup(self) -> float:
        return self.serial_s / self.parallel_s

    def sentence(self) -> str:
        return (
            f"measured speed-up {self.speedup:.2f} "
            f"(serial {self.serial_s:.2f} s, parallel {self.parallel_s:.2f} s)"
        )

    def as_dict(self) -> dict[str, Any]:
        return {"measured": {"speedup": round(self.speedup, 4), **asdict(self)}}


def compare(decoder: "Decoder", prompt: str, arguments: dict[str, Any]) -> Comparison:
    """Decodes a prompt twice more, both times unobserved: drawing an answer costs time too.

    First a little of it, so that neither pays for what is done once.
    """
    decoder.generate([prompt], **{**arguments, "max_new_tokens": WARM_UP_TOKENS})
    parallel, serial = (
        decoder.generate([prompt], **{**arguments, "mode": mode})[0].stats.time_s
        for mode in ("parallel", "serial")
    )
    return Comparison(parallel, serial)
