"""``Backend`` that builds an OpenVINO graph.

Integers ``k - z`` are outputs of FakeQuantize; low-precision passes of the CPU plug-in then compute on bytes.
"""
# ruff: noqa: D102 - ``Backend`` documents the operations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import openvino.opset13 as ops
from numpy.typing import NDArray
from openvino import Node
from openvino.opset1 import max_pool  # the later ones have a second output

from srquant.deploy.export.backend import Activation, Arithmetic, Extreme, Floats, Interpolation
from srquant.deploy.export.nodes import IntegerConv2d, IntegerLinear
from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.matmul import OperandGrid
from srquant.models.blocks.conv_geometry import ConvGeometry

BYTE_LEVELS = (16, 256)
"""With these numbers of levels FakeQuantize gives bytes. With others it gives floats, which a second one of 256
levels turns into bytes.

A clamp followed by one FakeQuantize of 256 levels would be cheaper. But the plug-in (2026.4) computes a sequence of sum
with one number per channel, clamp and FakeQuantize wrongly: it uses the first channel's number for all channels. For
the same reason numbers per channel that are added before FakeQuantize become part of its bounds.
"""

SPATIAL = (2, 3)

_ARITHMETIC: dict[Arithmetic, Callable[[Node, Node], Node]] = {
    "add": ops.add,
    "subtract": ops.subtract,
    "multiply": ops.multiply,
    "divide": ops.divide,
    "modulus": ops.mod,
    "minimum": ops.minimum,
    "maximum": ops.maximum,
}
_ACTIVATIONS: dict[Activation, Callable[[Node], Node]] = {
    "relu": ops.relu,
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
    "gelu": lambda x: ops.gelu(x, "erf"),
}


@dataclass(frozen=True)
class _Dequantized:
    integers: Node
    step: float
    offset: float


