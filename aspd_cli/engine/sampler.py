"""From logits to tokens: grammar, then the usual warpers, then each lane's own generator.

Shapes: n lanes that sample, V vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from aspd_cli.engine.grammar import Choice
from aspd_cli.engine.options import GenerationOptions
from aspd_cli.files import content_digest


class Draw(NamedTuple):
    """What one lane brings to a step of sampling."""

    choice: Choice
    options: GenerationOptions
    rng: np.random.Generator | None = None
    """None when decoding is greedy."""
    history: Sequence[int] = ()
    """Ids that the repetition penalty looks at; empty without one."""


class Sampler:
    """Samples one token for each lane, each under the options of its request."""

    def __init__(
        self, vocabulary: int, device: torch.device, nameless: Sequence[int] | Tensor = ()
    ) -> None:
        """`nameless`: ids that are never sampled, because the tokenizer has no token for them."""
        self.vocabulary, self.device = vocabulary, device
        self._nameless = torch.as_tensor(nameless, dtype=torch.long)
        self._never = frozenset(self._nameless.tolist())
        self._rows: dict[Choice, int] = {}
        self._bias = torch.empty(0, vocabulary, device=device)  # one row a choice met so far

    def __call__(self, logits: Tensor, draws: Sequence[Draw]) -> list[int]:
        """The tokens of n lanes. `logits` is (n, V), any float type."""
        scores = logits.float()
        if not any(draw.rng or draw.history for draw in draws):
            best = _argmax(scores)
            if self._allows(draws, best):  # nearly always, so the others need no mask
                return best
        scores = scores + self._biases([self._row(draw.choice) for draw in draws])
        if any(draw.history for draw in draws):
            scores = self._penalise(scores, draws)
        tokens = _argmax(scores)
        drawn: dict[Warping, list[int]] = {}
        for at, draw in enumerate(draws):
            if draw.rng:
                drawn.setdefault(Warping.of(draw.options), []).append(at)
        for warping, lanes in drawn.items():
            own = scores if len(lanes) == len(draws) else scores[lanes]
            rngs = [rng for at in lanes if (rng := draws[at].rng)]
            for at, token in zip(lanes, self._drawn(own, warping, rngs), strict=True):
                tokens[at] = token
        return tokens

    def _drawn(
        self, scores: Tensor, warping: "Warping", rngs: Sequence[np.random.Generator]
    ) -> list[int]:
        no_ids = torch.empty(len(scores), 0, dtype=torch.long, device=self.device)
        warped: Tensor = warping.processors()(no_ids, scores)  # type: ignore[arg-type]
        # Gumbel-max: unlike a walk along cumulated probabilities, whose thousand borders all move
        # with the last bit of any logit, it changes its mind only when two tokens are all but tied.
        noise = np.stack([rng.standard_exponential(self.vocabulary) for rng in rngs])
        race = torch.from_numpy(-np.log(noise)).to(self.device)
        return _argmax(warped.double() + race)

    def _allows(self, draws: Sequence[Draw], tokens: Sequence[int]) -> bool:
        pairs = zip(draws, tokens, strict=True)
        return all(d.choice.allows(token) and token not in self._never for d, token in pairs)

    def _biases(self, rows: list[int]) -> Tensor:
        """(n, V) or, where all lanes may sample the same, (V)."""
        if len(set(rows)) == 1:
            return self._bias[rows[0]]
        return self._bias.index_select(0, torch.tensor(rows, device=self.device))

    def _row(self, choice: Choice) -> int:
        row = self._rows.get(choice)
        if row is None:
            bias = torch.full((self.vocabulary,), float("-inf") if choice.only else 0.0)
            ids = [i for i in choice.only or choice.banned if i < self.vocabulary]
            bias[ids] = 0.0 if choice.only else float("-inf")
            bias[self._nameless] = float("-inf")
            self._bias = torch.cat([self._bias, bias[None].to(self.device)])
            row = self._rows[choice] = len(self._rows)
        return row

    def _penalise(self, scores: Tensor, draws: Sequence[Draw]) -> Tensor:
        rows = [scores[i : i + 1] for i in range(len(draws))]
        for i, draw in enumerate(draws):
            if draw.history:
                ids = torch.tensor([draw.history], device=self.device)
                penalise = RepetitionPenaltyLogitsProcessor(draw.options.repetition_penalty)
                rows[i] = penalise(ids, rows[i])
        return torch.cat(rows)


class Warping(NamedTuple):
    """How options bend the distribution that is drawn from."""

    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None

    @classmethod
    def of(cls, options: GenerationOptions) -> "Warping":
        return cls(options.temperature, options.top_k, options.top_p, options.min_p)

    def processors(self) -> LogitsProcessorList:
        """transformers' own, in its order."""
        warpers = LogitsProcessorList()
        if self.temperature not in (0.0, 1.0):
            warpers.append(TemperatureLogitsWarper(self.temperature))
        if self.top_k is not None:
            warpers.append(TopKLogitsWarper(self.top_k))
        if self.top_p is not None and self.top_p < 1:
            warpers.append(TopPLogitsWarper(self.top_p))
        if self.min_p is not None:
            warpers.append(MinPLogitsWarper(self.min_p))
        return warpers


def _argmax(scores: Tensor) -> list[int]:
    """(n, V) -> (n); NumPy takes a sixth of torch's time on a CPU."""
    on_cpu = scores.device.type == "cpu"
    best: list[int] = (scores.numpy().argmax(-1) if on_cpu else scores.argmax(-1)).tolist()
    return best


def generator(seed: int, request: str, path: Sequence[tuple[int, int]]) -> np.random.Generator:
    """The generator of one lane: a function of (seed, request, path) and nothing else."""
    digest = content_digest(f"{seed}|{request}|{tuple(path)}")
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
