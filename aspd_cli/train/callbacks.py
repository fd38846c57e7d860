"""What happens beside the steps of a run: it tells how it goes, is stopped, and shows answers.

`Listener` is what a run tells, `Interruption` makes Ctrl-C a clean end, and `SampleWriter` lets the
engine decode sample answers: it takes the model over for as long (`borrowed`).
"""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from transformers import TrainerCallback

from aspd_cli.core.layout import Positions
from aspd_cli.engine.decoder import Decoder
from aspd_cli.files import append_jsonl
from aspd_cli.recipe.sections import GenerationSection


class Listener(Protocol):
    """Whoever shows a run to its user."""

    def say(self, sentence: str) -> None:
        """Something happened once."""

    def step(self, step: int, total: int, logs: dict[str, float]) -> None:
        """Step `step` of `total` is done; `logs` are new figures, or none."""


class Silent(Listener):
    """Shows nothing."""

    def say(self, sentence: str) -> None:
        """Not shown."""

    def step(self, step: int, total: int, logs: dict[str, float]) -> None:
        """Not shown."""


class Telling(TrainerCallback):
    """Hands a trainer's log to a listener, and asks for what a user should know at once."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Counts the step; the last one is logged, so that the shortest run has a loss."""
        control.should_log |= state.global_step >= state.max_steps
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
        self._process = os.getpid()

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # others get no signals
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: Any) -> None:
        if os.getpid() != self._process:  # a process of the data loader, which the run ends
            return
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self.listener.say(
            "stopping after this step and saving a checkpoint; press Ctrl-C again to stop at once"
        )

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


@contextmanager
def borrowed(
    model: Any,
    tokenizer: Any,
    positions: Positions,
    max_depth: int,
    chat_template_kwargs: dict[str, Any],
) -> Iterator[Decoder]:
    """A decoder of a model that afterwards is as it was: attention, mode and cache setting.

    Args:
        model: a causal language model, with or without PEFT's adapters in it.

    Raises:
        ModelError: the engine cannot decode it exactly.
    """
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    attention = whole.config.get_text_config()._attn_implementation
    modes = [(module, module.training) for module in whole.modules()]
    try:
        yield Decoder(
            whole,
            tokenizer,
            positions=positions,
            max_depth=max_depth,
            chat_template_kwargs=chat_template_kwargs,
        )
    finally:
        whole.set_attn_implementation(attention)
        for module, training in modes:
            module.training = training


class SampleWriter(TrainerCallback):
    """Writes a few answers to a file at each evaluation: one JSON object a line."""

    def __init__(
        self,
        path: Path,
        prompts: Sequence[Any],
        options: GenerationSection,
        tokenizer: Any,
        positions: Positions,
        max_depth: int,
        chat_template_kwargs: dict[str, Any],
    ) -> None:
        self.chat_template_kwargs = chat_template_kwargs
        self.path, self.prompts, self.tokenizer = path, prompts, tokenizer
        self.positions, self.max_depth = positions, max_depth
        self.batch_size = options.batch_size
        self.options = options.model_dump(exclude={"batch_size"})

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decodes on the main process; the others wait at their next gradient."""
        if not state.is_world_process_zero:
            return
        rest = (self.positions, self.max_depth, self.chat_template_kwargs)
        with borrowed(kwargs["model"], self.tokenizer, *rest) as decoder:
            outputs = decoder.generate(self.prompts, batch_size=self.batch_size, **self.options)
        with self.path.open("ab") as file:
            for prompt, output in zip(self.prompts, outputs, strict=True):
                line = {
                    "step": state.global_step,
                    "prompt": prompt,
                    "markup": output.markup,
                    "finish_reason": output.finish_reason,
                    "tokens": output.stats.tokens,
                    "steps": output.stats.steps,
                }
                append_jsonl(file, line)
