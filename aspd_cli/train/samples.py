"""Answers of a model in training, decoded by the engine, which otherwise takes a model over."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from aspd_cli.core.layout import Positions
from aspd_cli.engine.decoder import Decoder
from aspd_cli.recipe_sections import GenerationSection


@contextmanager
def borrowed(model: Any, tokenizer: Any, positions: Positions, max_depth: int) -> Iterator[Decoder]:
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
        yield Decoder(whole, tokenizer, positions=positions, max_depth=max_depth)
    finally:
        whole.set_attn_implementation(attention)
        for module, training in modes:
            module.training = training


class Sampler(TrainerCallback):
    """Writes a few answers to a file at each evaluation: one JSON object a line."""

    def __init__(
        self,
        path: Path,
        prompts: Sequence[Any],
        options: GenerationSection,
        tokenizer: Any,
        positions: Positions,
        max_depth: int,
    ) -> None:
        self.path, self.prompts, self.tokenizer = path, prompts, tokenizer
        self.positions, self.max_depth = positions, max_depth
        self.batch_size = options.batch_size
        self.options = options.model_dump(exclude={"batch_size"})

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decodes on the main process; the others wait at their next gradient."""
        if not state.is_world_process_zero:
            return
        with borrowed(kwargs["model"], self.tokenizer, self.positions, self.max_depth) as decoder:
            outputs = decoder.generate(self.prompts, batch_size=self.batch_size, **self.options)
        with self.path.open("a", encoding="utf-8") as file:
            for prompt, output in zip(self.prompts, outputs, strict=True):
                line = {
                    "step": state.global_step,
                    "prompt": prompt,
                    "markup": output.markup,
                    "finish_reason": output.finish_reason,
                    "tokens": output.stats.tokens,
                    "steps": output.stats.steps,
                }
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
