"""Runs decode steps: the packed tokens of a step through the model's own forward pass.

Shapes: N tokens of a step, n of them that sample, V vocabulary.
"""

import inspect
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from aspd_cli.core.chat import end_of_turn
from aspd_cli.core.codec import Codec
from aspd_cli.core.visibility import MAIN
from aspd_cli.engine.attention.step_plan import Plan, StepPlan, step
from aspd_cli.engine.compiled_steps import CompiledSteps
from aspd_cli.engine.cuda_graph import GraphSteps
from aspd_cli.engine.kv_cache import Feed, LaneCache

_ROOM, _MOST_ROOM = 512, 4096
"""Slots of a row that are reserved at once where steps are recorded, and how many at most."""


class ModelRunner:
    """A model with its caches, and what the step loop needs to know of both.

    Args:
        model: a causal language model in evaluation mode, with the engine's attention.
    """

    def __init__(self, model: Any, codec: Codec) -> None:
        self.model, self.codec = model, codec
        self.device: torch.device = next(model.parameters()).device
        self.is_spread = len(getattr(model, "hf_device_map", {})) > 1
        """Whether accelerate has spread the model over devices."""
        self.layers = int(model.config.get_text_config(decoder=True).num_hidden_layers)
        self.parameters = sum(weight.numel() for weight in model.parameters())
        """Numbers of the model, counted before its layers are packed."""
        self.vocabulary = int(model.get_output_embeddings().weight.shape[0])
        """Width of the logits."""
        self.known_ids = min(self.vocabulary, model.get_input_embeddings().weight.shape[0])
        """Ids that have both an embedding and a logit."""
        self.graphs: GraphSteps | None = None
        """Steps recorded as CUDA graphs, where one GPU holds the model."""
        if self.device.type == "cuda" and not self.is_spread:
            self.graphs = GraphSteps(self._forward)
        self.compiled: CompiledSteps | None = None
        """Steps compiled for a CPU, where `compile` was called."""
        self._cache_argument = _cache_argument(model)
        self._idle: LaneCache | None = None

    def __str__(self) -> str:
        return str(self.graphs or self.compiled or "the forward pass of the model")

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Ids that end an answer: the template's end of turn, then what the model itself names."""
        named = getattr(self.model.generation_config, "eos_token_id", None)
        listed = named if isinstance(named, list) else [] if named is None else [named]
        return tuple(dict.fromkeys([end_of_turn(self.codec)[-1], *listed]))

    @cached_property
    def unnamed_ids(self) -> Tensor:
        """Ids with a logit but without a token, as in vocabularies padded to a round number."""
        named = set(self.codec.tokenizer.get_vocab().values())
        return torch.tensor(
            [i for i in range(self.vocabulary) if i not in named or i >= self.known_ids],
            dtype=torch.long,
        )

    @cached_property
    def unpenalised_ids(self) -> frozenset[int]:
        """Ids that the repetition penalty leaves alone: they are structure, not text."""
        return self.codec.special | frozenset(self.ends)

    @torch.inference_mode()
    def forward(self, last: Sequence[int], cache: LaneCache, plan: StepPlan) -> Tensor:
        """One step: its N packed tokens through the model; (n, V) logits at the indices `last`."""
        size = plan.fed.shape[1]
        fed = torch.from_numpy(plan.fed).to(self.device)
        if self.is_spread:
            # Its states lie where no index of ours is: a slice needs none.
            first = min(last, default=0)
            logits = self._forward(fed, size - first, cache, plan).to(self.device)
            return logits[[at - first for at in last]]
        whole = len(last) == size
        keep = size if whole else torch.tensor(list(last), dtype=torch.long, device=self.device)
        run = partial(self._forward, fed, keep, cache, plan)
        faster = self.graphs or self.compiled
        return faster(fed, last, cache, plan, run) if faster else run()

    def _forward(self, fed: Tensor, keep: int | Tensor, cache: LaneCache, plan: Plan) -> Tensor:
        """(n, V) logits of (2, N) ids and positions: of the last `keep` tokens, or those named."""
        with step(plan):
            logits: Tensor = self.model(
                fed[:1],
                position_ids=fed[1:],
                use_cache=True,
                logits_to_keep=keep,
                **{self._cache_argument: cache},
            ).logits
        return logits[0]

    def compile(self) -> None:
        """Compiles the steps of a model on a CPU; takes from half a minute to a few minutes.

        A model that cannot be compiled runs as it is, with a warning.
        """
        self.compiled = CompiledSteps(self.model, self.layers, self._cache_argument)
        # A width of one is compiled for itself, all others together.
        self.probe(1)
        self.probe(2)

    def probe(self, tokens: int = 2) -> None:
        """Runs the model on a few tokens, for who wants to watch it."""
        cache = LaneCache(self.layers, 1, self.device)
        self.forward([tokens - 1], cache, cache.prepare([Feed(0, MAIN, range(tokens), 0)]))

    def take_cache(self, rows: int) -> LaneCache:
        """A cache for a run; the last one, where steps were recorded on it."""
        cache, self._idle = self._idle, None
        if cache is None or cache.rows != rows:
            return LaneCache(self.layers, rows, self.device)
        return cache

    def give_back(self, cache: LaneCache) -> None:
        """Ends a run on a cache. A very long one is not kept: each later step would read it all."""
        if self.graphs and cache.capacity <= _MOST_ROOM:
            self._idle = cache

    def reserve(self, cache: LaneCache, entries: int) -> None:
        """Makes room for a whole answer where steps are recorded: a cache that grows loses them."""
        if self.graphs:
            cache.reserve(min(-(-entries // _ROOM) * _ROOM, _MOST_ROOM) - 1)


def _cache_argument(model: Any) -> str:
    """What the model's forward pass calls its cache: transformers renamed it in 5.24."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
