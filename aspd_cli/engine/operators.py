"""Operators of ours that torch.compile calls without looking into them, as `torch.ops.aspd`."""

from collections.abc import Callable

import torch
from torch import Tensor

_LIBRARY = torch.library.Library("aspd", "DEF")  # type: ignore[no-untyped-call]


def operator(schema: str, run: Callable[..., Tensor], shape: Callable[..., Tensor]) -> None:
    """Makes a function an operator on a CPU.

    `torch.library.custom_op` would do the same, but each call would cost some 20 microseconds.

    Args:
        schema: name, arguments and result in torch's notation.
        run: what it does.
        shape: an empty tensor of the result's shape and type, from the same arguments.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)  # type: ignore[no-untyped-call]
    _LIBRARY.impl(name, run, "CPU")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"aspd::{name}", shape, lib=_LIBRARY)
