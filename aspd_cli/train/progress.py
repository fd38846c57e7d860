"""What a run tells while it goes, and how it is stopped."""

import signal
import threading
import time
from typing import Any, Protocol

from transformers import TrainerCallback


class Listener(Protocol):
    """Whoever shows a run to its user."""

    def say(self, sentence: str) -> None:
        """Something happened once."""

    def step(self, step: int, total: int, logs: dict[str, float]) -> None:
        """Step `step` of `total` is done; `logs` are new figures, or none."""


class Silent:
    """A listener that shows nothing."""

    def say(self, sentence: str) -> None:
        """Ignores it."""

    def step(self, step: int, total: int, logs: dict[str, float]) -> None:
        """Ignores it."""


class Telling(TrainerCallback):
    """Hands a trainer's log to a listener, and asks for what a user should know at once."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Counts the step."""
        if state.is_world_process_zero:
            self.listener.step(state.global_step, state.max_steps, {})

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Passes the figures of training and evaluation on; the closing summary is ours."""
        if state.is_world_process_zero and logs and "train_runtime" not in logs:
            self.listener.step(state.global_step, state.max_steps, dict(logs))


class Interruption(TrainerCallback):
    """The first Ctrl-C ends the run after the step under way, with a checkpoint.

    A second one ends it at once. With several processes signals reach them at different steps, so
    there a run ends at once and goes on from its last checkpoint.
    """

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # others get no signals
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self.listener.say("stopping after this step, with a checkpoint; Ctrl-C again stops at once")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Saves and stops, when asked to."""
        if self.asked:
            control.should_save = control.should_training_stop = True
        return control


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Rounded to a tenth."""
        return round(time.perf_counter() - self._began, 1)
