"""Linear layers of a decoder, by the kernel that is fastest for their shape on this machine.

A step multiplies each weight with one token, or with a handful. That is bound by reading the
weight, so eight tokens should cost little more than one; stock products on a CPU charge three to
four times as much. oneDNN does better with a weight held in its own order ("prepacked"), at a price
of some ten microseconds a call. So weights of a certain size are prepacked when a model is loaded,
unless measuring shows that this machine is the exception.

Layers that a forward pass feeds the same tensor (q, k and v; gate and up) share one product.

Shapes: N tokens, I inputs, O outputs.
"""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from aspd_cli.engine.linear_product import LinearProduct, joined_weight
from aspd_cli.engine.quantized_linear import Int8Linear, Quantize

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

Unit = tuple[nn.Linear, ...]
"""Layers that can share a product; mostly one."""
Shape = tuple[int, ...]
"""I and each layer's O."""


class PackedLinear(LinearProduct):
    """Linear layers on the same input as one product, with a weight in oneDNN's order. Inference
    only.

    Args:
        stock: one layer, or several whose outputs are wanted side by side.
        least: fewer tokens than this are filled up with zeros, where the kernel is slow for fewer.
    """

    def __init__(self, *stock: nn.Linear, least: int = 1) -> None:
        super().__init__(*stock)
        self.least = least
        # The hint is a number of tokens: an order made for one token is slow for all others.
        self.packed = torch.ops.mkldnn._reorder_linear_weight.default(
            joined_weight(stock), max(_WIDTHS)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)"""
        return self.run_kernel(x)

    def kernel(self, x: Tensor) -> Tensor:
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


class _Joint:
    """A product that several layers share: whichever is called first computes it."""

    def __init__(self, product: LinearProduct) -> None:
        self.product = product
        self._latest: tuple[Tensor | None, tuple[Tensor, ...]] = (None, ())

    def part(self, x: Tensor, index: int) -> Tensor:
        fed, parts = self._latest
        if fed is not x:
            parts = self.product(x).split(self.product.sizes, dim=-1)
        is_last = index == len(parts) - 1
        self._latest = (None, ()) if is_last else (x, parts)  # a prompt's states are large
        return parts[index]


class PackedPart(nn.Module):
    """One of the layers that share a product, such as q, k and v of an attention."""

    def __init__(self, joint: _Joint, index: int) -> None:
        super().__init__()
        self.product = joint.product
        self._joint, self._index = joint, index

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O), a view"""
        return self._joint.part(x, self._index)


@dataclass(frozen=True, slots=True)
class LinearKernels:
    """What `pack_linears` chose."""

    packed: int = 0
    """Layers that use prepacked or quantised weights."""
    total: int = 0
    products: int = 0
    """Products that these layers take; layers fed the same tensor share one."""
    quantized: Quantize | None = None

    def __str__(self) -> str:
        if not self.packed:
            return "stock"
        if self.quantized:
            return f"{self.packed} of {self.total} in {self.quantized}, in {self.products} products"
        return f"{self.packed} of {self.total} prepacked by oneDNN, in {self.products} products"


@torch.no_grad()
def pack_linears(
    model: nn.Module,
    probe: Callable[[], object] | None = None,
    quantize: Quantize | None = None,
) -> LinearKernels:
    """Replaces linear layers of a model by prepacked ones where that is faster; CPU, float32.

    The original weight is freed, unless something else holds it, like the embedding of a model
    with a tied head. The model can be neither trained nor saved afterwards.

    Args:
        probe: runs the model on a few tokens, to find the layers that are fed the same tensor and
            can share a product; none: each layer has its own.
        quantize: gives all layers quantised weights instead, faster or not.
    """
    places: dict[nn.Linear, list[tuple[nn.Module, str]]] = defaultdict(list)
    for parent, name in _linears(model):
        places[getattr(parent, name)].append((parent, name))
    if not quantize and not _can_pack():
        return LinearKernels(total=len(places))
    layers = list(places)
    units: list[Unit] = [(layer,) for layer in layers]
    if probe is not None:
        units = _fed_alike(layers, probe)
    head = getattr(model, "get_output_embeddings", lambda: None)()
    winners = {} if quantize else _winners(units, head)
    packed = products = 0
    while units:  # one at a time: the memory of one product is what it takes
        unit = units.pop()
        product: LinearProduct
        if quantize:
            product = Int8Linear(*unit)
        elif least := winners.get(_shape(unit)):
            product = PackedLinear(*unit, least=least)
        else:
            continue
        joint = _Joint(product)
        for index, layer in enumerate(unit):
            for parent, name in places.pop(layer):
                setattr(parent, name, product if len(unit) == 1 else PackedPart(joint, index))
        packed, products = packed + len(unit), products + 1
    return LinearKernels(packed, packed + len(places), products, quantize)


def _fed_alike(layers: list[nn.Linear], probe: Callable[[], object]) -> list[Unit]:
    """The layers in the order in which a forward pass calls them; those that it feeds the same
    tensor, one right after another, stand together."""
    calls: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def note(layer: nn.Linear, fed: tuple[Tensor, ...]) -> None:
        calls.append((layer, fed[0], fed[0].clone()))

    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        probe()
    finally:
        for hook in hooks:
            hook.remove()
    times = Counter(layer for layer, *_ in calls)
    units: list[list[nn.Linear]] = []
    previous: tuple[Tensor, Tensor] | None = None
    for layer, fed, value in calls:
        if times[layer] > 1:
            continue
        # The same tensor, and nothing has written to it between the two calls.
        if previous and previous[0] is fed and torch.equal(previous[1], value):
            units[-1].append(layer)
        else:
            units.append([layer])
        previous = (fed, value)
    apart = [[layer] for layer in layers if times[layer] != 1]
    return [tuple(unit) for unit in (*units, *apart)]


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


def _shape(unit: Unit) -> Shape:
    return unit[0].in_features, *(layer.out_features for layer in unit)


def _winners(units: list[Unit], head: nn.Module | None) -> dict[Shape, int]:
    """The shapes for which prepacked weights win, each with the least tokens to feed them."""
    samples: list[tuple[Unit, PackedLinear]] = []
    seen: Counter[Shape] = Counter()
    for unit in units:
        size = sum(layer.weight.numel() for layer in unit)
        if size >= _SIZE and seen[_shape(unit)] < _SAMPLES:
            seen[_shape(unit)] += 1
            samples.append((unit, PackedLinear(*unit)))
    seconds = _measure(
        [_Trial("stock", _shape(stock), stock, head in stock) for stock, _ in samples]
        + [_Trial("packed", _shape(stock), (packed,), head in stock) for stock, packed in samples]
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


def _equal(stock: Unit, packed: PackedLinear) -> bool:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(max(_WIDTHS), packed.in_features, generator=draw)
    expected = torch.cat([layer(x) for layer in stock], dim=-1)
    off = max(float((packed(x[:n]) - expected[:n]).abs().max()) for n in _WIDTHS)
    return off <= _TOLERANCE * float(expected.abs().max())


@dataclass(frozen=True, slots=True)
class _Trial:
    """Layers whose time is taken."""

    kernel: str
    shape: Shape
    layers: "tuple[nn.Linear | PackedLinear, ...]"
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
                x = torch.ones(tokens, trial.shape[0])
                start = time.process_time()
                for layer in trial.layers:
                    layer(x)
                taken, best = time.process_time() - start, least[trial.kernel, trial.shape]
                # On a virtual machine the clock may stand still for a call; that tells nothing.
                best[tokens] = min(best.get(tokens, math.inf), taken if taken > 0 else math.inf)
                spent[key] += taken
    return least
