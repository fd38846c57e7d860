"""What all commands share: how their help page is laid out, and how their flags may be spelled."""

import inspect
import os
from pathlib import Path
from typing import Any

from typer.core import TyperCommand
from typer.exceptions import TyperException

from aspd_cli.cli.options import GENERAL
from aspd_cli.errors import UsageError

EXAMPLES = {
    "transform": (
        "aspd transform answers.jsonl train.jsonl",
        "aspd transform answers.jsonl train.jsonl -r recipe.yaml --dry-run",
        "aspd transform answers.jsonl train.jsonl -r recipe.yaml --budget 5",
    ),
    "validate": (
        "aspd validate train.jsonl",
        "aspd validate train.jsonl --tokenizer runs/mine --show 1",
        "aspd validate train.jsonl --against answers.jsonl --fix mended.jsonl",
    ),
    "train": (
        "aspd train --init my.yaml",
        "aspd train my.yaml --dry-run",
        "aspd train my.yaml --resume",
        "aspd train qwen --set model.path=Qwen/Qwen2.5-3B-Instruct",
    ),
    "generate": (
        'aspd generate "What do I need for a garden, a pond and a shed?"',
        'aspd generate -m runs/mine "..." --stats',
        "aspd generate --input prompts.jsonl --output answers.jsonl",
        'aspd generate --endpoint http://127.0.0.1:8000 "..."',
    ),
    "eval": (
        "aspd eval --latency --compare parallel,serial,plain",
        "aspd eval -m runs/mine --tasks aspd_synth --limit 50 -o results",
        "aspd eval -m MODEL --replay train.jsonl",
    ),
    "serve": (
        "aspd serve --port 8080",
        "aspd serve -m runs/mine --max-num-seqs 32",
        "aspd serve -m runs/mine --host 0.0.0.0",
    ),
    "env": ("aspd env", "aspd env -m runs/mine --device cuda:0"),
}
"""Command -> the lines at the end of its help page."""

LM_EVAL = {
    "output-path": "output",
    "batch-size": "concurrency",
    "system-instruction": "system",
    "apply-chat-template": "chat-template",
    "no-apply-chat-template": "no-chat-template",
}
"""What lm-eval calls a flag of `aspd eval` -> the flag."""


_PLAINLY = {
    "Input should be a valid integer, unable to parse string as an integer": "not a whole number",
    "Input should be a valid number, unable to parse string as a number": "not a number",
}
"""What typer says of a value -> the same in fewer words."""


def hyphens(flag: str) -> str:
    """A flag as it is declared: `max_new_tokens` is `max-new-tokens`."""
    return flag.replace("_", "-")


def of_lm_eval(flag: str) -> str:
    """As `hyphens`, and lm-eval's names are understood."""
    return LM_EVAL.get(hyphens(flag), hyphens(flag))


class Command(TyperCommand):
    """A command whose help page ends with the general options and some examples."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        paragraphs = inspect.cleandoc(settings.pop("help", None) or "").split("\n\n")
        settings["help"] = "\n\n".join(" ".join(text.split()) for text in paragraphs)
        settings["epilog"] = "\n".join(("Examples:", *EXAMPLES.get(name or "", ())))
        super().__init__(name, **settings)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer does; but an empty name, of a variable that is not set, is no directory."""
        empty = any(arg == "" or arg.endswith("=") for arg in args) and "." not in args
        try:
            rest: list[str] = super().parse_args(ctx, args)
        except TyperException as error:
            error.message = _PLAINLY.get(error.message, error.message)
            raise
        for param in self.params if empty else ():
            if ctx.params.get(param.name) == Path():
                flag = param.opts[0]
                name = flag if flag.startswith("-") else (param.metavar or flag).strip("{}")
                raise UsageError(f"{name} is empty; give a name")
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Runs the command with the home directory for `~`: no shell expands `--output=~/x`."""
        for name, value in ctx.params.items():
            if isinstance(value, Path):
                ctx.params[name] = Path(os.path.expanduser(value))
        return super().invoke(ctx)

    def get_help_option(self, ctx: Any) -> Any:
        """The help flag, among the general ones."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel = GENERAL
        return option

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line, with IN for typer's {IN}."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]
