"""The gradient in a layer's weight bound, computed without the gradient in its weights.

A bound ``u`` moves all weights of a grid ``-u..u`` along one direction, ``dW/du``. So ``dL/du`` is the inner product of
the gradient in the output with ``conv(x, dW/du)``, a forward convolution. It takes two thirds of the time of the
gradient in every weight.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from srquant.grids.pieces import is_channels_last
from srquant.grids.uniform import fake_quantize

Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]
"""Stride, padding, dilation and groups of a convolution."""


def quantize_with_slope(weight: Tensor, bound: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """The weight on its grid ``-bound..bound``, and the derivative of each of its values in the bound; no gradient.

    Args:
        weight: ``C_out x C_in/groups x kH x kW``.
        bound: 0-d or ``C_out x 1 x 1 x 1``.
        levels: of the grid.

    Returns:
        Two tensors of the weight's shape.
    """
    with torch.enable_grad():
        bounds = bound.detach().expand_as(weight).clone().requires_grad_(True)
        points = fake_quantize(weight.detach(), -bounds, bounds, levels)
        (slope,) = torch.autograd.grad(points.sum(), bounds)
    return points.detach(), slope


def conv_with_bound_gradient(
    x: Tensor, weight: Tensor, slope: Tensor, bound: Tensor, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    """``F.conv2d``, differentiable in ``x`` and in the bound.

    Args:
        x: ``N x C_in x H x W``.
        weight: ``C_out x C_in/groups x kH x kW``, a constant.
        slope: derivative of each weight in its bound, same shape.
        bound: 0-d or ``C_out x 1 x 1 x 1``; only receives the gradient.
        bias: ``C_out``, a constant.
        geometry: of the convolution.

    Returns:
        ``N x C_out x H' x W'``.
    """
    result: Tensor = _ConvWithBoundGradient.apply(x, weight, slope, bound, bias, geometry)  # type: ignore[no-untyped-call]
    return result


class _ConvWithBoundGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, slope: Tensor, bound: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        ctx.save_for_backward(x, weight, slope)
        ctx.geometry, ctx.bound_shape = geometry, bound.shape
        return F.conv2d(x, weight, bias, *geometry)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, slope = ctx.saved_tensors
        if is_channels_last(x):
            grad = grad.contiguous(memory_format=torch.channels_last)
        moved = F.conv2d(x, slope, None, *ctx.geometry)
        grad_bound = _inner(grad, moved) if not ctx.bound_shape else (grad * moved).sum((0, 2, 3)).view(ctx.bound_shape)
        return _grad_input(ctx, grad, x, weight), None, None, grad_bound, None, None


def _grad_input(ctx: Any, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor | None:
    if not ctx.needs_input_grad[0]:
        return None
    stride, padding, dilation, groups = ctx.geometry
    result: Tensor = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, dilation, False, [0, 0], groups, [True, False, False]
    )[0]
    return result


def _inner(a: Tensor, b: Tensor) -> Tensor:
    a, b = (tensor.permute(0, 2, 3, 1) if is_channels_last(a) else tensor for tensor in (a, b))
    return torch.dot(a.reshape(-1), b.reshape(-1))
