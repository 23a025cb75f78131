"""``Backend`` that builds an ONNX graph with QuantizeLinear and DequantizeLinear.

Integers ``k - z`` are represented by uint8 ``k``; ``zero_points`` has the name of ``z`` for each such value.
"""
# ruff: noqa: D102 - ``Backend`` documents the operations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from srquant.deploy.export.backend import Activation, Arithmetic, Extreme, Floats, Interpolation
from srquant.deploy.export.nodes import IntegerConv2d, IntegerLinear
from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.matmul import OperandGrid
from srquant.models.blocks.conv_geometry import ConvGeometry

_ARITHMETIC: dict[Arithmetic, str] = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "modulus": "Mod",
    "minimum": "Min",
    "maximum": "Max",
}
_ACTIVATIONS: dict[Activation, str] = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}

BYTE_LEVELS = 256


class OnnxBackend:
    """Collects nodes and initializers; values are names."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.zero_points: dict[str, str] = {}

    def constant(self, values: NDArray[Any]) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def arithmetic(self, operation: Arithmetic, a: str, b: str) -> str:
        return self._node(_ARITHMETIC[operation], a, b)

    def activation(self, function: Activation, x: str) -> str:
        if function == "gelu":
            return self._gelu(x)
        return self._node(_ACTIVATIONS[function], x)

    def prelu(self, x: str, slopes: Floats) -> str:
        return self._node("PRelu", x, self.constant(slopes.reshape(-1, 1, 1)))

    def conv(self, x: str, weight: Floats, bias: Floats, geometry: ConvGeometry, name: str) -> str:
        return self._node("Conv", x, self.constant(weight), self.constant(bias), name=name, **_geometry(geometry))

    def linear(self, x: str, weight: Floats, bias: Floats, name: str) -> str:
        product = self._node("MatMul", x, self.constant(np.ascontiguousarray(weight.T)), name=name)
        return self._node("Add", product, self.constant(bias))

    def quantize(self, x: str, grid: FrozenGrid) -> str:
        if grid.offset:
            x = self._node("Sub", x, self._number(grid.offset))
        zero_point = self.constant(np.array(grid.zero_point, np.uint8))
        codes = self._node("QuantizeLinear", x, self._number(grid.step), zero_point)
        if grid.levels < BYTE_LEVELS:
            limits = (self.constant(np.array(limit, np.uint8)) for limit in (0, grid.levels - 1))
            codes = self._node("Clip", codes, *limits)
        self.zero_points[codes] = zero_point
        return codes

    def points(self, x: str, grid: FrozenGrid) -> str:
        return self.dequantize(self.quantize(x, grid), grid.step, grid.offset)

    def pieces(self, x: str, edges: Floats, levels: Sequence[int]) -> str:
        """Sum over regions: a region adds 0 for values below it, its width for values above, else the nearest point."""
        total = self._number(edges[0])
        for (start, end), count in zip(pairwise(edges), levels, strict=True):
            step = self._number((end - start) / (count - 1))
            inside = self._node("Clip", x, self._number(start), self._number(end))
            position = self._node("Div", self._node("Sub", inside, self._number(start)), step)
            total = self._node("Add", total, self._node("Mul", self._node("Round", position), step))
        return total

    def quantize_channels(self, x: str, grid: FrozenGrid, lower: Floats, step: Floats) -> str:
        shifted = self._node("Sub", x, self.constant(lower))
        return self.quantize(self._node("Div", shifted, self.constant(step)) if (step != 1).any() else shifted, grid)

    def pad(self, x: str, padding: tuple[int, int]) -> str:
        return self._node("Pad", x, self.constant(np.array([0, 0, *padding] * 2)))

    def dequantize(self, integers: str, step: float, offset: float) -> str:
        scaled = self._node("DequantizeLinear", integers, self._number(step), self.zero_points[integers])
        return self._node("Add", scaled, self._number(offset)) if offset else scaled

    def apart(self, integers: str) -> str:
        return integers

    def integer_conv(self, integers: str, layer: IntegerConv2d, name: str) -> str:
        weight = self._weight(layer.weight.numpy(), layer.scale.numpy(), axis=0)
        values = self.dequantize(integers, 1.0, 0.0)
        product = self._node("Conv", values, weight, name=name, **_geometry(layer.geometry))
        return self._node("Add", product, self.constant(layer.bias.numpy().reshape(1, -1, 1, 1)))

    def integer_linear(self, integers: str, layer: IntegerLinear, name: str) -> str:
        weight = self._weight(np.ascontiguousarray(layer.weight.numpy().T), layer.scale.numpy(), axis=1)
        product = self._node("MatMul", self.dequantize(integers, 1.0, 0.0), weight, name=name)
        return self._node("Add", product, self.constant(layer.bias.numpy()))

    def pixel_shuffle(self, x: str, factor: int) -> str:
        return self._shuffle(x, factor, "CRD")

    def block_shuffle(self, x: str, factor: int) -> str:
        return self._shuffle(x, factor, "DCR")

    def max_pool(self, x: str, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> str:
        return self._node("MaxPool", x, kernel_shape=kernel, strides=stride, pads=padding * 2)

    def mean(self, x: str) -> str:
        return self._node("GlobalAveragePool", x)

    def resize(self, x: str, scale: float, mode: Interpolation) -> str:
        scales = self.constant(np.array([1, 1, scale, scale], np.float32))
        return self._node("Resize", x, "", scales, **_interpolation(mode))

    def resize_like(self, x: str, other: str, mode: Interpolation) -> str:
        start = [self.constant(np.array([n])) for n in (0, 2, 4)]
        own = self._node("Slice", self._node("Shape", x), start[0], start[1])
        target = self._node("Slice", self._node("Shape", other), start[1], start[2])
        return self._node("Resize", x, "", "", self._node("Concat", own, target, axis=0), **_interpolation(mode))

    def concatenate(self, values: list[str]) -> str:
        return self._node("Concat", *values, axis=1)

    def part(self, x: str, axis: int, start: int, stop: int | str) -> str:
        end = self._integer(stop) if isinstance(stop, int) else stop
        return self._node("Slice", x, self._integer(start), end, self._integer(axis))

    def extent(self, x: str, axis: int) -> str:
        return self._node("Gather", self._node("Shape", x), self._integer(axis), axis=0)

    def positions(self, length: str) -> str:
        stop = self._node("Squeeze", length, self._integer(0))
        return self._node("Range", self.constant(np.array(0)), stop, self.constant(np.array(1)))

    def to_float(self, integers: str) -> str:
        return self._node("Cast", integers, to=TensorProto.FLOAT)

    def reshape(self, x: str, shape: Sequence[int | str]) -> str:
        sizes = [self._integer(size) if isinstance(size, int) else size for size in shape]
        return self._node("Reshape", x, self._node("Concat", *sizes, axis=0))

    def transpose(self, x: str, order: Sequence[int]) -> str:
        return self._node("Transpose", x, perm=list(order))

    def gather(self, x: str, indices: str, axis: int) -> str:
        return self._node("Gather", x, indices, axis=axis)

    def total(self, x: str, axis: int) -> str:
        return self._node("ReduceSum", x, self._integer(axis), keepdims=1)

    def extreme(self, x: str, which: Extreme, axes: Sequence[int]) -> str:
        return self._node("ReduceMin" if which == "smallest" else "ReduceMax", x, axes=axes, keepdims=1)

    def softmax(self, x: str) -> str:
        return self._node("Softmax", x, axis=-1)

    def layer_norm(self, x: str, weight: Floats, bias: Floats, epsilon: float) -> str:
        centred = self._node("Sub", x, self._node("ReduceMean", x, axes=[-1], keepdims=1))
        square = self._node("Pow", centred, self._number(2.0))
        variance = self._node("ReduceMean", square, axes=[-1], keepdims=1)
        spread = self._node("Sqrt", self._node("Add", variance, self._number(epsilon)))
        scaled = self._node("Mul", self._node("Div", centred, spread), self.constant(weight))
        return self._node("Add", scaled, self.constant(bias))

    def matmul(self, a: str, b: str, name: str) -> str:
        return self._node("MatMul", a, b, name=name)

    def quantize_operand(self, x: str, operand: OperandGrid) -> str:
        shifted = self._node("Sub", x, self._number(float(operand.grid.lower) - operand.first * operand.grid.step))
        kind = np.int8 if operand.first < 0 else np.uint8
        zero = self.constant(np.array(0, kind))
        integers = self._node("QuantizeLinear", shifted, self._number(operand.grid.step), zero)
        if operand.grid.levels < BYTE_LEVELS:
            last = operand.first + operand.grid.levels - 1
            limits = (self.constant(np.array(limit, kind)) for limit in (operand.first, last))
            integers = self._node("Clip", integers, *limits)
        self.zero_points[integers] = zero
        return integers

    def dequantize_operand(self, integers: str, step: float, offset: float) -> str:
        return self.dequantize(integers, step, offset)

    def integer_matmul(self, left: str, right: str, scale: float, name: str) -> str:
        return self.matmul(self.dequantize(left, scale, 0.0), self.dequantize(right, 1.0, 0.0), name)

    def _gelu(self, x: str) -> str:
        bell = self._node("Erf", self._node("Div", x, self._number(math.sqrt(2.0))))
        return self._node("Mul", self._node("Mul", x, self._node("Add", bell, self._number(1.0))), self._number(0.5))

    def _shuffle(self, x: str, factor: int, mode: str) -> str:
        shuffled = self._node("DepthToSpace", x, blocksize=factor, mode=mode)
        if x in self.zero_points:
            self.zero_points[shuffled] = self.zero_points[x]
        return shuffled

    def _weight(self, integers: NDArray[np.int8], scale: Floats, axis: int) -> str:
        zeros = self.constant(np.zeros(len(scale), np.int8))
        return self._node("DequantizeLinear", self.constant(integers), self.constant(scale), zeros, axis=axis)

    def _integer(self, value: int) -> str:
        return self.constant(np.array([value]))

    def _number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def _node(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        output = f"value_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(
                operator, inputs, [output], name=output if name is None else f"{output} {name}", **attributes
            )
        )
        return output


def _geometry(geometry: ConvGeometry) -> dict[str, Any]:
    return {
        "strides": geometry.stride,
        "pads": geometry.padding * 2,
        "dilations": geometry.dilation,
        "group": geometry.groups,
    }


def _interpolation(mode: Interpolation) -> dict[str, str]:
    if mode == "bilinear":
        return {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
