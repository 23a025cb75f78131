"""Our operators in exported graphs: what a frozen layer becomes, and float layers that keep their names.

A frozen convolution is ``quantize``, then ``integer_conv2d``. As separate operators they can be shared, moved and
merged. All of them run in PyTorch too, so that a rewritten graph can be compared with the network it came from.
Libraries translate every other operator; for these, each engine has a function of its own.

Integers ``k - z`` are float tensors, of any shape unless a shape is given.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op
from torch.nn import functional as F

from srquant.deploy.frozen.layers import EXACT_IN_FLOAT32
from srquant.grids.uniform import codes, on_lattice
from srquant.quantizers.plq import fake_quantize_pieces

NAMESPACE = "srquant"

LARGEST_CODE = 255


@custom_op("srquant::quantize", mutates_args=())
def quantize(x: Tensor, lower: float, upper: float, levels: int, zero_point: int) -> Tensor:
    """Values to integers ``k - z`` on the grid of ``levels`` points from ``lower`` to ``upper``."""
    return codes(x, x.new_tensor(lower), x.new_tensor(upper), levels).sub_(zero_point)


@custom_op("srquant::quantize_channels", mutates_args=())
def quantize_channels(
    x: Tensor, first: Tensor, step: Tensor, lower: float, upper: float, levels: int, zero_point: int
) -> Tensor:
    """``quantize`` of ``(x - first) / step``; both broadcast over ``x``, one value per channel."""
    scaled = (x - first) / step
    return codes(scaled, x.new_tensor(lower), x.new_tensor(upper), levels).sub_(zero_point)


@custom_op("srquant::requantize", mutates_args=())
def requantize(integers: Tensor, factor: float, shift: float, levels: int, zero_point: int) -> Tensor:
    """Integers on one grid to integers on another: ``round(factor * integers + shift) - zero_point``."""
    return (integers * factor).add_(shift).round_().clamp_(0, levels - 1).sub_(zero_point)


@custom_op("srquant::dequantize", mutates_args=())
def dequantize(
    integers: Tensor, lower: float, upper: float, levels: int, zero_point: int, offset: float, apart: bool
) -> Tensor:
    """Integers ``k - z`` of a grid to ``step * integers + offset``.

    ``apart``: an engine may not merge the quantization of these integers with the layer before it.
    """
    return integers * step_of(lower, upper, levels) + offset


@custom_op("srquant::pieces", mutates_args=())
def pieces(x: Tensor, edges: Sequence[float], levels: Sequence[int]) -> Tensor:
    """Values to the nearest point of their region, see ``quantizers.plq``."""
    return fake_quantize_pieces(x, x.new_tensor(edges), tuple(levels))


@custom_op("srquant::integer_conv2d", mutates_args=())
def integer_conv2d(
    integers: Tensor,
    weight: Tensor,
    scale: Tensor,
    bias: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    name: str,
) -> Tensor:
    """``scale * conv(integers, weight) + bias``.

    Args:
        integers: ``N x C_in x H x W``, magnitudes up to 255.
        weight: int8 ``C_out x C_in/groups x kH x kW``.
        scale: float32 ``C_out``.
        bias: float32 ``C_out``.
        stride: per axis, as padding and dilation.
        padding: zeros on each side.
        dilation: of the kernel.
        groups: number of groups.
        name: of the layer.
    """
    kind = _accumulator(weight)
    sums = F.conv2d(integers.to(kind), weight.to(kind), None, stride, padding, dilation, groups).float()
    return sums * scale.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


@custom_op("srquant::conv2d_to_codes", mutates_args=())
def conv2d_to_codes(
    integers: Tensor,
    weight: Tensor,
    factor: Tensor,
    bias: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    name: str,
    smallest: int,
    largest: int,
) -> Tensor:
    """Integers of the next grid: ``round(factor * (conv(integers, weight) + bias))``, clipped.

    Args:
        integers: as ``integer_conv2d``, like weight, geometry and name.
        weight: int8.
        factor: float32 ``C_out``, the convolution's scale over the next grid's step.
        bias: int32 ``C_out``.
        stride: per axis.
        padding: zeros on each side.
        dilation: of the kernel.
        groups: number of groups.
        name: of the layer.
        smallest: result.
        largest: result, at most ``smallest + 255``.
    """
    kind = _accumulator(weight)
    sums = F.conv2d(integers.to(kind), weight.to(kind), bias.to(kind), stride, padding, dilation, groups).float()
    return sums.mul_(factor.view(1, -1, 1, 1)).round_().clamp_(smallest, largest)


@custom_op("srquant::integer_linear", mutates_args=())
def integer_linear(integers: Tensor, weight: Tensor, scale: Tensor, bias: Tensor, name: str) -> Tensor:
    """``scale * integers @ weight.T + bias`` for ``... x in``; weight int8 ``out x in``, scale and bias ``out``."""
    kind = _accumulator(weight)
    return F.linear(integers.to(kind), weight.to(kind)).float() * scale + bias


@custom_op("srquant::quantize_operand", mutates_args=())
def quantize_operand(x: Tensor, lower: float, upper: float, levels: int, first: int, unsigned: bool) -> Tensor:
    """Values of a matrix product's operand to integers ``k + first``; ``unsigned``: engines may need ``k`` as bytes."""
    return codes(x, x.new_tensor(lower), x.new_tensor(upper), levels).add_(first)


