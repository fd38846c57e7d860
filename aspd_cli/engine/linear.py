"""Linear layers of a decoder, by the kernel that is fastest for their shape on this machine.

A step multiplies each weight with one token, or with a handful. That is bound by reading the
weight, so eight tokens should cost little more than one; stock products on a CPU charge three to
four times as much. oneDNN does better with a weight held in its own order ("prepacked"), at a price
of some ten microseconds a call. So weights of a certain size are prepacked when a model is loaded,
unless measuring shows that this machine is the exception.

Shapes: N tokens, I inputs, O outputs.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

_WIDTHS = (1, 4, 8)
"""Tokens of a step for which the kernels compete: serial text, a few branches, many."""

_PROMPT = 64
"""Tokens of a prompt, for which a winner may not be much slower."""

_SAMPLES = 2
"""Layers of each shape that are measured, in the order in which a forward pass meets them."""

_SIZE = 2**17
"""Elements of a weight from which on prepacking pays."""

_MARGIN = 1.3
"""How much slower prepacked weights must be to be left alone. Wide, because the last bits of the
logits depend on the choice: near ties must not fall one way today and the other way tomorrow."""

_ROUNDS, _SECONDS = 12, 0.02
"""Most calls of a layer for each number of tokens, and the seconds after which they are enough."""

_TOLERANCE = 1e-5
"""Largest difference to the stock product, over the largest output."""

Shape = tuple[int, int]
"""(O, I) of a weight."""


class PackedLinear(nn.Module):
    """A linear layer whose weight oneDNN holds in its own order. Inference only."""

    def __init__(self, stock: nn.Linear, least: int = 1) -> None:
        super().__init__()
        self.in_features, self.out_features = stock.in_features, stock.out_features
        self.bias = stock.bias
        weight = stock.weight.detach()
        # The hint is a number of tokens: an order made for one token is slow for all others.
        self.packed = torch.ops.mkldnn._reorder_linear_weight.default(weight, max(_WIDTHS))
        self.least = least
        """Fewer tokens than this are filled up with zeros, where the kernel is slow for fewer."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)"""
        if x.numel() < self.least * self.in_features:
            rows = x.reshape(-1, self.in_features)
            filled = pad(rows, (0, 0, 0, self.least - len(rows)))
            return self._product(filled)[: len(rows)].view(*x.shape[:-1], self.out_features)
        return self._product(x)

    def _product(self, x: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise.default(
            x, self.packed, self.bias, "none", [], ""
        )
        return product


@dataclass(frozen=True, slots=True)
class Kernels:
    """What `pack_linears` chose."""

    packed: int = 0
    """Layers that use prepacked weights."""
    total: int = 0

    def __str__(self) -> str:
        how = f"{self.packed} of {self.total} prepacked by oneDNN" if self.packed else "stock"
        return f"linear layers: {how}"


@torch.no_grad()
def pack_linears(model: nn.Module) -> Kernels:
    """Replaces linear layers of a model by prepacked ones where that is faster; CPU, float32.

    The original weight is freed, unless something else holds it, like the embedding of a model
    with a tied head. The model can be neither trained nor saved afterwards.
    """
    places = list(_linears(model))
    if not _can_pack():
        return Kernels(0, len(places))
    head = getattr(model, "get_output_embeddings", lambda: None)()
    winners = _winners([getattr(parent, name) for parent, name in places], head)
    packed = 0
    for parent, name in places:  # one at a time: the memory of one weight is what it takes
        layer = getattr(parent, name)
        if (least := winners.get(_shape(layer))) is not None:
            setattr(parent, name, PackedLinear(layer, least))
            packed += 1
    return Kernels(packed, len(places))


def _can_pack() -> bool:
    ops = torch.ops.mkldnn
    known = hasattr(ops, "_reorder_linear_weight") and hasattr(ops, "_linear_pointwise")
    return known and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def _linears(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """(parent, name) of every plain linear layer, in the order of the model."""
    for parent in model.modules():
        for name, layer in parent.named_children():
            if type(layer) is not nn.Linear or layer._forward_hooks or layer._forward_pre_hooks:
                continue
            weight = layer.weight
            on_cpu = type(weight) is nn.Parameter and weight.device.type == "cpu"
            if on_cpu and weight.dtype == torch.float32:
                yield parent, name


def _shape(layer: nn.Linear) -> Shape:
    return layer.out_features, layer.in_features


def _winners(layers: list[nn.Linear], head: nn.Module | None) -> dict[Shape, int]:
    """The shapes for which prepacked weights win, each with the least tokens to feed them."""
    samples: list[tuple[nn.Linear, PackedLinear]] = []
    seen: Counter[Shape] = Counter()
    for layer in layers:
        if layer.weight.numel() >= _SIZE and seen[_shape(layer)] < _SAMPLES:
            seen[_shape(layer)] += 1
            samples.append((layer, PackedLinear(layer)))
    seconds = _measure(
        [_Trial("stock", _shape(stock), stock, stock is head) for stock, _ in samples]
        + [_Trial("packed", _shape(stock), packed, stock is head) for stock, packed in samples]
    )
    unequal = {_shape(stock) for stock, packed in samples if not _equal(stock, packed)}
    winners = {}
    for shape in seen.keys() - unequal:
        stock_s, packed_s = seconds["stock", shape], seconds["packed", shape]
        steps = sum(packed_s[n] for n in _WIDTHS) <= _MARGIN * sum(stock_s[n] for n in _WIDTHS)
        prompts = packed_s.get(_PROMPT, 0.0) <= _MARGIN * stock_s.get(_PROMPT, 0.0)
        if steps and prompts:
            gain = packed_s[1] - packed_s[4]  # filling up costs some microseconds itself
            winners[shape] = 4 if gain > max(20e-6, 0.1 * packed_s[1]) else 1
    return winners


def _equal(stock: nn.Linear, packed: PackedLinear) -> bool:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(max(_WIDTHS), stock.in_features, generator=draw)
    expected = stock(x)
    off = max(float((packed(x[:n]) - expected[:n]).abs().max()) for n in _WIDTHS)
    return off <= _TOLERANCE * float(expected.abs().max())


@dataclass(frozen=True, slots=True)
class _Trial:
    """A layer whose time is taken."""

    kernel: str
    shape: Shape
    layer: "nn.Linear | PackedLinear"
    is_head: bool
    """The head never sees a prompt: only tokens that sample come to it."""


def _measure(trials: list[_Trial]) -> dict[tuple[str, Shape], dict[int, float]]:
    """(kernel, shape) -> tokens -> least processor seconds of one call.

    The trials go round in the order of the model, so that each finds its weight where a step would:
    not in the nearest cache. Processor time, and the least of several rounds, because other
    programs may be at work too.
    """
    least: dict[tuple[str, Shape], dict[int, float]] = defaultdict(dict)
    spent: dict[tuple[str, Shape, int], float] = defaultdict(float)
    for _ in range(_ROUNDS):
        for tokens in (*_WIDTHS, _PROMPT):
            for trial in trials:
                key = (trial.kernel, trial.shape, tokens)
                if spent[key] > _SECONDS or (trial.is_head and tokens == _PROMPT):
                    continue
                x = torch.ones(tokens, trial.layer.in_features)
                start = time.process_time()
                trial.layer(x)
                taken, best = time.process_time() - start, least[trial.kernel, trial.shape]
                best[tokens] = min(best.get(tokens, taken), taken)
                spent[key] += taken
    return least
