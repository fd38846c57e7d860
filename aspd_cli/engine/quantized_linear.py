"""Linear layers with weights of 8 bits, for decoding on a CPU.

A step of few tokens is bound by reading weights, so that fewer bits take less time. Only weights
lose precision: a token's numbers are written to the base 254, with three digits of 8 bits, and all
digits meet the weights in one product. A digit less would be faster for many lanes. But then the
last bit of a float, which in attention depends on the lanes beside it, grows to a difference that
tokens turn on: parallel and serial answers would differ.

Shapes: N tokens, I inputs, O outputs.
"""

import math
import warnings
from functools import cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from aspd_cli.engine.linear_product import LinearProduct, joined_weight
from aspd_cli.errors import ModelError

Quantize = Literal["int8"]

_LEAST = 1e-30
"""In place of the largest number of a token or of a row that is all zeros."""

_ENGINE = "fbgemm"
"""The library of torch whose 8-bit products take their scale from us."""


def check_quantize(name: str | None, device: torch.device, dtype: torch.dtype) -> Quantize | None:
    """Whether weights can be quantised. Raises `ModelError`, which says what to do."""
    if name is None:
        return None
    if name not in get_args(Quantize):
        raise ModelError(f"{name!r} is no way to quantize: use {' or '.join(get_args(Quantize))}")
    if device.type != "cpu":
        raise ModelError(
            f"--quantize {name} is for a CPU: leave it out on {device.type}, where a model "
            "directory may hold weights that bitsandbytes has quantized"
        )
    if dtype != torch.float32:
        raise ModelError(f"--quantize {name} needs float32 for the rest: leave out --dtype")
    if _ENGINE not in torch.backends.quantized.supported_engines:
        raise ModelError(
            f"--quantize {name} needs torch's 8-bit products (FBGEMM), which the build on this "
            "machine lacks: leave it out"
        )
    return name  # type: ignore[return-value]


class Int8Linear(LinearProduct):
    """Weights in 8 bits, a scale for each output; activations in 24, a scale for each token."""

    def __init__(self, *stock: nn.Linear) -> None:
        super().__init__(*stock)
        levels = _levels()
        self.base = 2 * levels
        # What the product multiplies by `levels` the weights divide by it.
        self.packed = _packed(joined_weight(stock) / levels)
        self.powers = torch.tensor([0.0, *(levels * self.base**n for n in range(3))]).view(-1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)"""
        rows = x.reshape(-1, self.in_features)
        largest = torch.linalg.vector_norm(rows, math.inf, dim=-1, keepdim=True)
        digits = self._digits(rows / largest.clamp_(min=_LEAST))
        first, second, third = self.run_kernel(digits)
        second.add_(third, alpha=1 / self.base)
        product: Tensor = first.add_(second, alpha=1 / self.base)
        if self.bias is None:
            product = product.mul_(largest)
        else:
            product = torch.addcmul(self.bias, product, largest)
        return product.view(*x.shape[:-1], self.out_features)

    def kernel(self, x: Tensor) -> Tensor:
        """(3, N, I) whole numbers -> (3, N, O)"""
        return _product(x, self.packed, self.base // 2)

    def _digits(self, shares: Tensor) -> Tensor:
        """(N, I) from -1 to 1 -> (3, N, I) whole numbers"""
        if torch.compiler.is_compiling():
            # Digit by digit, which is less work; in one loop it does not matter that it is more
            # operations.
            rest, found = shares * (self.base // 2), []
            for _ in range(3):
                found.append(rest.round())
                rest = (rest - found[-1]) * self.base
            return torch.stack(found)
        whole = (self.powers * shares).round_()  # (4, N, I): nothing, then with more digits each
        return torch.sub(whole[1:], whole[:-1], alpha=self.base)


def _packed(weight: Tensor) -> Any:
    """(O, I) in 8 bits, in the kernel's order."""
    scales = weight.abs().amax(dim=1).clamp_(min=_LEAST).double() / 127
    zeros = torch.zeros_like(scales, dtype=torch.long)
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = _ENGINE
    try:
        with warnings.catch_warnings():  # torch announces a successor of its quantised tensors
            warnings.simplefilter("ignore")
            numbers = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        return torch.ops.quantized.linear_prepack.default(numbers, None)
    finally:
        torch.backends.quantized.engine = before


def _product(x: Tensor, packed: Any, levels: int) -> Tensor:
    """(..., O) of whole numbers from -levels to levels."""
    product: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default(
        x, 1.0, levels + 1, packed
    )
    return product


@cache
def _levels() -> int:
    """127; or 63, where a processor adds pairs of 8-bit products in 16 bits, which overflow."""
    ones = torch.ones(16, 64)
    found = _product(127 * ones, _packed(ones), 127)
    return 127 if torch.allclose(found, torch.tensor(127 * 64.0), rtol=0.01) else 63
