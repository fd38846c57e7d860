"""A model's step as one straight run of tensor operations, without its modules.

A step of few tokens on a small model takes as long as calling its operations takes, some three
hundred of them, through modules, hooks and decorators. The operations do not depend on what is
decoded, so they are noted once (by torch's tracer, on the model itself, whatever its family) and
called one after the other from then on. Noted twice, with two numbers of tokens: where the notes
differ, the number of tokens stands.

Attention is not noted: its place is kept, and the lane cache's own is called there.

Shapes: N tokens of a step, n of them that sample, V vocabulary.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from transformers import AttentionInterface

from aspd_cli.engine.attention import NAME, refuse_foreign
from aspd_cli.engine.fusing import simplify
from aspd_cli.engine.linear import PackedLinear

_SIZES = (5, 7)
"""Tokens of the two steps that are noted, all but one of which sample: enough that no prepacked
layer fills them up."""

_PLACE = "aspd_place"
"""The attention function while noting."""

_LIBRARY = torch.library.Library("aspd", "DEF")  # type: ignore[no-untyped-call]
_LIBRARY.define(  # type: ignore[no-untyped-call]
    "attend(Tensor query, Tensor key, Tensor value, int layer, float? scaling, int? window, "
    "float? softcap) -> Tensor"
)


def _shape_of_attention(
    query: Tensor, key: Tensor, value: Tensor, layer: int, *settings: float | None
) -> Tensor:
    return query.new_empty(1, query.shape[2], query.shape[1], value.shape[-1])


_LIBRARY.impl(  # type: ignore[no-untyped-call]
    "attend", _shape_of_attention, "CompositeExplicitAutograd"
)

Attend = Callable[[Tensor, Tensor, Tensor, int, float | None, int | None, float | None], Tensor]
"""(query, new keys, new values, layer, scaling, window, softcap) -> (1, N, H, D)"""
Step = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""((1, N) ids, (1, N) positions, (n) which of them sample, N) -> (1, n, V) logits"""


class Unsuited(Exception):
    """The model's step is not the same operations each time."""


def note(model: Any, attend: Attend) -> Step:
    """The operations of a step, to be called under `inference_mode`.

    Args:
        model: with the engine's attention; it is used, and left as it was.
        attend: what is called in the place of each attention.

    Raises:
        Exception: of any kind: this model's step cannot be noted.
    """
    cache = _NotingCache()
    AttentionInterface.register(_PLACE, cache.attention)
    model.set_attn_implementation(_PLACE)
    try:
        one, other = (_noted(model, cache, size) for size in _SIZES)
    finally:
        model.set_attn_implementation(NAME)
    _generalise(one.graph, other.graph)
    for node in one.graph.nodes:
        if node.target is torch.ops.aspd.attend.default:
            node.target = attend
    _keep_packed(one, model)
    simplify(one)
    one.recompile()
    for node in one.graph.nodes:
        if node.op == "get_attr":  # found at once, past the look-up of modules
            one.__dict__[node.target] = getattr(one, node.target)
    step: Step = one.forward
    return step


class _NotingCache:
    """Stands in for cache and attention: hands new keys and values on, and knows whose they are."""

    def __init__(self) -> None:
        self.layer = -1

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any) -> tuple[Tensor, Tensor]:
        self.layer = layer
        return key, value

    def get_seq_length(self, layer: int = 0) -> int:
        return 1

    def get_mask_sizes(self, query_length: int, layer: int = 0) -> tuple[int, int]:
        return query_length, 0

    def attention(
        self,
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None = None,
        *,
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        """Keeps the place of an attention, as a `transformers` attention function."""
        refuse_foreign(module, attention_mask, kwargs)
        settings = (scaling, sliding_window, softcap)
        return torch.ops.aspd.attend(query, key, value, self.layer, *settings), None


def _noted(model: Any, cache: _NotingCache, size: int) -> fx.GraphModule:
    from torch.fx.experimental.proxy_tensor import make_fx

    def step(ids: Tensor, positions: Tensor, keep: Tensor) -> Tensor:
        logits: Tensor = model(
            ids, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=keep
        ).logits
        return logits

    device = next(model.parameters()).device
    fed = torch.arange(2 * size, device=device).view(2, 1, size)
    keep = torch.arange(size - 1, device=device)
    with torch.inference_mode():
        noted: fx.GraphModule = make_fx(step, pre_dispatch=True)(fed[0], fed[1], keep)
    return noted


def _keep_packed(noted: fx.GraphModule, model: torch.nn.Module) -> None:
    """Prepacked layers are called whole: what they do depends on the number of tokens."""
    layers = {id(m.packed): m for m in model.modules() if isinstance(m, PackedLinear)}
    for node in noted.graph.nodes:
        if node.target is torch.ops.mkldnn._linear_pointwise.default:
            x, packed, *_ = node.args
            node.target = layers[id(getattr(noted, packed.target))].forward
            node.args = (x,)
    noted.graph.eliminate_dead_code()


def _generalise(graph: fx.Graph, other: fx.Graph) -> None:
    """Puts an argument N where two notes of the same step differ by their numbers of tokens."""
    nodes, others = list(graph.nodes), list(other.nodes)
    if [(n.op, str(n.target)) for n in nodes] != [(n.op, str(n.target)) for n in others]:
        raise Unsuited
    inputs = [node for node in nodes if node.op == "placeholder"]
    with graph.inserting_after(inputs[-1]):
        tokens = graph.placeholder("tokens")

    def merged(mine: Any, its: Any) -> Any:
        if isinstance(mine, fx.Node):
            if mine.name != its.name:
                raise Unsuited
            return mine
        if isinstance(mine, list | tuple):
            if len(mine) != len(its):
                raise Unsuited
            return type(mine)(merged(a, b) for a, b in zip(mine, its, strict=True))
        if mine == its or isinstance(mine, Tensor):
            return mine
        if (mine, its) == _SIZES:
            return tokens
        raise Unsuited

    for node, its in zip(nodes, others, strict=True):
        node.args = merged(node.args, its.args)
        if {k: str(v) for k, v in node.kwargs.items()} != {
            k: str(v) for k, v in its.kwargs.items()
        }:
            raise Unsuited