class OpenVINOBackend:
    """Builds nodes; the layer's name becomes the friendly name of its convolution or matrix product.

    Nodes that the plug-in may fuse into it are named ``NAME/...``.

    Args:
        pair_saturation: whether the target processor lacks VNNI. 16 levels may become signed bytes, to which kernels
            for such processors add 128 before they multiply; so only 256 levels are used as bytes there.
    """

    def __init__(self, pair_saturation: bool) -> None:
        self.byte_levels = BYTE_LEVELS[1:] if pair_saturation else BYTE_LEVELS
        self.dequantized: dict[str, _Dequantized] = {}

    def constant(self, values: NDArray[Any]) -> Node:
        return ops.constant(values)

    def arithmetic(self, operation: Arithmetic, a: Node, b: Node) -> Node:
        return _ARITHMETIC[operation](a, b)

    def activation(self, function: Activation, x: Node) -> Node:
        return _ACTIVATIONS[function](x)

    def prelu(self, x: Node, slopes: Floats) -> Node:
        return ops.prelu(x, ops.constant(slopes))

    def conv(self, x: Node, weight: Floats, bias: Floats, geometry: ConvGeometry, name: str) -> Node:
        return self._conv(x, ops.constant(_grouped(weight, geometry.groups)), bias, geometry, name)

    def linear(self, x: Node, weight: Floats, bias: Floats, name: str) -> Node:
        return _named_sum(ops.matmul(x, ops.constant(weight), False, True), bias, name)

    def quantize(self, x: Node, grid: FrozenGrid) -> Node:
        if (dequantized := self.dequantized.get(x.get_friendly_name())) is not None:
            return _requantize(dequantized, grid)
        return self._quantize(x, grid, np.zeros(1, np.float32), np.ones(1, np.float32))

    def points(self, x: Node, grid: FrozenGrid) -> Node:
        lower, upper = float(grid.lower), float(grid.upper)
        return _fake_quantize(x, grid.levels, (lower, upper, lower, upper))

    def pieces(self, x: Node, edges: Floats, levels: Sequence[int]) -> Node:
        """Sum over regions: a region adds 0 for values below it, its width for values above, else the nearest point."""
        total = _number(edges[0])
        for (start, end), count in zip(pairwise(edges), levels, strict=True):
            total = ops.add(total, _fake_quantize(x, count, (start, end, 0.0, end - start)))
        return total

    def quantize_channels(self, x: Node, grid: FrozenGrid, lower: Floats, step: Floats) -> Node:
        return self._quantize(x, grid, lower, step)

    def pad(self, x: Node, padding: tuple[int, int]) -> Node:
        amounts = ops.constant(np.array([0, 0, *padding]))
        return ops.pad(x, amounts, amounts, "constant", _number(0.0))

    def dequantize(self, integers: Node, step: float, offset: float) -> Node:
        scaled = ops.multiply(integers, _number(step))
        values = ops.add(scaled, _number(offset)) if offset else scaled
        self.dequantized[values.get_friendly_name()] = _Dequantized(integers, step, offset)
        return values

    def apart(self, integers: Node) -> Node:
        """Rounding keeps FakeQuantize from being merged with a convolution, which would change integers (2026.4)."""
        return ops.round(integers, "half_to_even")

    def integer_conv(self, integers: Node, layer: IntegerConv2d, name: str) -> Node:
        weight = _grouped(layer.weight.numpy(), layer.geometry.groups)
        scale = _grouped(layer.scale.numpy().reshape(-1, 1, 1, 1), layer.geometry.groups)
        return self._conv(integers, _dequantized(weight, scale), layer.bias.numpy(), layer.geometry, name)

    def integer_linear(self, integers: Node, layer: IntegerLinear, name: str) -> Node:
        weight = _dequantized(layer.weight.numpy(), layer.scale.numpy().reshape(-1, 1))
        return _named_sum(ops.matmul(integers, weight, False, True), layer.bias.numpy(), name)

    def pixel_shuffle(self, x: Node, factor: int) -> Node:
        return ops.depth_to_space(x, "depth_first", factor)

    def block_shuffle(self, x: Node, factor: int) -> Node:
        return ops.depth_to_space(x, "blocks_first", factor)

    def max_pool(self, x: Node, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Node:
        return max_pool(x, list(stride), list(padding), list(padding), list(kernel))

    def mean(self, x: Node) -> Node:
        return ops.reduce_mean(x, ops.constant(np.array(SPATIAL)), True)

    def resize(self, x: Node, scale: float, mode: Interpolation) -> Node:
        return _interpolate(x, ops.constant(np.array([scale, scale], np.float32)), "scales", mode)

    def resize_like(self, x: Node, other: Node, mode: Interpolation) -> Node:
        axes = ops.constant(np.array(SPATIAL))
        size = ops.gather(ops.shape_of(other), axes, ops.constant(np.array(0)))
        return _interpolate(x, size, "sizes", mode)

    def concatenate(self, values: list[Node]) -> Node:
        return ops.concat(values, 1)

    def part(self, x: Node, axis: int, start: int, stop: int | Node) -> Node:
        end = _integer(stop) if isinstance(stop, int) else stop
        return ops.slice(x, _integer(start), end, _integer(1), _integer(axis))

    def extent(self, x: Node, axis: int) -> Node:
        return ops.gather(ops.shape_of(x), _integer(axis), ops.constant(0))

    def positions(self, length: Node) -> Node:
        stop = ops.squeeze(length, ops.constant(0))
        return ops.range(ops.constant(np.int64(0)), stop, ops.constant(np.int64(1)), "i64")

    def to_float(self, integers: Node) -> Node:
        return ops.convert(integers, "f32")

    def reshape(self, x: Node, shape: Sequence[int | Node]) -> Node:
        sizes = [_integer(size) if isinstance(size, int) else size for size in shape]
        return ops.reshape(x, ops.concat(sizes, 0), False)

    def transpose(self, x: Node, order: Sequence[int]) -> Node:
        return ops.transpose(x, ops.constant(np.array(order)))

    def gather(self, x: Node, indices: Node, axis: int) -> Node:
        return ops.gather(x, indices, ops.constant(axis))

    def total(self, x: Node, axis: int) -> Node:
        return ops.reduce_sum(x, _integer(axis), True)

    def extreme(self, x: Node, which: Extreme, axes: Sequence[int]) -> Node:
        reduce = ops.reduce_min if which == "smallest" else ops.reduce_max
        return reduce(x, ops.constant(np.array(axes)), True)

    def softmax(self, x: Node) -> Node:
        return ops.softmax(x, -1)

    def layer_norm(self, x: Node, weight: Floats, bias: Floats, epsilon: float) -> Node:
        normal = ops.mvn(x, _integer(-1), True, epsilon, "inside_sqrt")
        return ops.add(ops.multiply(normal, ops.constant(weight)), ops.constant(bias))

    def matmul(self, a: Node, b: Node, name: str) -> Node:
        product = ops.matmul(a, b, False, False)
        product.set_friendly_name(name)
        return product

    def quantize_operand(self, x: Node, operand: OperandGrid) -> Node:
        grid, first = operand.grid, operand.first
        last = first + grid.levels - 1
        integers = _fake_quantize(x, grid.levels, (float(grid.lower), float(grid.upper), first, last))
        return integers if grid.levels == BYTE_LEVELS[-1] else _whole_bytes(integers, signed=first < 0)

    def dequantize_operand(self, integers: Node, step: float, offset: float) -> Node:
        return self.dequantize(integers, step, offset)

    def integer_matmul(self, left: Node, right: Node, scale: float, name: str) -> Node:
        values = ops.multiply(self.matmul(left, right, name), _number(scale))
        values.set_friendly_name(f"{name}/scale")
        return values

    def _quantize(self, x: Node, grid: FrozenGrid, lower: Floats, step: Floats) -> Node:
        """The channels' lower bounds and steps are part of FakeQuantize's bounds."""
        first, zero_point, last = float(grid.lower), grid.zero_point, grid.levels - 1
        low, high = lower + step * first, lower + step * (first + last * grid.step)
        codes = _fake_quantize(x, grid.levels, (low, high, -zero_point, last - zero_point))
        return codes if grid.levels in self.byte_levels else _bytes(codes, -zero_point, zero_point)

    def _conv(self, x: Node, weight: Node, bias: Floats, geometry: ConvGeometry, name: str) -> Node:
        convolve = ops.convolution if geometry.groups == 1 else ops.group_convolution
        padding = list(geometry.padding)
        node = convolve(x, weight, list(geometry.stride), padding, padding, list(geometry.dilation))
        return _named_sum(node, bias.reshape(1, -1, 1, 1), name)


def _grouped(values: Floats, groups: int) -> Floats:
    return values if groups == 1 else values.reshape(groups, -1, *values.shape[1:])


def _requantize(source: _Dequantized, grid: FrozenGrid) -> Node:
    """Integers on one grid to integers on another; with a separate rounding it runs as one operation on bytes."""
    factor = source.step / grid.step
    shift = (source.offset - float(grid.lower)) / grid.step
    position = ops.add(ops.multiply(source.integers, _number(factor)), _number(shift))
    codes = ops.round(ops.clamp(position, 0.0, grid.levels - 1.0), "half_to_even")
    return _bytes(codes, 0, grid.zero_point)


def _fake_quantize(x: Node, levels: int, bounds: tuple[float | Floats, ...]) -> Node:
    """``bounds``: smallest and largest input, smallest and largest output."""
    return ops.fake_quantize(x, *(_number(bound) for bound in bounds), levels)


def _bytes(integers: Node, first: int, zero_point: int) -> Node:
    """Bytes from integers ``first`` .. ``first + 255``; ``first`` becomes ``-zero_point``."""
    last = BYTE_LEVELS[-1] - 1
    return _fake_quantize(integers, BYTE_LEVELS[-1], (first, first + last, -zero_point, last - zero_point))


def _whole_bytes(integers: Node, signed: bool) -> Node:
    """Bytes from integers in 0..255, or in -128..127 if ``signed``; values stay the same."""
    first, last = (-128, 127) if signed else (0, 255)
    return _fake_quantize(integers, BYTE_LEVELS[-1], (first, last, first, last))


def _integer(value: int) -> Node:
    return ops.constant(np.array([value]))


def _number(value: float | Floats) -> Node:
    return ops.constant(np.asarray(value, np.float32))


def _dequantized(weight: Floats, scale: Floats) -> Node:
    return ops.multiply(ops.convert(ops.constant(weight), "f32"), ops.constant(scale))


def _named_sum(node: Node, bias: Floats, name: str) -> Node:
    node.set_friendly_name(name)
    if not bias.any():
        return node
    total = ops.add(node, ops.constant(bias))
    total.set_friendly_name(f"{name}/bias")
    return total


def _interpolate(x: Node, target: Node, meaning: str, mode: Interpolation) -> Node:
    return ops.interpolate(
        x,
        target,
        "linear_onnx" if mode == "bilinear" else "nearest",
        meaning,
        coordinate_transformation_mode="half_pixel" if mode == "bilinear" else "asymmetric",
        nearest_mode="floor",
        axes=ops.constant(np.array(SPATIAL)),
    )
