"""The stock model behind a decoder: the same weights, as `transformers` computes them."""

import copy

import torch


def stock_copy(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of a model's modules on the same weights, with stock attention.

    Made before the decoder's linear layers are packed: those keep weights of their own.
    """
    shared: dict[int, object] = {id(weight): weight for weight in model.parameters()}
    stock = copy.deepcopy(model, shared)
    try:
        stock.set_attn_implementation("sdpa")  # type: ignore[operator]
    except (ValueError, ImportError):  # a family that has no sdpa
        stock.set_attn_implementation("eager")  # type: ignore[operator]
    return stock
