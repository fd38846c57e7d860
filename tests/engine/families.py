"""Random tiny models of the families that the engine supports, and sampling that likes to fork."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from aspd_cli.core.layout import TokenBlock, TokenTree
from aspd_cli.engine.answer import Answer
from aspd_cli.engine.kv_cache import LaneCache
from aspd_cli.engine.scheduler import Scheduler

_COMMON = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 4096,
    "initializer_range": 0.4,  # large, so that what a token sees shows in its logits
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}

FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": {},
    "qwen2-window": {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 9,
        "max_window_layers": 1,
    },
    "qwen3": {},
    "llama": {},
    "mistral": {"sliding_window": None},
    "mistral-window": {"model_type": "mistral", "sliding_window": 9},
    "phi3": {"sliding_window": None},
    "phi3-window": {"model_type": "phi3", "sliding_window": 9},
    "gemma2": {"sliding_window": 9, "query_pre_attn_scalar": 8},
    "gemma3_text": {
        "sliding_window": 9,
        "query_pre_attn_scalar": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "olmo2": {},
    "olmo3": {"sliding_window": 9, "layer_types": ["sliding_attention", "full_attention"]},
    "smollm3": {},
    "granite": {},
    "stablelm": {},
    "starcoder2": {"sliding_window": None},
    "gpt_neox": {},
    "cohere2": {
        "sliding_window": 9,
        "layer_types": ["sliding_attention", "full_attention"],
        "logit_scale": 1.0,
    },
}
"""Name -> what its configuration adds to the common one; `model_type` when it is not the name."""

EAGER_ONLY = {"gemma2"}
"""Families whose stock reference must be eager: sdpa does not compute soft-capping."""


def tiny_model(family: str, vocabulary: int, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random float32 model of a family, about 20 thousand parameters."""
    settings = {**_COMMON, **FAMILIES[family], "vocab_size": vocabulary, **changes}
    torch.manual_seed(seed)
    config = AutoConfig.for_model(settings.pop("model_type", family), **settings)
    stock = "eager" if family in EAGER_ONLY else "sdpa"
    model = AutoModelForCausalLM.from_config(config, attn_implementation=stock).eval()
    model.generation_config.eos_token_id = None
    return model


@dataclass
class Recorder:
    """What the engine sampled, from which logits, and the answers that it built."""

    logits: dict[tuple[int, tuple[tuple[int, int], ...]], list[Tensor]]
    """(request, path of the lane) -> raw logits (V) of its sampled tokens, in order."""
    answers: dict[int, Answer]
    caches: list[LaneCache]


def make_models_fork(monkeypatch: Any) -> Recorder:
    """Tilts sampling so that random models write documents with several and with nested blocks.

    The tilt is in units of the logits' spread and a function of the lane, not of the schedule: a
    lane is drawn to fork after a few tokens of text, and to end the longer it gets. What is
    recorded are the logits before the tilt.
    """
    recorder = Recorder({}, {}, [])
    sample = Scheduler._sample

    def recording(self: Scheduler, work: Any, logits: Tensor) -> list[int]:
        lanes = [(request, p.lane) for request, pending in work for p in pending if p.samples]
        for (request, lane), row in zip(lanes, logits, strict=True):
            recorder.answers[request.index] = request.answer
            recorder.logits.setdefault((request.index, lane.path), []).append(row.clone())
        if not any(cache is self.cache for cache in recorder.caches):
            recorder.caches.append(self.cache)
        control, end = self.runner.codec.control, self.runner.ends[0]
        opening = self.runner.codec.encode("1)")
        tilt = torch.zeros_like(logits)
        for row, (_, lane) in zip(tilt, lanes, strict=True):
            forks = sum(not isinstance(part, list) for part in lane.parts)
            wanted = 2 if lane.depth == 0 else (lane.path[-1][1] + 1) % 2
            row[control.title] = 4.0 if forks < wanted and lane.text_tokens > forks + 1 else -9.0
            row[control.title_end] = 3.0
            written = len(lane.titles[-1]) if lane.titles else 0
            if len(lane.titles) == 1 and forks % 2 == lane.depth % 2 and written < len(opening):
                row[opening[written]] = 1e3  # a first title in a form: "1)x"
            row[control.para] = 1.0
            row[[control.branch_end, end]] = -4.0 + lane.text_tokens
        return sample(self, work, logits + tilt * logits.std(dim=-1, keepdim=True))

    monkeypatch.setattr(Scheduler, "_sample", recording)
    return recorder


def lane_paths(tree: TokenTree) -> list[tuple[tuple[int, int], ...]]:
    """The path of each lane in the order in which the layout numbers them."""
    paths: list[tuple[tuple[int, int], ...]] = [()]

    def walk(tree: TokenTree, path: tuple[tuple[int, int], ...]) -> None:
        blocks = [part for part in tree if isinstance(part, TokenBlock)]
        for number, block in enumerate(blocks):
            children = [(*path, (number, i)) for i in range(len(block.branches))]
            paths.extend(children)
            for child, branch in zip(children, block.branches, strict=True):
                walk(branch.content, child)

    walk(tree, ())
    return paths
