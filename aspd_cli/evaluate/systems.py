"""The systems: our engine in its modes, transformers' own `generate`, and servers.

`open_systems` makes them of the words of `--compare`; one `Runner` answers requests for one system.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from aspd_cli.core.layout import tokenize
from aspd_cli.core.markup import plain
from aspd_cli.engine.options import Mode
from aspd_cli.errors import ModelError, UsageError
from aspd_cli.evaluate.hf_generate import HFGenerate
from aspd_cli.evaluate.requests import DecoderSystem, EvalRequest, Reply, serial_document
from aspd_cli.evaluate.results import System
from aspd_cli.evaluate.served import ServedSystem, open_served
from aspd_cli.evaluate.timeline import TimelineBar, timeline
from aspd_cli.files import EMBEDDED_MODEL
from aspd_cli.safe_text import shown

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder
    from aspd_cli.engine.events import Output
    from aspd_cli.recipe.sections import ModelSection

WARM_UP_TOKENS, WARM_UP_BRANCH_TOKENS = 256, 16
"""Most tokens of the answer that a system gives untimed, and of each branch of it: few enough for
branches to merge again before it ends."""

MODES: dict[str, Mode] = {"parallel": "parallel", "serial": "serial", "plain": "plain"}
STOCK = "hf"
VLLM = "vllm"
"""Library of systems whose steps are vLLM's."""
SEQ = "seq"
"""The Seq model; without a path, the serial base of the embedded model."""
EMBEDDED_NAME = "embedded"


class Engine(DecoderSystem):
    """Our engine in one mode."""

    def answer(self, requests: Sequence[EvalRequest], concurrency: int) -> list["Output"]:
        """Decodes requests of equal options, so many at a time; in their order."""
        from aspd_cli.engine.events import Done

        options = replace(requests[0].options, mode=self.system.mode)
        scripts = [self._script(request) for request in requests]
        encoded = [request.ids for request in requests]
        events = self.decoder.run(encoded, options, batch_size=concurrency, scripts=scripts)
        done = {index: event.output for index, event in events if isinstance(event, Done)}
        return [done[index] for index in range(len(requests))]

    def reply(self, output: "Output") -> Reply:
        """What is reported of an answer; made after the clock has stopped."""
        stats, mode = output.stats, self.system.mode
        if mode == "parallel" and stats.blocks:
            bars = tuple(timeline(output.token_ids, self.decoder.codec))
        else:
            bars = (TimelineBar(0, "", 1, max(stats.steps, 1)),) if mode != "serial" else ()
        return Reply(
            output.text, output.markup, output.finish_reason, stats, bars, self._mended(output)
        )

    def _script(self, request: EvalRequest) -> Any:
        from aspd_cli.engine.forced_tokens import Script

        if request.document is None:
            return None
        codec, document = self.decoder.codec, request.document
        if self.system.mode == "plain":
            document = serial_document(plain(document))
        return Script(tokenize(document, codec), codec, self.decoder.ends[0])

    def _mended(self, output: "Output") -> bool:
        """Whether a block was cut, or announced a title twice and forked once."""
        if not output.stats.blocks:
            return False
        control = self.decoder.codec.control
        announced = output.token_ids.count(control.title)
        return output.finish_reason == "length" or announced != output.stats.branches


LocalRunner = Engine | HFGenerate
Runner = LocalRunner | ServedSystem


def warm_up(runner: Runner, request: EvalRequest) -> None:
    """An answer up to a bound, so that no timed one pays for what is done once, forks included."""
    given = request.options
    options = replace(given, max_new_tokens=min(given.max_new_tokens, WARM_UP_TOKENS))
    if runner.system.mode != "plain":  # servers of others would refuse it
        branch = min(given.max_branch_tokens or WARM_UP_TOKENS, WARM_UP_BRANCH_TOKENS)
        options = replace(options, max_branch_tokens=branch)
    runner.answer([replace(request, options=options)], 1)


