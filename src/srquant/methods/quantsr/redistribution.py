"""Redistribution-driven learnable quantizers (RLQ of QuantSR, NeurIPS 2023, section 3.2), on the base of LSQ.

Forward they are plain uniform quantizers with a learned step; activations are shifted by a learned ``tau`` per channel
first. Backward, rounding has the slope of a function ``phi`` that pushes values apart inside each step, so gradients
grow near decision boundaries and shrink near grid points. With ``f = y - floor(y)`` and ``k > 0`` it is
``phi(y) = floor(y) + 1/2 + tanh(k (f - 1/2)) / (2 tanh(k/2))``, which leaves whole and half numbers where they are, so
``round(phi(y))`` is ``round(y)``.

    >>> redistribution_slope(torch.tensor([0.5, 1.0]), k=1.0)
    tensor([1.0820, 0.8509])
"""

import math
from typing import Any

import torch
from torch import Tensor


def redistribution_slope(y: Tensor, k: float) -> Tensor:
    """``phi'(y) = k sech^2(k (f - 1/2)) / (2 tanh(k/2))``, any shape; 1 everywhere for k = 0."""
    if k == 0:
        return torch.ones_like(y)
    bend = torch.frac(y).abs_().sub_(0.5).mul_(k).tanh_()
    return bend.square_().neg_().add_(1).mul_(k / (2 * math.tanh(k / 2)))


def redistributed(values: Tensor, step: Tensor, first: Tensor, last: Tensor, k: float, scale: Tensor) -> Tensor:
    """``step * round(clamp(values / step, first, last))``, differentiable in ``values`` and ``step``.

    Inside, the gradient in the values is ``phi'(v)`` with ``v = values / step``, and that in the step is
    ``round(v) - v phi'(v)``; outside they are 0 and ``first`` or ``last`` (LSQ Eq. 3 for ``phi' = 1``).

    Args:
        values: any shape.
        step: 0-d, positive.
        first: first code, 0-d.
        last: last code, 0-d.
        k: bend of the redistribution, 0 for none.
        scale: of the gradient in the step (LSQ section 2.2), 0-d.
    """
    points: Tensor = _Redistributed.apply(values, step, first, last, k, scale)  # type: ignore[no-untyped-call]
    return points


class _Redistributed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, step: Tensor, first: Tensor, last: Tensor, k: float, scale: Tensor) -> Tensor:
        position = values / step
        ctx.save_for_backward(position, first, last, scale)
        ctx.k = k
        return position.clamp(first, last).round_().mul_(step)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        position, first, last, scale = ctx.saved_tensors
        codes = position.clamp(first, last)
        inside = grad * (codes == position)
        if ctx.k:
            inside.mul_(redistribution_slope(position, ctx.k))
        if not ctx.needs_input_grad[1]:
            return inside, None, None, None, None, None
        learned = codes.round_().mul_(grad).sum() - (position * inside).sum()
        return inside, learned * scale, None, None, None, None
