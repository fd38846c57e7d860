"""The prompts: text files with `$name` places, each with its version on the first line."""

from functools import cache
from pathlib import Path
from string import Template

from aspd_cli.files import content_digest

_HEAD = "version: "


def fill(name: str, **values: str) -> tuple[dict[str, str], ...]:
    """The messages of a prompt: one of the user's, which every chat template takes.

    Args:
        values: one text for each place of the prompt. What looks like a place in them stays text.
    """
    return ({"role": "user", "content": _read(name)[1].substitute(values)},)


def version(*names: str) -> str:
    """Names the wording of prompts: "annotate 1 (f3a9c2)"; another wording has another digest."""
    return ", ".join(f"{name} {_read(name)[0]}" for name in names)


@cache
def _read(name: str) -> tuple[str, Template]:
    text = (Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8")
    head, _, body = text.partition("\n")
    digest = content_digest(body, size=3).hex()
    return f"{head.removeprefix(_HEAD)} ({digest})", Template(body.strip())
