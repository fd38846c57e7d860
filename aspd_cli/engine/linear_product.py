"""Linear layers on the same input as one product: what prepacked and quantised ones share.

Shapes: I inputs, O outputs, of all layers side by side.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LinearProduct(nn.Module):
    """One product in place of linear layers. Inference only.

    Args:
        stock: one layer, or several that are fed the same tensor.
    """

    def __init__(self, *stock: nn.Linear) -> None:
        super().__init__()
        self.in_features = stock[0].in_features
        self.sizes = [layer.out_features for layer in stock]
        """Outputs of each layer, in their order."""
        self.out_features = sum(self.sizes)
        self.bias = stock[0].bias if len(stock) == 1 else _joined_bias(stock)


def joined_weight(stock: Sequence[nn.Linear]) -> Tensor:
    """(O, I); the weight itself of one layer."""
    weights = [layer.weight.detach() for layer in stock]
    return weights[0] if len(weights) == 1 else torch.cat(weights)


def _joined_bias(stock: Sequence[nn.Linear]) -> Tensor | None:
    if all(layer.bias is None for layer in stock):
        return None
    return torch.cat(
        [
            layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
            for layer in stock
        ]
    ).detach()
