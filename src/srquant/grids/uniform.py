"""The uniform grid ``lower + step * k``, ``k = 0..levels-1``: the reference for quantizing and dequantizing.

Rounding is half to even everywhere, as in PyTorch, OpenVINO and ONNX.

    >>> x = torch.tensor([-3.0, 0.2, 0.9])
    >>> codes(x, torch.tensor(-1.0), torch.tensor(1.0), 4)
    tensor([0., 2., 3.])
    >>> fake_quantize(x, torch.tensor(-1.0), torch.tensor(1.0), 4)
    tensor([-1.0000,  0.3333,  1.0000])
"""

import math
from typing import Any

import torch
from torch import Tensor

from srquant.devices import ASYNCHRONOUS, quotient
from srquant.grids.channel_grids import as_rows, gradients, has_rows, quantize_rows
from srquant.grids.pieces import empty_like, pieces

FEWEST_BITS, MOST_BITS = 2, 8
"""Fewest and most bits of a grid."""

FLOAT_BITS = 32
"""Of values that are on no grid."""

aten: Any = torch.ops.aten


def step_size(lower: Tensor, upper: Tensor, levels: int | Tensor) -> Tensor:
    """Distance between neighbouring grid points; same shape as the bounds."""
    return quotient(upper - lower, levels - 1)


def zero_point(lower: Tensor, upper: Tensor, levels: int) -> Tensor:
    """Code of the grid point nearest to zero, as a float tensor of integers in 0..levels-1."""
    return (-lower / step_size(lower, upper, levels)).round().clamp(0, levels - 1)


def relative_step(lower: Tensor, upper: Tensor) -> Tensor | None:
    """Step of each channel divided by the mean step, shape of the bounds; None for a single pair of bounds."""
    width = upper - lower
    return None if width.dim() == 0 else width / width.mean()


def on_lattice(values: Tensor, lattice: float | None) -> Tensor:
    """The nearest multiples of ``lattice``, a power of two, as float32; unchanged where it is None."""
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
    return _position(x, lower, upper, levels).round_().clamp_(0, levels - 1)


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


def fake_quantize_bits(x: Tensor, lower: Tensor, upper: Tensor, bits: Tensor, narrow: bool = False) -> Tensor:
    """``fake_quantize`` with ``2**bits`` levels, differentiable in ``bits`` as well (GBA Eq. 6, AdaBM section 3.2).

    The gradient in ``bits`` is ``-e * ln 2 * 2**bits / (levels - 1)``; ``e`` is the rounding error, 0 where clipped.

    Args:
        x: any shape, float.
        lower: first grid point, 0-d.
        upper: last grid point, above ``lower``, 0-d.
        bits: integers as floats, 0-d or broadcastable to ``x``, such as ``N x 1 x 1 x 1``.
        narrow: whether there is one level less, as in grids that have a zero and are symmetric around it.

    Returns:
        Shape of ``x``.
    """
    result: Tensor = _FakeQuantizeBits.apply(x, lower, upper, bits, narrow)  # type: ignore[no-untyped-call]
    return result


def _position(x: Tensor, lower: Tensor, upper: Tensor, levels: int | Tensor) -> Tensor:
    """Distance of each value from the first grid point in steps; a new tensor, which callers may change in place."""
    return (x - lower).div_(step_size(lower, upper, levels))


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, lower: Tensor, upper: Tensor, levels: int) -> Tensor:
        ctx.levels = levels
        points, step = empty_like(x), step_size(lower, upper, levels)
        if has_rows(x, lower):
            rows, results = as_rows(x, lower), as_rows(points, lower)
            quantize_rows(rows, lower.flatten(), step.flatten(), levels, results)
        else:
            for values, results in pieces(x, points, alike=lower.dim() == 0):
                torch.sub(values, lower, out=results).div_(step).round_().clamp_(0, levels - 1).mul_(step).add_(lower)
        ctx.save_for_backward(x, lower, upper, points if any(ctx.needs_input_grad[1:]) else None)
        return points

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, lower, upper, points = ctx.saved_tensors
        if points is not None and has_rows(x, lower):
            return (*_backward_by_rows(x, points, grad, lower, upper), None)
        if lower.dim():
            return (*_backward(ctx, grad, x, lower, upper, ctx.levels)[:3], None)
        inside = empty_like(x)
        if x.device.type in ASYNCHRONOUS:
            return _backward_without_waiting(x, grad, inside, lower, upper, points)
        straight = StraightThrough(lower, upper)
        for value, given, kept, point in pieces(x, grad, inside, x if points is None else points):
            straight.pass_inside(value, given, kept)
            if points is not None:
                straight.add_outside(value, given - kept)
                straight.add_rounding(value, point, kept)
        return inside, *(straight.sums() if points is not None else (None, None)), None


