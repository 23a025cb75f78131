"""Bits that are learned: each quantizer has its own plus a rounded offset (GBA Eq. 4 and 5)."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer


@contextmanager
def learnable_bits(quantizers: Iterable[ActivationQuantizer | WeightQuantizer]) -> Iterator[list[nn.Parameter]]:
    """Give quantizers ``bits + round(s)`` bits as long as the context lasts.

    Yields:
        ``s`` of each quantizer, 0-d, starting at 0; the gradient passes the rounding as that of ``tanh``.
    """
    offsets: list[nn.Parameter] = []
    with ExitStack() as hooks:
        for quantizer in quantizers:
            offsets.append(nn.Parameter(torch.zeros_like(quantizer.upper.detach().mean())))
            hook = _with_bits(quantizer.bits, offsets[-1])
            hooks.enter_context(quantizer.register_forward_pre_hook(hook, with_kwargs=True))
        yield offsets


def rounded(offset: Tensor) -> Tensor:
    """``round(s)`` with the gradient of ``tanh(s)`` (GBA Eq. 5)."""
    smooth = offset.tanh()
    return offset.detach().round() + (smooth - smooth.detach())


def _with_bits(base: int, offset: nn.Parameter) -> Any:
    def hook(module: nn.Module, args: tuple[Tensor, ...], options: dict[str, Any]) -> Any:
        return args, {**options, "bits": base + rounded(offset)}

    return hook
