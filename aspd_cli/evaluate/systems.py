"""The systems that are compared: our engine in its modes, and transformers' own `generate`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aspd_cli.core.layout import tokenize
from aspd_cli.core.markup import plain
from aspd_cli.evaluate.asks import Ask, Reply, serial_document
from aspd_cli.evaluate.results import System
from aspd_cli.evaluate.stock import Stock
from aspd_cli.evaluate.timeline import Bar, timeline

if TYPE_CHECKING:
    from aspd_cli.engine.decoder import Decoder
    from aspd_cli.engine.events import Output

WARM_UP_TOKENS = 8


class Engine:
    """Our engine in one mode."""

    def __init__(self, system: System, decoder: "Decoder") -> None:
        self.system, self.decoder = system, decoder

    def answer(self, asks: Sequence[Ask], concurrency: int) -> list["Output"]:
        """Decodes asks of equal options, so many at a time; in their order."""
        from aspd_cli.engine.events import Done

        options = replace(asks[0].options, mode=self.system.mode)
        scripts = [self._script(ask) for ask in asks]
        encoded = [ask.ids for ask in asks]
        events = self.decoder.run(encoded, options, batch_size=concurrency, scripts=scripts)
        done = {index: event.output for index, event in events if isinstance(event, Done)}
        return [done[index] for index in range(len(asks))]

    def reply(self, output: "Output") -> Reply:
        """What is reported of an answer; made after the clock has stopped."""
        stats, mode = output.stats, self.system.mode
        if mode == "parallel" and stats.blocks:
            bars = tuple(timeline(output.token_ids, self.decoder.codec))
        else:
            bars = (Bar(0, "", 1, max(stats.steps, 1)),) if mode != "serial" else ()
        return Reply(
            output.text, output.markup, output.finish_reason, stats, bars, self._mended(output)
        )

    def _script(self, ask: Ask) -> Any:
        from aspd_cli.engine.script import Script

        if ask.document is None:
            return None
        codec, document = self.decoder.codec, ask.document
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


Runner = Engine | Stock


def warm_up(runner: Runner, ask: Ask) -> None:
    """A few tokens, so that no system pays for what is done once."""
    options = replace(ask.options, max_new_tokens=WARM_UP_TOKENS)
    runner.answer([replace(ask, options=options)], 1)
