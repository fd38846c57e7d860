"""Fewer operations that compute the same: peephole rules on a noted step.

Each rule looks for the operations that transformers' modeling code writes for one idea, and puts
torch's own operation for it there, or fewer. What no rule knows stays as it was noted.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

aten = torch.ops.aten

_NATIVE: dict[Any, Callable[..., Any]] = {
    aten.add.Tensor: torch.add,
    aten.cat.default: torch.cat,
    aten.cos.default: torch.cos,
    aten.linear.default: functional.linear,
    aten.mul.Tensor: torch.mul,
    aten.neg.default: torch.neg,
    aten.reshape.default: torch.reshape,
    aten.silu.default: functional.silu,
    aten.sin.default: torch.sin,
    aten.transpose.int: torch.transpose,
    aten.unsqueeze.default: torch.unsqueeze,
    aten.view.default: Tensor.view,
}
"""The same operations by the names that cost least to call."""

_FOLDED = 2**16
"""Most elements of a constant that is computed ahead."""


def simplify(module: Any) -> None:
    """Rewrites the graph of a noted step."""
    graph = module.graph
    for node in list(graph.nodes):
        if node.target is torch._C._set_grad_enabled:
            graph.erase_node(node)
    _fold(module)
    _drop_casts(graph)
    _once(graph)
    for node in list(graph.nodes):
        _norm(graph, node)
    signed: dict[fx.Node, fx.Node] = {}
    for node in list(graph.nodes):
        _rotation(graph, node, signed)
    graph.eliminate_dead_code()
    for node in graph.nodes:
        node.target = _NATIVE.get(node.target, node.target)
    graph.lint()


def _fold(module: Any) -> None:
    """Computes ahead what depends on small weights only."""
    graph = module.graph
    for node in list(graph.nodes):
        sources = node.all_input_nodes
        if node.op != "call_function" or not sources:
            continue
        if not all(source.op == "get_attr" for source in sources):
            continue
        values = {source: getattr(module, source.target) for source in sources}
        if any(value.numel() > _FOLDED for value in values.values()):
            continue
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
        value = node.target(*args, **kwargs)
        if not isinstance(value, Tensor) or value.numel() > _FOLDED:
            continue
        name = f"_folded_{node.name}"
        module.register_buffer(name, value)
        with graph.inserting_before(node):
            constant = graph.get_attr(name)
        constant.meta = dict(node.meta)
        node.replace_all_uses_with(constant)
        graph.erase_node(node)


def _drop_casts(graph: fx.Graph) -> None:
    """Takes out conversions to the type that a tensor has already."""
    for node in list(graph.nodes):
        if node.target is not aten.to.dtype or len(node.args) != 2:
            continue
        source, dtype = node.args
        if _dtype(source) == dtype:
            node.replace_all_uses_with(source)
            graph.erase_node(node)


def _dtype(node: fx.Node) -> torch.dtype | None:
    value = node.meta.get("val")
    return value.dtype if isinstance(value, Tensor) else None


def _once(graph: fx.Graph) -> None:
    """Views that every layer makes of the same tensor are made once."""
    known: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.target is not aten.unsqueeze.default:
            continue
        first = known.setdefault(node.args, node)
        if first is not node:
            node.replace_all_uses_with(first)
            graph.erase_node(node)


def _norm(graph: fx.Graph, node: fx.Node) -> None:
    """w * (x * rsqrt(mean(x ** 2) + eps))"""
    for weight, scaled in _either(node, aten.mul.Tensor):
        if weight.op != "get_attr" or not _is(scaled, aten.mul.Tensor):
            continue
        for x, root in _either(scaled, aten.mul.Tensor):
            if not _is(root, aten.rsqrt.default) or not _is(root.args[0], aten.add.Tensor):
                continue
            mean, eps = root.args[0].args
            if not _is(mean, aten.mean.dim) or mean.args[1:] != ([-1], True):
                continue
            square = mean.args[0]
            if not _is(square, aten.pow.Tensor_Scalar) or square.args != (x, 2):
                continue
            size = x.meta["val"].shape[-1]
            with graph.inserting_before(node):
                fused = graph.call_function(functional.rms_norm, (x, (size,), weight, eps))
            _replace(graph, node, fused)
            return


def _rotation(graph: fx.Graph, node: fx.Node, signed: dict[fx.Node, fx.Node]) -> None:
    """x * cos + cat(-x2, x1) * sin, where x1 and x2 are the halves of x."""
    for plain, turned in _either(node, aten.add.Tensor):
        if not _is(plain, aten.mul.Tensor) or not _is(turned, aten.mul.Tensor):
            continue
        for halves, sin in _either(turned, aten.mul.Tensor):
            x = _turned(halves)
            if x is None or x not in plain.args or "val" not in sin.meta:
                continue
            [cos] = [arg for arg in plain.args if arg is not x] or [x]
            half = x.meta["val"].shape[-1] // 2
            if sin.meta["val"].shape[-1] != 2 * half:
                continue
            if sin not in signed:
                with graph.inserting_after(sin):
                    signed[sin] = graph.call_function(_signed, (sin, half))
            with graph.inserting_before(node):
                fused = graph.call_function(_rotate, (x, cos, signed[sin], half))
            _replace(graph, node, fused)
            return


def _turned(node: Any) -> fx.Node | None:
    """x, when the node is cat(-x2, x1)."""
    if not _is(node, aten.cat.default) or len(node.args[0]) != 2 or node.args[1:] != (-1,):
        return None
    negative, first = node.args[0]
    if not _is(negative, aten.neg.default) or not _is(first, aten.slice.Tensor):
        return None
    second = negative.args[0]
    if not _is(second, aten.slice.Tensor) or second.args[0] is not first.args[0]:
        return None
    x: fx.Node = first.args[0]
    shape = x.meta["val"].shape
    half, last = shape[-1] // 2, (len(shape) - 1, -1)
    one, other = first.args[1:], second.args[1:]
    right = one[0] in last and other[0] in last and one[1:] == (0, half) and other[1] == half
    return x if right and other[2] >= 2 * half else None


def _signed(sin: Tensor, half: int) -> Tensor:
    return torch.cat([-sin[..., :half], sin[..., half:]], -1)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, half: int) -> Tensor:
    return torch.addcmul(x * cos, x.roll(half, -1), sin)


def _is(node: Any, target: Any) -> bool:
    return isinstance(node, fx.Node) and node.target is target


def _either(node: fx.Node, target: Any) -> list[tuple[Any, Any]]:
    """Both orders of the two tensors that go into a commutative operation."""
    if not _is(node, target) or len(node.args) != 2 or node.kwargs:
        return []
    a, b = node.args
    return [(a, b), (b, a)] if isinstance(a, fx.Node) and isinstance(b, fx.Node) else []


def _replace(graph: fx.Graph, node: fx.Node, other: fx.Node) -> None:
    other.meta = dict(node.meta)
    node.replace_all_uses_with(other)
    graph.erase_node(node)
