"""Linear layers on the same input as one product: what prepacked and quantised ones share.

Shapes: I inputs, O outputs, of all layers side by side.
"""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import count
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from aspd_cli.engine.operators import operator

_PRODUCTS: WeakValueDictionary[int, "LinearProduct"] = WeakValueDictionary()
_NUMBERS = count()


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
        self._number = next(_NUMBERS)
        _PRODUCTS[self._number] = self

    def run_kernel(self, x: Tensor) -> Tensor:
        """`kernel`, which is one operator to torch.compile: the packed weights are no tensors that
        a graph can hold."""
        if torch.compiler.is_compiling():
            product: Tensor = torch.ops.aspd.product(x, self._number, self.out_features)
            return product
        return self.kernel(x)

    @abstractmethod
    def kernel(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O) by the packed weights"""


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


def _product(x: Tensor, number: int, outputs: int) -> Tensor:
    return _PRODUCTS[number].kernel(x)


def _product_shape(x: Tensor, number: int, outputs: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], outputs)


operator("product(Tensor x, int number, int outputs) -> Tensor", _product, _product_shape)
