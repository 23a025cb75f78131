"""Our operators in OpenVINO: for each, the function that builds it.

Integers ``k - z`` are outputs of FakeQuantize; low-precision passes of the CPU plug-in then compute on bytes. The
layer's name becomes the name of its convolution or matrix product; nodes that the plug-in may fuse into it are named
``NAME/...``.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import openvino.opset13 as ops
from numpy.typing import NDArray
from openvino import Node
from openvino.frontend.pytorch import ConversionExtension

from srquant.deploy.export.operators import NAMESPACE, step_of

BYTE_LEVELS = (16, 256)
"""With these numbers of levels FakeQuantize gives bytes. With others it gives floats, which a second one of 256
levels turns into bytes.

A clamp followed by one FakeQuantize of 256 levels would be cheaper. But the plug-in (2026.4) computes a sequence of sum
with one number per channel, clamp and FakeQuantize wrongly: it uses the first channel's number for all channels. For
the same reason numbers per channel that are added before FakeQuantize become part of its bounds.
"""

MOST_LEVELS = BYTE_LEVELS[-1]

Array = NDArray[Any]


class Call:
    """A call of an operator while a graph is converted.

    Args:
        context: of the conversion.
    """

    def __init__(self, context: Any) -> None:
        self.context = context

    def value(self, index: int) -> Node:
        """An argument that the picture decides."""
        return self.context.get_input(index)

    def array(self, index: int) -> Array:
        """A constant tensor."""
        node = self.context.get_input(index).get_node()
        while node.get_type_name() == "Convert":
            node = node.input_value(0).get_node()
        return np.asarray(node.get_data())

    def numbers(self, start: int) -> list[Any]:
        """Constant numbers from an argument to the last one."""
        return [self.array(index).item() for index in range(start, self.context.get_input_size())]

    def integers(self, index: int) -> list[int]:
        """A constant list of integers."""
        return [int(number) for number in self.array(index).reshape(-1)]

    def name(self, index: int) -> str:
        """A constant text."""
        return self.array(index).tobytes().decode()


def extensions(pair_saturation: bool) -> list[ConversionExtension]:
    """What OpenVINO's front end needs to know about our operators.

    Args:
        pair_saturation: whether the target processor lacks VNNI. 16 levels may become signed bytes, to which kernels
            for such processors add 128 before they multiply; so only 256 levels are used as bytes there.
    """
    grids = Grids(BYTE_LEVELS[1:] if pair_saturation else BYTE_LEVELS)
    table: dict[str, Callable[[Call], Node]] = {
        **LAYERS,
        "quantize": grids.quantize,
        "quantize_channels": grids.quantize_channels,
    }
    ours = [_extension(f"{NAMESPACE}.{name}.default", build) for name, build in table.items()]
    return [*ours, *(_extension(name, build) for name, build in LIBRARY.items())]


def _extension(name: str, build: Callable[[Call], Node]) -> ConversionExtension:
    return ConversionExtension(name, lambda context: build(Call(context)).outputs())


class Grids:
    """Quantization of the inputs of frozen layers.

    Args:
        byte_levels: numbers of levels with which FakeQuantize gives bytes.
    """

    def __init__(self, byte_levels: tuple[int, ...]) -> None:
        self.byte_levels = byte_levels

    def quantize(self, call: Call) -> Node:
        """One grid for all values."""
        first, step = np.zeros(1, np.float32), np.ones(1, np.float32)
        return self._quantize(call.value(0), first, step, *call.numbers(1))

    def quantize_channels(self, call: Call) -> Node:
        """The channels' lower bounds and steps are part of FakeQuantize's bounds."""
        return self._quantize(call.value(0), call.array(1)[None], call.array(2)[None], *call.numbers(3))

    def _quantize(
        self, x: Node, first: Array, step: Array, lower: float, upper: float, levels: int, zero_point: int
    ) -> Node:
        last = levels - 1
        low, high = first + step * lower, first + step * (lower + last * step_of(lower, upper, levels))
        codes = _fake_quantize(x, levels, (low, high, -zero_point, last - zero_point))
        return codes if levels in self.byte_levels else _bytes(codes, -zero_point, zero_point)


def _requantize(call: Call) -> Node:
    """With a separate rounding it runs as one operation on bytes."""
    factor, shift, levels, zero_point = call.numbers(1)
    position = ops.add(ops.multiply(call.value(0), _number(factor)), _number(shift))
    return _bytes(ops.round(ops.clamp(position, 0.0, levels - 1.0), "half_to_even"), 0, zero_point)


def _dequantize(call: Call) -> Node:
    """Rounding keeps FakeQuantize from being merged with a convolution, which would change integers (2026.4)."""
    lower, upper, levels, _, offset, apart = call.numbers(1)
    integers = ops.round(call.value(0), "half_to_even") if apart else call.value(0)
    return _affine(integers, step_of(lower, upper, levels), offset)


def _pieces(call: Call) -> Node:
    """Sum over regions: a region adds 0 for values below it, its width for values above, else the nearest point."""
    edges = call.array(1)
    total = _number(edges[0])
    for (start, end), count in zip(pairwise(edges), call.integers(2), strict=True):
        total = ops.add(total, _fake_quantize(call.value(0), count, (start, end, 0.0, end - start)))
    return total


def _integer_conv2d(call: Call) -> Node:
    groups = call.integers(7)[0]
    weight, scale = _grouped(call.array(1), groups), _grouped(call.array(2).reshape(-1, 1, 1, 1), groups)
    return _convolution(call, _dequantized(weight, scale), call.array(3), 4)


def _integer_linear(call: Call) -> Node:
    weight = _dequantized(call.array(1), call.array(2).reshape(-1, 1))
    return _named_sum(ops.matmul(call.value(0), weight, False, True), call.array(3), call.name(4))


def _conv2d(call: Call) -> Node:
    return _convolution(call, ops.constant(_grouped(call.array(1), call.integers(6)[0])), call.array(2), 3)


def _linear(call: Call) -> Node:
    product = ops.matmul(call.value(0), ops.constant(call.array(1)), False, True)
    return _named_sum(product, call.array(2), call.name(3))


def _convolution(call: Call, weight: Node, bias: Array, start: int) -> Node:
    """Geometry and name are the arguments from ``start`` on."""
    stride, padding, dilation, groups = (call.integers(start + i) for i in range(4))
    convolve = ops.convolution if groups == [1] else ops.group_convolution
    node = convolve(call.value(0), weight, stride, padding, padding, dilation)
    return _named_sum(node, bias.reshape(1, -1, 1, 1), call.name(start + 4))


def _matmul(call: Call) -> Node:
    return _product(call.value(0), call.value(1), call.name(2))


def _quantize_operand(call: Call) -> Node:
    lower, upper, levels, first, _ = call.numbers(1)
    integers = _fake_quantize(call.value(0), levels, (lower, upper, first, first + levels - 1))
    return integers if levels == MOST_LEVELS else _whole_bytes(integers, signed=first < 0)


def _integer_matmul(call: Call) -> Node:
    """See ``IntegerMatmul`` for the formula; terms of offsets that are zero are left out."""
    left, right = call.value(0), call.value(1)
    (left_step, right_step), (left_offset, right_offset), name = call.array(2), call.array(3), call.name(5)
    values = ops.multiply(_product(left, right, name), _number(left_step * right_step))
    values.set_friendly_name(f"{name}/scale")
    if left_offset:
        sums = ops.reduce_sum(right, ops.constant([-2]), True)
        values = ops.add(values, ops.multiply(sums, _number(left_offset * right_step)))
    if right_offset:
        sums = ops.reduce_sum(_affine(left, left_step, left_offset), ops.constant([-1]), True)
        values = ops.add(values, ops.multiply(sums, _number(right_offset)))
    return values


def _product(left: Node, right: Node, name: str) -> Node:
    product = ops.matmul(left, right, False, False)
    product.set_friendly_name(name)
    return product


def _block_shuffle(call: Call) -> Node:
    return ops.depth_to_space(call.value(0), "blocks_first", call.integers(1)[0])


def _roll(call: Call) -> Node:
    """Two parts of an axis change places; low-precision passes (2026.4) don't know ``Roll``."""
    moved = call.value(0)
    for shift, axis in zip(call.integers(1), call.integers(2), strict=True):
        lengths = [-1, shift] if shift > 0 else [-shift, -1]
        parts = ops.variadic_split(moved, ops.constant(axis), ops.constant(lengths)).outputs()
        moved = ops.concat(parts[::-1], axis)
    return moved


