"""The progress of a run: what a terminal, a pipe and --quiet are shown."""

import io
import math
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from aspd_cli.cli import progress as module
from aspd_cli.cli.progress import ProgressReporter
from aspd_cli.cli.views.train import ShownRun


class Clock:
    """Stands in for `time`: it goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def reporter(file: io.StringIO, *, terminal: bool = False, **settings: Any) -> ProgressReporter:
    console = Console(file=file, force_terminal=terminal, width=100, _environ={})
    return ProgressReporter("answers", **{"quiet": False, "console": console, **settings})


def test_a_line_tells_the_rate_and_what_is_left(clock: Clock) -> None:
    with reporter(io.StringIO(), total=24) as progress:
        assert progress.line() == "0 of 24 answers"
        clock.now += 2
        progress.reach(4, ["50% parallel", "$1.50"])
        known = "4 of 24 answers, 50% parallel, $1.50, 2 answers/s, 0:00:10 left"
        assert progress.line() == known
        progress.advance(20)
        assert progress.line() == "24 of 24 answers, 50% parallel, $1.50, 12 answers/s"


def test_without_a_total_only_the_rate_is_known(clock: Clock) -> None:
    with reporter(io.StringIO()) as progress:
        clock.now += 0.5
        progress.advance(2000)
        assert progress.line() == "2000 answers, 4,000 answers/s"
        assert progress.left() is None


def test_what_came_before_the_first_number_does_not_slow_the_rate(clock: Clock) -> None:
    with reporter(io.StringIO()) as progress:
        clock.now += 1000  # a model is loaded
        progress.expect(10)
        clock.now += 5
        progress.advance(5)
        progress.expect(10)
        assert progress.left() == timedelta(seconds=15)


def test_a_resumed_run_counts_its_rate_from_where_it_began(clock: Clock) -> None:
    with reporter(io.StringIO()) as progress:
        progress.reach(300)
        progress.expect(400)
        clock.now += 20
        progress.reach(310)
        assert progress.line() == "310 of 400 answers, 0.5 answers/s, 0:03:00 left"


def test_a_pipe_gets_a_plain_line_now_and_then(clock: Clock) -> None:
    file = io.StringIO()
    with reporter(file, total=100) as progress:
        for _ in range(30):
            clock.now += 1
            progress.advance()
        progress.say("a long sentence [bold] with :smile: " + "word " * 40)
    *lines, said = file.getvalue().splitlines()
    assert lines == [
        f"{done} of 100 answers, 1 answers/s, 0:01:{left} left"
        for done, left in ((10, 30), (20, 20), (30, 10))
    ]
    assert said == "a long sentence [bold] with :smile: " + "word " * 40


def test_quiet_shows_nothing(clock: Clock) -> None:
    for terminal in (False, True):
        file = io.StringIO()
        with reporter(file, terminal=terminal, quiet=True, total=2) as progress:
            clock.now += 1000
            progress.advance()
            progress.say("a sentence")
        assert file.getvalue() == ""


def test_a_terminal_gets_a_bar_that_is_gone_in_the_end() -> None:
    file = io.StringIO()
    with reporter(file, terminal=True, before="loading the model") as progress:
        progress.say("first [sic]")
        progress.expect(4)
        progress.reach(3, ["loss 2 [nats]"])
    shown = file.getvalue()
    assert "loading the model" in shown
    assert "first [sic]\n" in shown
    assert "3 of 4 answers, loss 2 [nats]" in shown
    assert shown.endswith("\x1b[1A\x1b[2K"), "the last line of the bar is erased"


def test_a_run_of_training_tells_each_entry_of_its_log(clock: Clock) -> None:
    file = io.StringIO()
    with reporter(file, every=math.inf) as progress:
        listener = ShownRun(progress)
        listener.say("resuming from checkpoint-8")
        for step in range(9, 13):
            clock.now += 60
            listener.step(step, 12, {})
            if step % 2 == 0:
                listener.step(step, 12, {"loss": 2.0, "learning_rate": 1e-4})
    assert file.getvalue().splitlines() == [
        "resuming from checkpoint-8",
        "step 10/12: loss 2, lr 0.0001, 0:02:00 left",
        "step 12/12: loss 2, lr 0.0001",
    ]


def test_on_a_terminal_an_evaluation_stays_in_sight_and_the_loss_stands_beside_the_bar() -> None:
    file = io.StringIO()
    with reporter(file, terminal=True, every=math.inf) as progress:
        listener = ShownRun(progress)
        listener.step(1, 4, {"eval_loss": 3.0})
        listener.step(2, 4, {"loss": 2.0})
        listener.step(3, 4, {})
    shown = file.getvalue()
    assert "step 1/4: evaluation loss 3\n" in shown
    assert "step 2/4" not in shown
    assert "3 of 4 answers, loss 2, " in shown
