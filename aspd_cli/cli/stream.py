"""The answer as plain text in document order, written as soon as it is settled."""

from collections.abc import Iterable
from typing import TextIO

from aspd_cli.cli.lanes import Lanes
from aspd_cli.engine.events import Done, Event, Output


def stream_plain(events: Iterable[Event], out: TextIO) -> Output:
    """Writes the first open branch live; its siblings wait in memory until it is their turn.

    What comes out is `output.text`, and a newline when it does not end with one.
    """
    lanes, written, text = Lanes(), 0, ""
    try:
        for event in events:
            lanes.apply(event)
            for text in lanes.settled():
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