LAYERS: dict[str, Callable[[Call], Node]] = {
    "requantize": _requantize,
    "dequantize": _dequantize,
    "pieces": _pieces,
    "integer_conv2d": _integer_conv2d,
    "integer_linear": _integer_linear,
    "conv2d": _conv2d,
    "linear": _linear,
    "matmul": _matmul,
    "quantize_operand": _quantize_operand,
    "dequantize_operand": lambda call: _affine(call.value(0), *call.numbers(1)),
    "integer_matmul": _integer_matmul,
    "block_shuffle": _block_shuffle,
}
"""By the name of an operator; all but those that depend on the processor."""


LIBRARY: dict[str, Callable[[Call], Node]] = {
    "aten.pixel_shuffle.default": lambda call: ops.depth_to_space(call.value(0), "depth_first", call.integers(1)[0]),
    "aten.roll.default": _roll,
    "aten.prelu.default": lambda call: ops.prelu(call.value(0), call.value(1)),
}
"""PyTorch's operators that OpenVINO (2026.4) can't convert, or only to something slower."""


def _grouped(values: Array, groups: int) -> Array:
    return values if groups == 1 else values.reshape(groups, -1, *values.shape[1:])


def _affine(integers: Node, step: float, offset: float) -> Node:
    scaled = ops.multiply(integers, _number(step))
    return ops.add(scaled, _number(offset)) if offset else scaled


def _fake_quantize(x: Node, levels: int, bounds: tuple[float | Array, ...]) -> Node:
    """``bounds``: smallest and largest input, smallest and largest output."""
    return ops.fake_quantize(x, *(_number(bound) for bound in bounds), levels)


def _bytes(integers: Node, first: int, zero_point: int) -> Node:
    """Bytes from integers ``first`` .. ``first + 255``; ``first`` becomes ``-zero_point``."""
    last = MOST_LEVELS - 1
    return _fake_quantize(integers, MOST_LEVELS, (first, first + last, -zero_point, last - zero_point))


def _whole_bytes(integers: Node, signed: bool) -> Node:
    """Bytes from integers in 0..255, or in -128..127 if ``signed``; values stay the same."""
    first, last = (-128, 127) if signed else (0, 255)
    return _fake_quantize(integers, MOST_LEVELS, (first, last, first, last))


def _number(value: float | Array) -> Node:
    return ops.constant(np.asarray(value, np.float32))


def _dequantized(weight: Array, scale: Array) -> Node:
    return ops.multiply(ops.convert(ops.constant(weight), "f32"), ops.constant(scale))


def _named_sum(node: Node, bias: Array, name: str) -> Node:
    node.set_friendly_name(name)
    if not bias.any():
        return node
    total = ops.add(node, ops.constant(bias))
    total.set_friendly_name(f"{name}/bias")
    return total
