"""vLLM with our connector, as far as the planner can tell: a stock model with caches of its own.

Keys and values are kept and stitched as tensors, so what is wrongly stitched gives other tokens. It
is as unruly as a server under load: who goes on is drawn, and what is kept may be lost at any time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from aspd_cli.engine.model_runner import _cache_argument
from aspd_cli.vllm.token_engine import TokenOutput, TokenRequest

Slices = list[tuple[Tensor, Tensor]]
"""Keys and values (1, H, T, D) of each layer."""


@dataclass
class Running:
    request: TokenRequest
    cache: DynamicCache
    feed: list[int]
    """Tokens that are not in the cache yet."""
    tokens: list[int] = field(default_factory=list)


class EmulatedVllm:
    """A `TokenEngine`.

    Args:
        model: as transformers makes it.
        pace: how likely a request goes on in a step.
        ahead: most tokens that one request may sample while the others wait.
        losses: how likely a step loses everything that one answer keeps.
        tells_all: as in this process (True) or over HTTP (False).
        stitches: whether what is kept is used; otherwise it is recomputed, and nothing said.
    """

    max_model_len = None

    def __init__(
        self,
        model: Any,
        *,
        pace: float = 1.0,
        ahead: int = 1,
        seed: int = 0,
        losses: float = 0.0,
        tells_all: bool = True,
        has_connector: bool = True,
        stitches: bool = True,
    ) -> None:
        self.model, self.pace, self.ahead, self.losses = model, pace, ahead, losses
        self.tells_all = tells_all
        self.has_connector, self.stitches = has_connector, stitches
        self._cache_argument = _cache_argument(model)
        self.draw = Random(seed)
        self.running: dict[str, Running] = {}
        self.lost: list[str] = []
        self.kept: dict[str, dict[str, Slices]] = {}
        self.submitted: list[TokenRequest] = []
        self.lost_answers = self.most_running = 0

    def submit(self, request: TokenRequest) -> None:
        self.submitted.append(request)
        wanted = request.cache
        if wanted.get("release"):
            self.kept.pop(wanted["answer"], None)
            return
        cache, at = DynamicCache(), 0
        if uses := wanted["uses"] if self.has_connector and self.stitches else ():
            kept = self.kept.get(wanted["answer"], {})
            if any(name not in kept or _length(kept[name]) < a + n for name, a, n in uses):
                self.lost.append(request.id)
                return
            pieces = [
                [(k[:, :, a : a + n], v[:, :, a : a + n]) for k, v in kept[name]]
                for name, a, n in uses
            ]
            at = min(sum(n for _, _, n in uses), len(request.prompt_ids) - 1)
            for layer, parts in enumerate(zip(*pieces, strict=True)):
                keys, values = (torch.cat(each, dim=2) for each in zip(*parts, strict=True))
                keys, values = keys[:, :, :at], values[:, :, :at]
                cache.update(keys, values, layer)
        self.running[request.id] = Running(request, cache, list(request.prompt_ids[at:]))
        self.most_running = max(self.most_running, len(self.running))

    def abort(self, ids: Sequence[str]) -> None:
        for each in ids:
            self.running.pop(each, None)

    def poll(self) -> list[TokenOutput]:
        found = [TokenOutput(each, finished=True, lost=True) for each in self.lost]
        self.lost = []
        if self.kept and self.draw.random() < self.losses:
            del self.kept[self.draw.choice(sorted(self.kept))]
            self.lost_answers += 1
        going = [run for run in self.running.values() if self.draw.random() < self.pace]
        for run in going:
            turns = range(1 + self.draw.randrange(self.ahead))
            found += (self._step(run) for _ in turns if run.request.id in self.running)
        return found

    def close(self) -> None:
        assert not self.running
        assert not self.kept, "nothing is kept of answers that have ended"

    @torch.inference_mode()
    def _step(self, run: Running) -> TokenOutput:
        at = run.cache.get_seq_length()
        positions = torch.arange(at, at + len(run.feed))[None]
        cache = {self._cache_argument: run.cache}
        scores = self.model(torch.tensor([run.feed]), position_ids=positions, **cache).logits[0, -1]
        sampling = run.request.sampling()
        for token, bias in sampling.get("logit_bias", {}).items():
            scores[int(token)] += bias
        if allowed := sampling.get("allowed_token_ids"):
            others = torch.ones_like(scores, dtype=torch.bool)
            others[allowed] = False
            scores[others] = -torch.inf
        logprobs = []
        if run.request.logprobs:
            values, tokens = scores.log_softmax(-1).topk(run.request.logprobs)
            logprobs = [dict(zip(tokens.tolist(), values.tolist(), strict=True))]
        token = int(scores.argmax())
        run.feed = [token]
        run.tokens.append(token)
        stopped = token in sampling["stop_token_ids"]
        if not stopped and len(run.tokens) < sampling["max_tokens"]:
            return TokenOutput(run.request.id, [token] if run.request.streams else [])
        del self.running[run.request.id]
        told = {"kept": self._finish(run, token if stopped else None)}
        heard = self.has_connector and (self.tells_all or not run.request.streams)
        return TokenOutput(
            run.request.id,
            [token] if run.request.streams else run.tokens,
            True,
            token if stopped else None,
            told=told if heard else None,
            logprobs=logprobs,
        )

    def _finish(self, run: Running, stopped_by: int | None) -> int:
        wanted = run.request.cache
        if stopped_by in wanted.get("ends", ()):
            self.kept.pop(wanted["answer"], None)
            return 0
        keeps = wanted.get("keeps", ())
        if keeps is not True and stopped_by not in keeps:
            return 0
        held = self.kept.setdefault(wanted["answer"], {})
        held[wanted["name"]] = [(layer.keys, layer.values) for layer in run.cache.layers]
        for name in wanted.get("frees", ()):
            held.pop(name, None)
        return run.cache.get_seq_length()


def _length(slices: Slices) -> int:
    return int(slices[0][0].shape[2])
