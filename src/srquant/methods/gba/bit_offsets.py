"""Bits that are learned: each quantizer has its own plus a rounded offset (GBA Eq. 4 and 5)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from srquant.grids.straight_through import straight_through
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer


@contextmanager
def learnable_bits(quantizers: Iterable[ActivationQuantizer | WeightQuantizer]) -> Iterator[list[nn.Parameter]]:
    """Give quantizers ``bits + round(s)`` bits as long as the context lasts.

    Yields:
        ``s`` of each quantizer, 0-d, starting at 0; the gradient passes the rounding as that of ``tanh``.
    """
    offsets, handles = [], []
    for quantizer in quantizers:
        offsets.append(nn.Parameter(torch.zeros_like(quantizer.upper.detach().mean())))
        handles.append(quantizer.register_forward_pre_hook(_with_bits(quantizer.bits, offsets[-1]), with_kwargs=True))
    try:
        yield offsets
    finally:
        for handle in handles:
            handle.remove()


def rounded(offset: Tensor) -> Tensor:
    """``round(s)`` with the gradient of ``tanh(s)`` (GBA Eq. 5)."""
    return straight_through(offset.round(), offset.tanh())


def _with_bits(base: int, offset: nn.Parameter) -> Any:
    def hook(module: nn.Module, args: tuple[Tensor, ...], options: dict[str, Any]) -> Any:
        return args, {**options, "bits": base + rounded(offset)}

    return hook
