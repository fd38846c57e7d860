"""One prompt of `aspd generate`: decode it and show the answer as it was asked for."""

import json
import sys
from typing import Literal

from rich.console import Console

from aspd_cli.cli.decoding import answer_json, compare, measures, open_decoder, settings
from aspd_cli.cli.live import show_live
from aspd_cli.cli.stream import stream_plain, write_line
from aspd_cli.recipe import Recipe

Form = Literal["stream", "whole", "markup", "json"]


def answer_prompt(recipe: Recipe, prompt: str, *, form: Form, stats: bool, quiet: bool) -> None:
    """Writes the answer to standard output and, where asked for, its measures to standard error."""
    decoder = open_decoder(recipe, quiet=quiet)
    arguments = settings(recipe)
    console = Console()
    if form == "stream":
        events = decoder.stream(prompt, **arguments)
        alive = console.is_terminal and not console.is_dumb_terminal and not quiet
        output = show_live(events, console) if alive else stream_plain(events, sys.stdout)
    else:
        output = decoder.generate([prompt], **arguments)[0]
    compared = stats and arguments["mode"] == "parallel"
    against = compare(decoder, prompt, arguments) if compared else None
    if form == "json":
        answer = answer_json(output) | (against.as_dict() if against else {})
        write_line(sys.stdout, json.dumps(answer, ensure_ascii=False))
    elif form != "stream":
        write_line(sys.stdout, output.markup if form == "markup" else output.text)
    if stats or (console.is_terminal and not quiet):
        line = measures(output) + (f" | {against.sentence()}" if against else "")
        Console(stderr=True, soft_wrap=True, highlight=False).print(line, style="dim", markup=False)