@custom_op("srquant::dequantize_operand", mutates_args=())
def dequantize_operand(integers: Tensor, step: float, offset: float) -> Tensor:
    """Integers of an operand to values."""
    return integers * step + offset


@custom_op("srquant::integer_matmul", mutates_args=())
def integer_matmul(
    left: Tensor, right: Tensor, steps: Sequence[float], offsets: Sequence[float], lattice: float | None, name: str
) -> Tensor:
    """Product of values from their integers ``... x N x K`` and ``... x K x M``; see ``IntegerMatmul``."""
    i, j = left.double(), right.double()
    scaled = steps[1] * (steps[0] * (i @ j) + offsets[0] * j.sum(-2, keepdim=True))
    values = scaled + offsets[1] * (steps[0] * i + offsets[0]).sum(-1, keepdim=True)
    return on_lattice(values, lattice).float()


@custom_op("srquant::block_shuffle", mutates_args=())
def block_shuffle(x: Tensor, factor: int) -> Tensor:
    """Pixel shuffle of channels ordered ``(i*f + j)*C + c``: ``N x f*f*C x H x W`` to ``N x C x f*H x f*W``."""
    n, channels, height, width = x.shape
    blocks = x.reshape(n, factor, factor, channels // factor**2, height, width).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, channels // factor**2, height * factor, width * factor).contiguous()


@custom_op("srquant::conv2d", mutates_args=())
def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    name: str,
) -> Tensor:
    """A float convolution that keeps the name of its layer."""
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


@custom_op("srquant::linear", mutates_args=())
def linear(x: Tensor, weight: Tensor, bias: Tensor, name: str) -> Tensor:
    """A float linear layer that keeps its name."""
    return F.linear(x, weight, bias)


@custom_op("srquant::matmul", mutates_args=())
def matmul(a: Tensor, b: Tensor, name: str) -> Tensor:
    """A float product of two activations that keeps the name of its module."""
    return a @ b


def step_of(lower: float, upper: float, levels: int) -> float:
    """Distance of grid points, computed in float32 as ``FrozenGrid`` does."""
    return float((torch.tensor(upper) - torch.tensor(lower)) / (levels - 1))


def _accumulator(weight: Tensor) -> torch.dtype:
    """A float type that holds every sum of these weights times codes exactly."""
    largest = int(weight.flatten(1).abs().sum(1, dtype=torch.int64).max()) * LARGEST_CODE
    return torch.float32 if largest < EXACT_IN_FLOAT32 else torch.float64


def _same(x: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(x)


def _features(x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


def _product(left: Tensor, right: Tensor, *rest: Any) -> Tensor:
    return left @ right


def _pixels(x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
    first = next(index for index, argument in enumerate(rest) if isinstance(argument, list))
    stride, padding, dilation, groups = rest[first : first + 4]
    return F.conv2d(x, weight.to(x.dtype), None, stride, padding, dilation, groups)


@block_shuffle.register_fake
def _shuffled(x: Tensor, factor: int) -> Tensor:
    n, channels, height, width = x.shape
    return x.new_empty(n, channels // factor**2, height * factor, width * factor)


SHAPES: dict[Callable[..., Tensor], tuple[Any, ...]] = {
    _same: (quantize, quantize_channels, requantize, dequantize, pieces, quantize_operand, dequantize_operand),
    _features: (integer_linear, linear),
    _product: (integer_matmul, matmul),
    _pixels: (integer_conv2d, conv2d_to_codes, conv2d),
}
"""Functions that give an empty result of the right shape, for tracing; and the operators that they are for."""

for shape, traced in SHAPES.items():
    for operator in traced:
        operator.register_fake(shape)