def check_systems(compare: Sequence[str], model: "ModelSection") -> list[tuple[str, str | None]]:
    """(name, path or URL of its own model or None) of each system.

    Raises:
        UsageError: a word that is no system, or one that comes twice.
    """
    found: list[tuple[str, str | None]] = []
    for word in compare:
        name, equals, path = (part.strip() for part in word.partition("="))
        if equals and (not path or name in (*MODES, STOCK) or not name):
            raise UsageError(
                f"--compare {shown(word)}: write a second model as NAME=PATH, such as "
                "seq=runs/seq, and a server as NAME=URL"
            )
        if name == SEQ and not equals:
            if model.path is not None:
                raise UsageError("--compare seq needs the Seq model's directory: seq=PATH")
            path = EMBEDDED_NAME
        elif not equals and name not in (*MODES, STOCK):
            raise UsageError(
                f"--compare {word}: unknown system; choose from parallel, serial, plain, hf, "
                "NAME=PATH and NAME=URL"
            )
        if name in [known for known, _ in found]:
            raise UsageError(f"--compare names {name} twice")
        found.append((name, path or None))
    if not found:
        raise UsageError("--compare names no system")
    return found


def baseline(names: Sequence[str]) -> str:
    """The system that speed is told against: the fairest that is there."""
    order = [SEQ, *(n for n in names if n not in (*MODES, STOCK)), STOCK, "plain", "serial"]
    return next((name for name in order if name in names), names[0])


def open_systems(
    compare: Sequence[str],
    model: "ModelSection",
    load: Callable[[str | None, str | None, bool], "Decoder"],
    held: ExitStack,
) -> list[Runner]:
    """The systems, those on the same weights sharing them.

    Args:
        load: a decoder for (path, adapter, whether its stock model is kept); (None, None) is the
            embedded model with its adapter.
        held: closes the connections to servers.

    Raises:
        EndpointError: a server cannot be used; before any model is loaded.
        ModelError: a model cannot be loaded, or cannot decode as asked.
    """
    runners: list[Runner] = []
    decoders: dict[str | None, Decoder] = {}
    found = check_systems(compare, model)
    servers = {name: open_served(name, url, held) for name, url in found if is_url(url)}
    for name, path in found:
        if name in servers:
            runners.append(servers[name])
            continue
        if path not in decoders:
            decoders[path] = _load(path, model, load, keep_stock=path is None and STOCK in compare)
        decoder = decoders[path]
        if name in ("parallel", "serial") and not decoder.has_control:
            decoder.codec.control  # noqa: B018  (says which tokens are missing)
            raise ModelError(
                f"{model.path} cannot decode in {name} mode: its control tokens have no embeddings"
            )
        runners.append(
            make_runner(name, decoder, path or model.path, model.adapter, own=bool(path))
        )
    return runners


def is_url(path: str | None) -> TypeGuard[str]:
    """Whether a system is a server."""
    return path is not None and path.startswith(("http://", "https://"))


def make_runner(
    name: str, decoder: "Decoder", path: str | None, adapter: str | None, *, own: bool = False
) -> LocalRunner:
    """One system. `own`: it has a model of its own, which decodes plain text."""
    if decoder.model is None:
        number, library = getattr(decoder.runner, "dtype", ""), VLLM
        if name == STOCK:
            raise UsageError("--compare hf needs the weights, which vLLM has: leave it out")
    else:
        number = next(decoder.model.parameters()).dtype
        library = "transformers" if name == STOCK else "aspd"
    dtype = str(number).removeprefix("torch.")
    bits = decoder.kernels.quantized
    system = System(
        name=name,
        library=library,
        mode=MODES.get(name, "plain"),
        model=path or EMBEDDED_NAME,
        adapter=None if own else adapter,
        parameters=decoder.runner.parameters,
        device=str(decoder.device),
        dtype=dtype if name == STOCK or not bits else f"{dtype} with {bits} weights",
    )
    return HFGenerate(system, decoder) if name == STOCK else Engine(system, decoder)


def _load(path: str | None, model: "ModelSection", load: Any, *, keep_stock: bool) -> "Decoder":
    if path is None:
        return load(model.path, model.adapter, keep_stock)
    if path == EMBEDDED_NAME:
        return load(str(EMBEDDED_MODEL / "base"), None, False)
    if "/" not in path and not Path(path).exists():
        raise ModelError(f"no model directory {path!r}")
    return load(path, None, False)
