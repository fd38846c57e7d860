"""The `aspd` program: its commands, and the one place where errors become a sentence and a code.

Exit codes: 0 done, 1 failed, 2 usage or recipe, 3 done but some records failed, 130 interrupted.
"""

import errno
import os
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from aspd_cli import __version__
from aspd_cli.cli.command import Command, hyphens, of_lm_eval
from aspd_cli.cli.commands.env import env
from aspd_cli.cli.commands.eval import evaluate
from aspd_cli.cli.commands.generate import generate
from aspd_cli.cli.commands.serve import serve
from aspd_cli.cli.commands.train import train
from aspd_cli.cli.commands.transform import transform
from aspd_cli.cli.commands.validate import validate
from aspd_cli.cli.options import debug_is_on
from aspd_cli.errors import AspdError, DataError
from aspd_cli.safe_text import shown

_UNWRITTEN = (errno.ENOSPC, errno.EBADF)


class Commands(TyperGroup):
    """The group of commands: what any of them raises is reported here."""

    def invoke(self, ctx: Any) -> Any:
        try:
            try:
                result = super().invoke(ctx)
            except typer.Exit:
                _flush()
                raise
            _flush()  # a closed pipe shows here, and not in a traceback at exit
            return result
        except (typer.Exit, typer.Abort, TyperException):
            raise
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # What is left in the buffer has no reader; Python would try again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except Exception as error:
            if debug_is_on(ctx):
                print(shown(traceback.format_exc()), file=sys.stderr)
            failed = _failed_stdout() if isinstance(error, OSError) else None
            print(f"aspd: error: {shown(failed or _sentence(error))}", file=sys.stderr)
            raise typer.Exit(getattr(error, "exit_code", 1)) from error
        finally:
            _failed_stdout()


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError(f"cannot write to standard output: {error.strerror}") from error


def _failed_stdout() -> str | None:
    """Why nothing can be written to standard output; what was left for it is dropped."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return f"cannot write to standard output: {error.strerror}"
    return None


def _sentence(error: Exception) -> str:
    # What writes files names them; an unbuffered standard output fails without a name.
    if isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITTEN:
        return f"cannot write to standard output: {error.strerror}"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"cannot use {error.filename}: {error.strerror}"
    if isinstance(error, AspdError | OSError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error} (run with --debug for a traceback)"


app = typer.Typer(
    name="aspd",
    cls=Commands,
    help="Adaptive serial-parallel decoding: write independent parts of an answer at once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": hyphens,  # inherited: --max_new_tokens is --max-new-tokens
    },
)
for command in (transform, validate, train, generate):
    app.command(cls=Command)(command)
app.command("eval", cls=Command, context_settings={"token_normalize_func": of_lm_eval})(evaluate)
app.command(cls=Command)(serve)
app.command(cls=Command)(env)


def _version(value: bool) -> None:
    if value:
        print(f"aspd {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point of the `aspd` script."""
    _replace_closed_streams()
    app()


def _replace_closed_streams() -> None:
    """Puts something in the place of standard streams that were closed, as by `>&-`.

    Otherwise the next file that is opened would become standard output. What is written there
    fails, as it should; messages are lost, as they were meant to be.
    """
    streams = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
    for number, (name, mode) in enumerate(streams):
        if getattr(sys, name) is None:
            write = os.O_WRONLY if name == "stderr" else os.O_RDONLY
            file = os.open(os.devnull, write)
            if file != number:
                os.dup2(file, number)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
