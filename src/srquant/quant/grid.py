"""The uniform grid ``lower + step * k``, ``k = 0..levels-1``: the one reference of quantize and dequantize.

Rounding is half to even everywhere, as in PyTorch, OpenVINO and ONNX.

    >>> x = torch.tensor([-3.0, 0.2, 0.9])
    >>> codes(x, torch.tensor(-1.0), torch.tensor(1.0), 4)
    tensor([0., 2., 3.])
    >>> fake_quantize(x, torch.tensor(-1.0), torch.tensor(1.0), 4)
    tensor([-1.0000,  0.3333,  1.0000])
"""

from typing import Any

import torch
from torch import Tensor


def step_size(lower: Tensor, upper: Tensor, levels: int) -> Tensor:
    """Distance between neighbouring grid points; same shape as the bounds."""
    return (upper - lower) / (levels - 1)


def zero_point(lower: Tensor, upper: Tensor, levels: int) -> Tensor:
    """Code of the grid point nearest to zero, as a float tensor of integers in 0..levels-1."""
    return (-lower / step_size(lower, upper, levels)).round().clamp(0, levels - 1)


def relative_step(lower: Tensor, upper: Tensor) -> Tensor | None:
    """Step of each channel over their mean, shape of the bounds; None for a single pair of bounds."""
    width = upper - lower
    return None if width.dim() == 0 else width / width.mean()


def on_lattice(values: Tensor, lattice: float | None) -> Tensor:
    """The nearest multiples of ``lattice``, a power of two, as float32; unchanged without one."""
    return values if lattice is None else ((values / lattice).round() * lattice).float()


def codes(x: Tensor, lower: Tensor, upper: Tensor, levels: int) -> Tensor:
    """Nearest grid point of each value.

    Args:
        x: any shape, float.
        lower: first grid point, broadcastable to ``x``.
        upper: last grid point, above ``lower``.
        levels: number of grid points, at least 2.

    Returns:
        Integers in 0..levels-1 as floats, shape of ``x``.
    """
    clipped = torch.minimum(torch.maximum(x, lower), upper)
    return ((clipped - lower) / step_size(lower, upper, levels)).round()


def fake_quantize(x: Tensor, lower: Tensor, upper: Tensor, levels: int) -> Tensor:
    """Replace each value by its nearest grid point; differentiable in ``x``, ``lower`` and ``upper``.

    Gradients are the straight-through ones of 2DQuant Eq. 2 (with Eq. 18 for the clipped part).

    Args:
        x: any shape, float.
        lower: first grid point, broadcastable to ``x``.
        upper: last grid point, above ``lower``.
        levels: number of grid points, at least 2.

    Returns:
        Shape of ``x``.
    """
    result: Tensor = _FakeQuantize.apply(x, lower, upper, levels)  # type: ignore[no-untyped-call]
    return result


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, lower: Tensor, upper: Tensor, levels: int) -> Tensor:
        ctx.save_for_backward(x, lower, upper)
        ctx.levels = levels
        return codes(x, lower, upper, levels) * step_size(lower, upper, levels) + lower

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, lower, upper = ctx.saved_tensors
        inside = (x >= lower) & (x <= upper)
        grad_inside = grad * inside
        grad_x = grad_inside if ctx.needs_input_grad[0] else None
        if not (ctx.needs_input_grad[1] or ctx.needs_input_grad[2]):
            return grad_x, None, None, None
        position = (x - lower) / step_size(lower, upper, ctx.levels)
        error = grad_inside * (position.round() - position) / (ctx.levels - 1)
        above = grad * (x > upper)
        grad_upper = (above + error).sum_to_size(upper.shape)
        grad_lower = (grad - grad_inside - above - error).sum_to_size(lower.shape)
        return grad_x, grad_lower, grad_upper, None
