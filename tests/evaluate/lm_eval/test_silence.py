"""What a library prints, in whatever way, does not reach the user; what we print does."""

import subprocess
import sys

import pytest

from aspd_cli.evaluate.lm_eval.silence import silence

CHILD = [sys.executable, "-c", "import os; os.write(1, b'child'); os.write(2, b'child')"]


def test_nothing_that_is_printed_reaches_either_stream(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    print("before", file=sys.stderr)
    with silence():
        print("during")
        print("during", file=sys.stderr)
        subprocess.run(CHILD, check=True)
    print("after")
    print("after", file=sys.stderr)
    assert capfd.readouterr() == ("before\nafter\n", "before\nafter\n")


def test_the_streams_come_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="told"), silence():
        raise ValueError("told")
    subprocess.run(CHILD, check=True)
    assert capfd.readouterr() == ("child", "child")
