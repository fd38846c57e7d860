"""The decoder: one model ready to decode, and the calls a user makes on it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from aspd_cli.core.chat import Prompt, encode_prompt, end_of_turn
from aspd_cli.core.layout import Positions
from aspd_cli.core.tokens import Codec
from aspd_cli.core.visibility import LaneTree
from aspd_cli.engine.answer import Answer
from aspd_cli.engine.cache import LaneCache
from aspd_cli.engine.events import Done, Event, Output
from aspd_cli.engine.families import check_family, context_length
from aspd_cli.engine.grammar import Grammar
from aspd_cli.engine.linear import Kernels
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.engine.plan import StepPlan, step
from aspd_cli.engine.scheduler import MOST_ROOM, Scheduler
from aspd_cli.engine.script import Script
from aspd_cli.engine.selftest import self_test
from aspd_cli.engine.shortcut import Shortcut
from aspd_cli.errors import ModelError

_LONG = 256
"""Tokens of a step that takes so long that calling the model's modules does not count."""


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
    ) -> None:
        check_family(model.config)
        self.model = model.eval()
        self.device: torch.device = next(model.parameters()).device
        self.is_spread = len(getattr(model, "hf_device_map", {})) > 1
        """Whether accelerate has spread the model over devices."""
        self.codec = Codec(tokenizer)
        self.positions = positions
        """How positions go on after a block, as the model was trained."""
        self.max_depth = max_depth
        text = model.config.get_text_config(decoder=True)
        self.layers = int(text.num_hidden_layers)
        self.vocabulary = int(model.get_output_embeddings().weight.shape[0])
        """Width of the logits."""
        self.context = context_length(model.config)
        self.known_ids = min(self.vocabulary, model.get_input_embeddings().weight.shape[0])
        """Ids that have both an embedding and a logit."""
        self.kernels = Kernels()
        """How linear layers are computed; `load` chooses."""
        on_one_gpu = self.device.type == "cuda" and not self.is_spread
        self.shortcut = Shortcut(model, fixed=on_one_gpu)
        """How narrow steps come to do without the model's modules."""
        self._idle: LaneCache | None = None
        self.stock: torch.nn.Module | None = None
        """The model as transformers computes it, where `load` was asked to keep it."""
        self_test(model, self.layers, self.known_ids)

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Ids that end an answer: the template's end of turn, then what the model itself names."""
        named = getattr(self.model.generation_config, "eos_token_id", None)
        listed = named if isinstance(named, list) else [] if named is None else [named]
        return tuple(dict.fromkeys([end_of_turn(self.codec)[-1], *listed]))

    @cached_property
    def nameless(self) -> Tensor:
        """Ids with a logit but without a token, as in vocabularies padded to a round number."""
        named = set(self.codec.tokenizer.get_vocab().values())
        return torch.tensor(
            [i for i in range(self.vocabulary) if i not in named or i >= self.known_ids],
            dtype=torch.long,
        )

    @cached_property
    def exempt(self) -> frozenset[int]:
        """Ids that the repetition penalty leaves alone: they are structure, not text."""
        return self.codec.special | frozenset(self.ends)

    def generate(
        self, prompts: Prompt | Sequence[Prompt], *, batch_size: int = 8, **options: Any
    ) -> list[Output]:
        """Answers to prompts, in their order.

        Args:
            prompts: a string, a conversation (list of messages with `role` and `content`), or a
                list of strings and conversations.
            batch_size: most prompts decoded at once; each is admitted as another finishes.
            options: fields of `GenerationOptions`: mode, system, max_new_tokens, max_branch_tokens,
                temperature, top_k, top_p, min_p, repetition_penalty, stop, seed, max_branches,
                max_title_tokens, max_depth.

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
        scheduler = Scheduler(self, options, rows=max(1, min(batch_size, len(encoded))))
        for index, prompt_ids in enumerate(encoded):
            scheduler.submit(index, prompt_ids, scripts[index] if scripts else None)
        yield from scheduler.run()

    def encode(self, prompt: Prompt, options: GenerationOptions) -> list[int]:
        """The prompt's ids. Raises `ModelError` when it fills the context."""
        if options.mode != "plain":
            self._check_control()
        ids = encode_prompt(self.codec, prompt, options.system)
        if self.context is not None and len(ids) >= self.context:
            raise ModelError(
                f"the prompt has {len(ids)} tokens, the model's context {self.context}: shorten it"
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
        return Answer(prompt_ids, options, grammar, self.codec, lanes, self.positions, budget)

    @torch.inference_mode()
    def forward(self, last: Sequence[int], cache: LaneCache, plan: StepPlan) -> Tensor:
        """One step: its N packed tokens through the model; (n, V) logits at the indices `last`."""
        size, first = plan.fed.shape[1], min(last, default=0)
        fed = torch.from_numpy(plan.fed).to(self.device)

        def modules() -> Tensor:
            # A model on several devices keeps its states where no index of ours is: a slice needs
            # none.
            keep: int | Tensor = size - first
            if not self.is_spread and len(last) < size:
                keep = torch.tensor(list(last), device=self.device)
            with step(plan):
                logits: Tensor = self.model(
                    fed[:1],
                    position_ids=fed[1:],
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=keep,
                ).logits[0]
            return logits

        if self.is_spread:
            return modules().to(self.device)[[at - first for at in last]]
        if size > _LONG:
            return modules()
        return self.shortcut(fed, last, cache, plan, modules)

    def take_cache(self, rows: int) -> LaneCache:
        """A cache for a run; the last one, where steps of fixed shapes were recorded on it."""
        cache, self._idle = self._idle, None
        if cache is None or cache.rows != rows:
            return LaneCache(self.layers, rows, self.device)
        return cache

    def give_back(self, cache: LaneCache) -> None:
        """Ends a run on a cache. A very long one is not kept: each later step would read it all."""
        if self.shortcut.fixed and cache.capacity <= MOST_ROOM:
            self._idle = cache

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

    @cached_property
    def has_control(self) -> bool:
        """Whether tokenizer and model have the six control tokens."""
        try:
            self._check_control()
        except ModelError:
            return False
        return True

    def _check_control(self) -> None:
        if max(self.codec.control) >= self.known_ids:
            raise ModelError(
                "the tokenizer holds the control tokens but the model has embeddings for "
                f"{self.known_ids} tokens only: load the adapter that was trained with it "
                "(--adapter), or decode with --plain"
            )
