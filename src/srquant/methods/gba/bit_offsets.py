"""Bits that are learned: each quantizer has its own plus a rounded offset (GBA Eq. 4 and 5)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
    offsets: list[nn.Parameter] = []
    with ExitStack() as hooks:
        for quantizer in quantizers:
            offsets.append(nn.Parameter(torch.zeros_like(quantizer.upper.detach().mean())))
            hook = _with_bits(quantizer.bits, offsets[-1])
            hooks.enter_context(quantizer.register_forward_pre_hook(hook, with_kwargs=True))
            if isinstance(quantizer, WeightQuantizer):  # only weights have a cheaper backward pass for fixed bits
                quantizer.bits_are_learned = True
                hooks.callback(setattr, quantizer, "bits_are_learned", False)
        yield offsets


class MeanGradients:
    """Mean over steps of the gradients of the loss in bits (GBA Eq. 6).

    Args:
        offsets: from ``learnable_bits``.
    """

    def __init__(self, offsets: Sequence[nn.Parameter]) -> None:
        self.offsets = offsets
        self.sums = [torch.zeros_like(offset) for offset in offsets]
        self.steps = 0

    @torch.no_grad()
    def add(self) -> None:
        """Take in the gradients of a step and clear them; what the loss doesn't reach has none."""
        for total, offset in zip(self.sums, self.offsets, strict=True):
            if offset.grad is not None:
                total += offset.grad
            offset.grad = None
        self.steps += 1

    def means(self) -> list[float]:
        """One for each offset."""
        return [float(total) / self.steps for total in self.sums]


def rounded(offset: Tensor) -> Tensor:
    """``round(s)`` with the gradient of ``tanh(s)`` (GBA Eq. 5)."""
    return straight_through(offset.round(), offset.tanh())


def _with_bits(base: int, offset: nn.Parameter) -> Any:
    def hook(module: nn.Module, args: tuple[Tensor, ...], options: dict[str, Any]) -> Any:
        return args, {**options, "bits": base + rounded(offset)}

    return hook
