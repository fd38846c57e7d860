"""One prompt of `aspd generate`: decode it and show the answer as it was asked for.

Plain text is written in document order as soon as it is settled, markup and JSON at the end, and
the live view while it grows (`views.live`). From a recipe come the decoder and the arguments of a
decode; one line of measures ends it, beside those of the serial answer with `--stats`.
"""

import atexit
import contextlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO

from rich.console import Console

from aspd_cli.cli.libraries import hush
from aspd_cli.cli.views.live import show_live
from aspd_cli.engine.document_order import DocumentOrder
from aspd_cli.engine.events import AnyEvent, CutBy, Done, Output, Text
from aspd_cli.errors import UsageError
from aspd_cli.recipe import Recipe
from aspd_cli.recipe.sections import GenerationSection
from aspd_cli.safe_text import PrintableOut, printable

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder

OutputForm = Literal["stream", "whole", "markup", "json"]


def answer_prompt(
    recipe: Recipe, prompt: str, *, form: OutputForm, stats: bool, quiet: bool
) -> None:
    """Writes the answer to standard output and, where asked for, its measures to standard error."""
    decoder = open_decoder(recipe, quiet=quiet)
    arguments = settings(recipe)
    console = Console()
    output: Output
    if form == "stream":
        output = show_stream(decoder.stream(prompt, **arguments), console, quiet=quiet)
    else:
        output = decoder.generate([prompt], **arguments)[0]
    compared = stats and arguments["mode"] == "parallel"
    against = compare(decoder, prompt, arguments) if compared else None
    if form == "json":
        write_json(answer_json(output) | (against.as_dict() if against else {}))
    elif form != "stream":
        write_answer(output.markup if form == "markup" else output.text, console)
    if stats or (console.is_terminal and not quiet):
        lines = [measures(output)]
        if stats:
            lines.append(speedups(output, arguments["mode"], against))
        if stats and (bits := decoder.kernels.quantized):
            lines.append(f"weights in {bits}: faster, less exact ({decoder.kernels})")
        tell_measures(lines)
    if output.cut_by and not quiet:
        print(cut_at(output.cut_by, recipe.generation), file=sys.stderr)


def show_stream(events: Iterable[AnyEvent], console: Console, *, quiet: bool) -> Any:
    """Shows an answer while it grows; returns the output of its last event."""
    if console.is_terminal and not console.is_dumb_terminal and not quiet:
        return show_live(events, console)
    return stream_plain(events, PrintableOut(sys.stdout) if console.is_terminal else sys.stdout)


def write_json(answer: dict[str, Any]) -> None:
    """Writes an answer to standard output as one line of JSON."""
    write_line(sys.stdout, json.dumps(answer, ensure_ascii=False))


def write_answer(text: str, console: Console) -> None:
    """Writes a finished text to standard output."""
    write_line(sys.stdout, printable(text) if console.is_terminal else text)


def tell_measures(lines: list[str]) -> None:
    """Writes lines about an answer to standard error."""
    told = Console(stderr=True, soft_wrap=True, highlight=False)
    told.print("\n".join(lines), style="dim", markup=False)


def stream_plain(events: Iterable[AnyEvent], out: TextIO | PrintableOut) -> Any:
    """Writes the first open branch live; its siblings wait in memory until it is their turn.

    What comes out is `output.text`, and a newline when it does not end with one. Returns the
    output of the last event.
    """
    order, written, text = DocumentOrder(), 0, ""
    try:
        for event in events:
            for settled in order.take(event):
                if isinstance(settled, Text):
                    text = settled.text
                    out.write(text)
                    written += len(text)
            out.flush()
            if isinstance(event, Done):
                # Lanes that a budget or a stop string ended were never closed by an event.
                rest = event.output.text[written:]
                out.write(rest)
                text = rest or text
                return event.output
    finally:
        if text and not text.endswith("\n"):
            out.write("\n")
        out.flush()
    raise RuntimeError("the decoder stopped before the answer was done")


def write_line(out: TextIO, text: str) -> None:
    """Writes `text` and a newline, unless it ends with one."""
    out.write(text if text.endswith("\n") else text + "\n")
    out.flush()


def open_decoder(recipe: Recipe, *, quiet: bool, device: str | None = None) -> "Decoder":
    """Loads the model of a recipe, with a spinner where a person waits for it.

    Args:
        device: None: the recipe's.
    """
    console = Console(stderr=True)
    waits = console.is_terminal and not quiet
    work = "loading the model"
    if recipe.model.compile:
        work += ", compiling its steps, which takes minutes the first time"
    with console.status(work) if waits else contextlib.nullcontext():
        hush()
        from aspd_cli.engine.loading import load

        model = recipe.model
        if model.endpoint is not None:
            raise UsageError("model.endpoint is for `aspd generate`: leave it out here")
        if model.engine == "vllm":
            from aspd_cli.vllm.decoder import open_vllm

            decoder = open_vllm(recipe)
            atexit.register(decoder.close)
            return decoder
        return load(
            model.path,
            adapter=model.adapter,
            device=device or model.device,
            dtype=model.dtype,
            device_map=model.device_map,
            trust_remote_code=model.trust_remote_code,
            chat_template_kwargs=recipe.data.chat_template_kwargs or None,
            quantize=model.quantize,
            compile=model.compile,
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
        "cut_by": output.cut_by,
        "stats": output.stats.as_dict(),
    }


def cut_at(budget: CutBy, generation: GenerationSection) -> str:
    """Where an answer was cut, and what to raise."""
    if budget == "context":
        return "cut where the model's context is full: shorten the prompt"
    flag = budget.replace("_", "-")
    return f"cut at {budget}={getattr(generation, budget)}: raise --{flag}"


def measures(output: Output) -> str:
    """One line on how an answer was decoded."""
    stats = output.stats
    ideal = f"ideal speed-up {stats.ideal_speedup:.2f} (tokens / steps)"
    drafts = f"{stats.accepted_tokens} of {stats.drafted_tokens} drafted tokens accepted"
    parts = [
        f"{stats.tokens} tokens ({stats.useful_tokens} useful) in {stats.steps} steps",
        *([ideal] if stats.branches else []),
        *([drafts] if stats.drafted_tokens else []),
        f"{stats.tps:.0f} useful tokens/s",
        f"first token {stats.ttft_s * 1000:.0f} ms",
        f"{stats.time_s:.2f} s",
    ]
    return " | ".join(parts)


def speedups(output: Output, mode: str, against: "Comparison | None") -> str:
    """One line on the speed-ups of an answer over serial decoding, with what each of them is."""
    if mode != "parallel":
        order = "no branches" if mode == "plain" else "one branch after another"
        return f"{mode} decoding, {order}: there is no speed-up to report"
    if not output.stats.branches:
        return "no branches: there is no speed-up over serial decoding to report"
    estimate = output.stats.estimated_speedup
    parts = [against.sentence()] if against else []
    if estimate:
        parts.append(f"estimated speed-up {estimate:.2f} (all tokens at its single-lane step time)")
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
            f"(serial {self.serial_s:.2f} s / parallel {self.parallel_s:.2f} s)"
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
