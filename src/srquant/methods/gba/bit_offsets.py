"""Learnable bit offsets: each quantizer has ``b_base + theta_k`` bits (GBA Eq. 4 to 6)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from srquant.grids.straight_through import straight_through
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer


def theta(s_k: Tensor) -> Tensor:
    """``round(s_k)`` with the gradient of ``tanh(s_k)`` (GBA Eq. 5)."""
    return straight_through(s_k.round(), s_k.tanh())


@contextmanager
def learnable_bits(quantizers: Iterable[ActivationQuantizer | WeightQuantizer]) -> Iterator[list[nn.Parameter]]:
    """Give quantizers ``bits + theta(s_k)`` bits inside the context (GBA Eq. 4).

    Yields:
        ``s``: one parameter ``s_k`` per quantizer, 0-d, starting at 0.
    """
    s: list[nn.Parameter] = []
    with ExitStack() as hooks:
        for quantizer in quantizers:
            s.append(nn.Parameter(torch.zeros_like(quantizer.upper.detach().mean())))
            hook = _with_bits(quantizer.bits, s[-1])
            hooks.enter_context(quantizer.register_forward_pre_hook(hook, with_kwargs=True))
            if isinstance(quantizer, WeightQuantizer):  # only weights have a cheaper backward pass for fixed bits
                quantizer.full_gradient = True
                hooks.callback(setattr, quantizer, "full_gradient", False)
        yield s


class MeanGradients:
    """``g_k``: the mean over steps of the gradient of the loss in ``s_k`` (GBA Eq. 6).

    Args:
        s: from ``learnable_bits``.
    """

    def __init__(self, s: Sequence[nn.Parameter]) -> None:
        self.s = s
        self.sums = [torch.zeros_like(s_k) for s_k in s]
        self.steps = 0

    @torch.no_grad()
    def add(self) -> None:
        """Add the gradients of one step and clear them; an ``s_k`` that the loss doesn't depend on counts as 0."""
        for total, s_k in zip(self.sums, self.s, strict=True):
            if s_k.grad is not None:
                total += s_k.grad
            s_k.grad = None
        self.steps += 1

    def means(self) -> list[float]:
        """``g_k`` in the order of ``s``."""
        return [float(total) / self.steps for total in self.sums]


def _with_bits(b_base: int, s_k: nn.Parameter) -> Any:
    def hook(module: nn.Module, args: tuple[Tensor, ...], options: dict[str, Any]) -> Any:
        return args, {**options, "bits": b_base + theta(s_k)}

    return hook
