"""The decoder: one model ready to decode, and the calls a user makes on it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from aspd_cli.core.chat import Prompt, encode_prompt
from aspd_cli.core.codec import Codec
from aspd_cli.core.layout import Positions
from aspd_cli.core.visibility import LaneTree
from aspd_cli.engine.answer import Answer
from aspd_cli.engine.compatibility import check_family, context_length, self_test
from aspd_cli.engine.events import Done, Event, Output
from aspd_cli.engine.forced_tokens import Script
from aspd_cli.engine.grammar import Grammar
from aspd_cli.engine.model_runner import ModelRunner
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.packed_linear import LinearKernels
from aspd_cli.engine.scheduler import Scheduler
from aspd_cli.errors import ModelError


class Decoder:
    """A causal language model with its tokenizer, for serial-parallel decoding.

    Takes the model over: its attention is set to the engine's, so it is no longer fit for calls of
    its own. Use `aspd_cli.load` to make one from files.

    Raises:
        ModelError: the family cannot honour lanes and positions (by configuration or self-test).
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        positions: Positions = "same-seq",
        max_depth: int = 1,
        forms: bool = True,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        check_family(model.config)
        self.codec = Codec(tokenizer, chat_template_kwargs)
        self.runner = ModelRunner(model.eval(), self.codec)
        """What runs the model, step by step."""
        self.model = model
        self.device = self.runner.device
        self.positions = positions
        """How positions go on after a block, as the model was trained."""
        self.max_depth = max_depth
        self.forms = forms
        """Whether the model was trained with labels that are written once, in forms."""
        self.context = context_length(model.config)
        self.kernels = LinearKernels()
        """How linear layers are computed; `load` chooses."""
        self.stock: torch.nn.Module | None = None
        """The model as transformers computes it, where `load` was asked to keep it."""
        self_test(self.runner)

    @property
    def ends(self) -> tuple[int, ...]:
        """Ids that end an answer: the template's end of turn, then what the model itself names."""
        return self.runner.ends

    def generate(
        self, prompts: Prompt | Sequence[Prompt], *, batch_size: int = 8, **options: Any
    ) -> list[Output]:
        """Answers to prompts, in their order.

        Args:
            prompts: a string, a conversation (list of messages with `role` and `content`), or a
                list of strings and conversations.
            batch_size: most prompts decoded at once; each is admitted as another finishes.
            options: fields of `GenerationOptions`: mode, system, max_new_tokens, max_branch_tokens,
                temperature, top_k, top_p, min_p, repetition_penalty, stop, seed, draft,
                max_branches, max_title_tokens, max_depth.

        Raises:
            UsageError: an option is out of range.
            DataError: a prompt is empty or malformed.
            ModelError: a prompt does not fit the context, or the model lacks control tokens.
        """
        one = isinstance(prompts, str) or any(isinstance(item, Mapping) for item in prompts)
        batch: list[Any] = [prompts] if one else list(prompts)
        outputs = dict(self.generate_iter(batch, batch_size=batch_size, **options))
        return [outputs[index] for index in range(len(batch))]

    def generate_iter(
        self, prompts: Sequence[Prompt], *, batch_size: int = 8, **options: Any
    ) -> Iterator[tuple[int, Output]]:
        """(index of the prompt, answer) in the order in which answers finish."""
        for index, event in self._events(prompts, batch_size, options):
            if isinstance(event, Done):
                yield index, event.output

    def stream(self, prompt: Prompt, **options: Any) -> Iterator[Event]:
        """The events of one answer as they happen; the last one is `Done`."""
        for _, event in self._events([prompt], 1, options):
            yield event

    def _events(
        self, prompts: Sequence[Prompt], batch_size: int, options: dict[str, Any]
    ) -> Iterator[tuple[int, Event]]:
        chosen = GenerationOptions(**options)
        encoded = [self.encode(prompt, chosen) for prompt in prompts]
        yield from self.run(encoded, chosen, batch_size=batch_size)

    def run(
        self,
        encoded: Sequence[Sequence[int]],
        options: GenerationOptions,
        *,
        batch_size: int = 8,
        scripts: Sequence[Script | None] = (),
    ) -> Iterator[tuple[int, Event]]:
        """(index of the prompt, event) for prompts that are token ids already, see `encode`.

        Args:
            scripts: what each answer writes in place of what the model would; none: it is free.
        """
        scheduler = self.scheduler(max(1, min(batch_size, len(encoded))))
        draws: Counter[tuple[int, ...]] = Counter()  # the same prompt twice draws twice
        for index, prompt_ids in enumerate(encoded):
            draws[prompt := tuple(prompt_ids)] += 1
            script = scripts[index] if scripts else None
            scheduler.submit(index, prompt_ids, options, script, draw=draws[prompt])
        yield from scheduler.run()

    def scheduler(self, rows: int, max_lanes: int | None = None) -> Scheduler:
        """The step loop by itself, for who submits and cancels requests between steps."""
        return Scheduler(self.runner, self.open_answer, rows, max_lanes)

    def encode(self, prompt: Prompt, options: GenerationOptions) -> list[int]:
        """The prompt's ids. Raises `ModelError` when it fills the context."""
        if options.mode != "plain":
            self._check_control()
        ids = encode_prompt(self.codec, prompt, options.system)
        if self.context is not None and len(ids) >= self.context:
            raise ModelError(
                f"the prompt has {len(ids)} tokens, but the model's context is {self.context}: "
                "shorten it"
            )
        return ids

    def open_answer(
        self, prompt_ids: Sequence[int], options: GenerationOptions, lanes: LaneTree
    ) -> Answer:
        """An answer that is ready for its first step."""
        budget = options.max_new_tokens
        if self.context is not None:
            budget = min(budget, self.context - len(prompt_ids))
        grammar = self._grammar(options)
        return Answer(
            prompt_ids,
            options,
            grammar,
            self.codec,
            lanes,
            self.positions,
            budget,
            forms=self.forms,
        )

    def _grammar(self, options: GenerationOptions) -> Grammar:
        plain = options.mode == "plain"
        depth = 0 if plain else (options.max_depth or self.max_depth)
        return Grammar(
            control=None if plain and not self.has_control else self.codec.control,
            ends=self.ends,
            specials=tuple(sorted(self.codec.special)),
            max_depth=depth,
            max_branches=options.max_branches,
            max_title_tokens=options.max_title_tokens,
        )

    def check_options(self, options: GenerationOptions) -> None:
        """Raises `UsageError` for what this engine cannot do; ours can do all of it."""

    @cached_property
    def has_control(self) -> bool:
        """Whether tokenizer and model have the six control tokens."""
        try:
            self._check_control()
        except ModelError:
            return False
        return True

    def _check_control(self) -> None:
        if max(self.codec.control) >= self.runner.known_ids:
            raise ModelError(
                "the tokenizer has the control tokens, but the model has embeddings for only "
                f"{self.runner.known_ids} tokens: load the adapter that was trained with it "
                "(--adapter), or decode with --plain"
            )
