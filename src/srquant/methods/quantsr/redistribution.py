"""Rounding of RLQ, the redistribution-driven learnable quantizer (QuantSR, NeurIPS 2023, section 3.2).

Forward it is plain rounding. Backward, rounding has the slope of the redistribution function ``phi``, which pushes
values apart inside each step: gradients grow near decision boundaries and shrink near grid points. With
``f = y - floor(y)`` and ``k > 0`` it is ``phi(y) = floor(y) + 1/2 + tanh(k (f - 1/2)) / (2 tanh(k/2))``. It doesn't
change whole and half numbers, so ``round(phi(y))`` is ``round(y)``.

    >>> phi_slope(torch.tensor([0.5, 1.0]), k=1.0)
    tensor([1.0820, 0.8509])
"""

import math
from typing import Any

import torch
from torch import Tensor


def phi_slope(y: Tensor, k: float) -> Tensor:
    """``phi'(y) = k sech^2(k (f - 1/2)) / (2 tanh(k/2))``, any shape; 1 everywhere for k = 0."""
    if k == 0:
        return torch.ones_like(y)
    tanh = torch.frac(y).abs_().sub_(0.5).mul_(k).tanh_()
    return tanh.square_().neg_().add_(1).mul_(k / (2 * math.tanh(k / 2)))


def rlq_quantize(values: Tensor, alpha: Tensor, first: Tensor, last: Tensor, k: float, scale: Tensor) -> Tensor:
    """``alpha * round(clamp(values / alpha, first, last))``, differentiable in ``values`` and ``alpha``.

    With ``v = values / alpha``: where ``first <= v <= last`` the gradient in the values is ``phi'(v)``, and that in
    ``alpha`` is ``round(v) - v phi'(v)``. Outside they are 0, and ``first`` or ``last`` (LSQ Eq. 3 for ``phi' = 1``).

    Args:
        values: any shape.
        alpha: the step, 0-d, positive.
        first: first code, 0-d.
        last: last code, 0-d.
        k: of ``phi``; 0 for straight-through rounding.
        scale: factor of the gradient in ``alpha`` (LSQ section 2.2), 0-d.
    """
    points: Tensor = _RLQ.apply(values, alpha, first, last, k, scale)  # type: ignore[no-untyped-call]
    return points


class _RLQ(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, alpha: Tensor, first: Tensor, last: Tensor, k: float, scale: Tensor
    ) -> Tensor:
        position = values / alpha
        ctx.save_for_backward(position, first, last, scale)
        ctx.k = k
        return position.clamp(first, last).round_().mul_(alpha)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        position, first, last, scale = ctx.saved_tensors
        codes = position.clamp(first, last)
        inside = grad * (codes == position)
        if ctx.k:
            inside.mul_(phi_slope(position, ctx.k))
        if not ctx.needs_input_grad[1]:
            return inside, None, None, None, None, None
        learned = codes.round_().mul_(grad).sum() - (position * inside).sum()
        return inside, learned * scale, None, None, None, None