def _backward_without_waiting(
    x: Tensor, grad: Tensor, inside: Tensor, lower: Tensor, upper: Tensor, points: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
    """Gradients of a grid with one pair of bounds, all of them tensors."""
    if points is not None:
        return inside, *gradients(x, points, grad, inside, lower, upper), None
    return grad.masked_fill((x < lower) | (x > upper), 0), None, None, None


def _backward_by_rows(
    x: Tensor, points: Tensor, grad: Tensor, lower: Tensor, upper: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in values, lower and upper bounds of grids per channel."""
    inside = empty_like(x)
    values, row_points, given, kept = (as_rows(tensor, lower) for tensor in (x, points, grad, inside))
    low, high = gradients(values, row_points, given, kept, lower.flatten(), upper.flatten())
    return inside, low.view_as(lower), high.view_as(upper)


class _FakeQuantizeBits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, lower: Tensor, upper: Tensor, bits: Tensor, narrow: bool) -> Tensor:
        ctx.save_for_backward(x, lower, upper, bits)
        ctx.narrow = narrow
        last = bits.exp2() - (2 if narrow else 1)
        rounded = torch.minimum(_position(x, lower, upper, last + 1).round_(), last).clamp_(min=0)
        return rounded.mul_((upper - lower) / last).add_(lower)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, None]:
        x, lower, upper, bits = ctx.saved_tensors
        levels = bits.exp2() - int(ctx.narrow)
        grad_x, grad_lower, grad_upper, error = _backward(ctx, grad, x, lower, upper, levels)
        if not ctx.needs_input_grad[3]:
            return grad_x, grad_lower, grad_upper, None, None
        rounding = (error * (upper - lower)).sum_to_size(bits.shape)
        return grad_x, grad_lower, grad_upper, _gradient_in_bits(rounding, levels, ctx.narrow), None


def _gradient_in_bits(rounding: Tensor, levels: int | Tensor, narrow: bool = False) -> Tensor:
    """From the sum of gradients times rounding errors; a narrow grid has ``2**bits - 1`` levels."""
    return rounding * (-math.log(2) * (levels + int(narrow)) / (levels - 1))


def _backward(
    ctx: Any, grad: Tensor, x: Tensor, lower: Tensor, upper: Tensor, levels: int | Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor]:
    """Gradients in ``x``, ``lower``, ``upper``; and ``grad`` times the rounding error over the grid's width."""
    below, above = x < lower, x > upper
    grad_inside = grad.masked_fill(below | above, 0)
    grad_x = grad_inside if ctx.needs_input_grad[0] else None
    if not any(ctx.needs_input_grad[1:]):
        return grad_x, None, None, grad_inside
    position = _position(x, lower, upper, levels)
    error = position.round().sub_(position).mul_(grad_inside).div_(levels - 1)
    outside = (grad.masked_fill(mask.logical_not_(), 0) for mask in (below, above))
    low, high, rounding = (t.sum_to_size(upper.shape) for t in (*outside, error))
    return grad_x, low - rounding, high + rounding, error


class StraightThrough:
    """Straight-through gradients of a grid with one pair of bounds, summed piece by piece.

    Args:
        lower: first grid point, 0-d.
        upper: last grid point, 0-d.
        slack: how far outside a bound a value may lie and still count as inside.
    """

    def __init__(self, lower: Tensor, upper: Tensor, slack: float = 0.0) -> None:
        self.bounds = lower, upper
        self.upper, self.width = float(upper), float(upper) - float(lower)
        limits = (lower - slack, -1), (upper + slack, 1)
        self.limits = tuple(float(limit.nextafter(limit + sign)) for limit, sign in limits)
        self.below = self.above = self.rounding = 0.0

    def pass_inside(self, x: Tensor, grad: Tensor, inside: Tensor) -> None:
        """Write the gradient in ``x`` to ``inside``: ``grad`` between the bounds, zero elsewhere."""
        aten.hardtanh_backward.grad_input(grad, x, *self.limits, grad_input=inside)

    def add_outside(self, x: Tensor, grad: Tensor) -> None:
        """Add the gradients of clipped values; ``grad`` must be zero for all others."""
        above = float(aten.threshold_backward(grad, x, self.upper).sum())
        self.above += above
        self.below += float(grad.sum()) - above

    def add_rounding(self, x: Tensor, points: Tensor, inside: Tensor) -> None:
        """Add the rounding errors of values: vectors of values, of their grid points, and of their gradient inside."""
        self.rounding += float(torch.dot(points - x, inside))

    def sums(self) -> tuple[Tensor, Tensor]:
        """Gradients in the two bounds, 0-d."""
        lower, upper = self.bounds
        rounding = self.rounding / self.width
        return lower.new_tensor(self.below - rounding), upper.new_tensor(self.above + rounding)

    def sum_of_bits(self, levels: int) -> Tensor:
        """Gradient in the bits, 0-d, as ``fake_quantize_bits``."""
        return _gradient_in_bits(self.bounds[0].new_tensor(self.rounding), levels)
