"""What lm-eval prints of its own affairs, kept from the user."""

import contextlib
import os
import sys
from collections.abc import Iterator

STANDARD = (1, 2)
"""Descriptors of standard output and standard error."""


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Discards standard output and standard error, those of child processes included.

    lm-eval draws bars, prints to standard output, where a user's JSON goes, and starts programs
    that complain, such as git outside of a repository. Its errors come as exceptions.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # or else what waits there would be discarded too
    with contextlib.ExitStack() as undo:
        nothing = undo.enter_context(open(os.devnull, "w"))
        for descriptor in STANDARD:
            kept = os.dup(descriptor)
            undo.callback(os.close, kept)
            undo.callback(os.dup2, kept, descriptor)
            os.dup2(nothing.fileno(), descriptor)
        undo.enter_context(contextlib.redirect_stdout(nothing))
        undo.enter_context(contextlib.redirect_stderr(nothing))
        yield
