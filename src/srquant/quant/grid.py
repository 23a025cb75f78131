"""The uniform grid ``lower + step * k``, ``k = 0..levels-1``: the one reference of quantize and dequantize.

Rounding is half to even everywhere, as in PyTorch, OpenVINO and ONNX.

    >>> x = torch.tensor([-3.0, 0.2, 0.9])
    >>> codes(x, torch.tensor(-1.0), torch.tensor(1.0), 4)
    tensor([0., 2., 3.])
    >>> fake_quantize(x, torch.tensor(-1.0), torch.tensor(1.0), 4)
    tensor([-1.0000,  0.3333,  1.0000])
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

PIECE = 2**16
"""Values that stay in a processor's cache together with a few intermediate results."""

aten: Any = torch.ops.aten


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


def fake_quantize_bits(x: Tensor, lower: Tensor, upper: Tensor, bits: Tensor) -> Tensor:
    """``fake_quantize`` with ``2**bits`` levels, differentiable in ``bits`` as well (GBA Eq. 6, AdaBM section 3.2).

    The gradient in ``bits`` is ``-e * ln 2 * 2**bits / (2**bits - 1)`` with the rounding error ``e``, without clipping.

    Args:
        x: any shape, float.
        lower: first grid point, 0-d.
        upper: last grid point, above ``lower``, 0-d.
        bits: whole numbers as floats, 0-d or broadcastable to ``x``, such as ``N x 1 x 1 x 1``.

    Returns:
        Shape of ``x``.
    """
    result: Tensor = _FakeQuantizeBits.apply(x, lower, upper, bits)  # type: ignore[no-untyped-call]
    return result


def pieces(*tensors: Tensor, alike: bool = True) -> Iterable[tuple[Tensor, ...]]:
    """Pieces of tensors of one shape, small enough to stay in a processor's cache from one operation to the next.

    Args:
        tensors: any shape.
        alike: whether all values are treated alike; else, and where their order in memory differs, there is one piece.

    Returns:
        One tensor for each of ``tensors``, views of them.
    """
    if not alike:
        return [tensors]
    if all(is_channels_last(tensor) for tensor in tensors):
        tensors = tuple(tensor.permute(0, 2, 3, 1) for tensor in tensors)
    if not all(tensor.is_contiguous() for tensor in tensors):
        return [tensors]
    return zip(*(torch.split(tensor.view(-1), PIECE) for tensor in tensors), strict=True)


def is_channels_last(tensor: Tensor) -> bool:
    """Whether a tensor is ``N x C x H x W`` with the channels of a pixel side by side in memory."""
    return tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)


def _position(x: Tensor, lower: Tensor, upper: Tensor, levels: int | Tensor) -> Tensor:
    """Where each value lies on the grid, in steps: a tensor of its own, to be worked on in place."""
    return (x - lower).div_((upper - lower) / (levels - 1))


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, lower: Tensor, upper: Tensor, levels: int) -> Tensor:
        ctx.save_for_backward(x, lower, upper)
        ctx.levels = levels
        points, step = torch.empty_like(x), step_size(lower, upper, levels)
        for values, results in pieces(x, points, alike=lower.dim() == 0):
            torch.sub(values, lower, out=results).div_(step).round_().clamp_(0, levels - 1).mul_(step).add_(lower)
        return points

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, lower, upper = ctx.saved_tensors
        backward = _backward if lower.dim() else _backward_in_pieces
        grad_x, grad_lower, grad_upper, _ = backward(ctx, grad, x, lower, upper, ctx.levels)
        return grad_x, grad_lower, grad_upper, None


class _FakeQuantizeBits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, lower: Tensor, upper: Tensor, bits: Tensor) -> Tensor:
        ctx.save_for_backward(x, lower, upper, bits)
        last = bits.exp2() - 1
        rounded = torch.minimum(_position(x, lower, upper, last + 1).round_(), last).clamp_(min=0)
        return rounded.mul_((upper - lower) / last).add_(lower)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        x, lower, upper, bits = ctx.saved_tensors
        levels = bits.exp2()
        grad_x, grad_lower, grad_upper, error = _backward(ctx, grad, x, lower, upper, levels)
        if not ctx.needs_input_grad[3]:
            return grad_x, grad_lower, grad_upper, None
        grad_bits = (error * (upper - lower)).mul_(levels).sum_to_size(bits.shape) * (-math.log(2) / (levels - 1))
        return grad_x, grad_lower, grad_upper, grad_bits


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


def _backward_in_pieces(
    ctx: Any, grad: Tensor, x: Tensor, lower: Tensor, upper: Tensor, levels: int
) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
    """Gradients in ``x`` and the 0-d ``lower`` and ``upper``."""
    inside, learned = torch.empty_like(x), any(ctx.needs_input_grad[1:])
    low, high = torch.zeros_like(lower), torch.zeros_like(upper)
    for value, given, kept in pieces(x, grad, inside):
        sums = straight_through(value, given, lower, upper, levels, kept, learned)
        if sums is not None:
            low += sums[0].sum()
            high += sums[1].sum()
    return inside, low if learned else None, high if learned else None, None


def straight_through(
    x: Tensor, grad: Tensor, lower: Tensor, upper: Tensor, levels: int, inside: Tensor, learned: bool
) -> tuple[Tensor, Tensor] | None:
    """Gradients of a piece.

    Args:
        x: values, any shape.
        grad: gradient in their grid points, same shape.
        lower: first grid point, 0-d.
        upper: last grid point, 0-d.
        levels: number of grid points.
        inside: is given the gradient in ``x``: ``grad`` between the bounds, zero elsewhere.
        learned: whether the bounds are.

    Returns:
        Gradients in ``lower`` and ``upper``, summed along the last axis; None unless they are learned.
    """
    below, above = (float(bound.nextafter(bound + sign)) for bound, sign in ((lower, -1), (upper, 1)))
    aten.hardtanh_backward.grad_input(grad, x, below, above, grad_input=inside)
    if not learned:
        return None
    position = torch.sub(x, lower).div_(step_size(lower, upper, levels))
    rounding = position.round().sub_(position).mul_(inside).sum(-1, keepdim=True) / (levels - 1)
    outside = grad - inside
    high = aten.threshold_backward(outside, x, float(upper)).sum(-1, keepdim=True)
    return outside.sum(-1, keepdim=True) - high - rounding, high + rounding
