"""Our operators in ONNX: QuantizeLinear and DequantizeLinear around float operators, which runtimes make integer.

Integers ``k - z`` are represented by uint8 ``k``; ``Translation`` remembers ``z`` of each such value.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray
from torch.export import ExportedProgram

from srquant.deploy.export.graph_tools import aten, ours
from srquant.deploy.export.operators import step_of
from srquant.deploy.onnx.channels_last import shuffle_blocks
from srquant.deploy.onnx.float_operators import FloatOperators, geometry_from
from srquant.deploy.onnx.integer_conv import Conv, IntegerConvs, split_bias, window
from srquant.deploy.onnx.nodes import Value, constant, make, number

BYTE_LEVELS = 256


class Translation:
    """Functions that build our operators, for one export.

    Args:
        program: the exported program, whose constants they read.
        pair_saturation: whether the target processor saturates sums of two products of unsigned and signed bytes.

    Attributes:
        floats: build what isn't quantized.
        zero_points: of values that are codes.
    """

    def __init__(self, program: ExportedProgram, pair_saturation: bool) -> None:
        self.floats = FloatOperators(program)
        self.convs = IntegerConvs(unsigned_weights=pair_saturation)
        self.zero_points: dict[Value, NDArray[Any]] = {}

    def table(self) -> dict[Any, Callable[..., Value]]:
        """By operator: the function that builds it, for ``torch.onnx.export``."""
        own = (
            self.quantize,
            self.quantize_channels,
            self.dequantize,
            self.integer_conv2d,
            self.conv2d_to_codes,
            self.integer_linear,
            self.quantize_operand,
            self.dequantize_operand,
            self.integer_matmul,
            self.block_shuffle,
        )
        built: dict[Any, Callable[..., Value]] = {getattr(ours, build.__name__).default: build for build in own}
        return self.floats.table() | built | {aten.pixel_shuffle.default: self.pixel_shuffle}

    def finish(self) -> None:
        """Name layers, and give codes their type; the exporter takes both from PyTorch's graph."""
        self.floats.name_layers()
        for codes, zero_point in self.zero_points.items():
            codes.dtype = onnx_ir.DataType.from_numpy(zero_point.dtype)

    def quantize(self, x: Value, lower: float, upper: float, levels: int, zero_point: int) -> Value:
        """Codes, clipped to those of fewer than 8 bits."""
        step = step_of(lower, upper, levels)
        offset = lower + step * zero_point
        shifted = make("Sub", x, number(offset)) if offset else x
        return self._codes(shifted, step, np.array(zero_point, np.uint8), 0, levels)

    def quantize_channels(
        self, x: Value, first: Value, step: Value, lower: float, upper: float, levels: int, zero_point: int
    ) -> Value:
        """The channels are scaled first."""
        shifted = make("Sub", x, first)
        scaled = make("Div", shifted, step) if (self.floats.array(step) != 1).any() else shifted
        return self.quantize(scaled, lower, upper, levels, zero_point)

    def dequantize(
        self, integers: Value, lower: float, upper: float, levels: int, zero_point: int, offset: float, apart: bool
    ) -> Value:
        """Codes to values."""
        return self.dequantize_operand(integers, step_of(lower, upper, levels), offset)

    def integer_conv2d(
        self,
        integers: Value,
        weight: Value,
        scale: Value,
        bias: Value,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        name: str,
    ) -> Value:
        """Whole sums, so that what follows gets all of their bits."""
        geometry = geometry_from(stride, padding, dilation, groups)
        factor = self.floats.array(scale)
        parts = factor, *split_bias(self.floats.array(bias), factor), geometry
        values, multiplied = self.convs.build(
            Conv(integers, self.zero_points[integers], self.floats.array(weight), *parts)
        )
        self.floats.named(multiplied, name)
        return values

    def conv2d_to_codes(
        self,
        integers: Value,
        weight: Value,
        factor: Value,
        bias: Value,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        name: str,
        smallest: int,
        largest: int,
    ) -> Value:
        """A convolution between quantizers, which runtimes join. Code 0 is the smallest integer: bytes clip there."""
        values = self.dequantize_operand(integers, 1.0, 0.0)
        added = make("DequantizeLinear", bias, factor, axis=0)
        attributes = window(geometry_from(stride, padding, dilation, groups))
        product = self.floats.named(make("Conv", values, self._weight(weight, factor, 0), added, **attributes), name)
        return self._codes(product, 1.0, np.array(-smallest, np.uint8), 0, largest - smallest + 1)

    def integer_linear(self, integers: Value, weight: Value, scale: Value, bias: Value, name: str) -> Value:
        """A linear layer whose operands runtimes see as bytes."""
        values = self.dequantize_operand(integers, 1.0, 0.0)
        transposed = constant(np.ascontiguousarray(self.floats.array(weight).T))
        return make("Add", self.floats.named(make("MatMul", values, self._weight(transposed, scale, 1)), name), bias)

    def quantize_operand(self, x: Value, lower: float, upper: float, levels: int, first: int, unsigned: bool) -> Value:
        """Unsigned codes from 0 on with a zero point, or signed ones: runtimes multiply unsigned by signed bytes."""
        step = step_of(lower, upper, levels)
        shifted = make("Sub", x, number(lower - step * first))
        if unsigned:
            return self._codes(shifted, step, np.array(-first, np.uint8), 0, levels)
        return self._codes(shifted, step, np.array(0, np.int8), first, levels)

    def dequantize_operand(self, integers: Value, step: float, offset: float) -> Value:
        """Codes to values."""
        scaled = make("DequantizeLinear", integers, number(step), constant(self.zero_points[integers]))
        return make("Add", scaled, number(offset)) if offset else scaled

    def integer_matmul(
        self,
        left: Value,
        right: Value,
        steps: Sequence[float],
        offsets: Sequence[float],
        lattice: float | None,
        name: str,
    ) -> Value:
        """See ``IntegerMatmul`` for the formula; terms of offsets that are zero are left out."""
        values = self.dequantize_operand(left, steps[0] * steps[1], 0.0), self.dequantize_operand(right, 1.0, 0.0)
        total = self.floats.named(make("MatMul", *values), name)
        if offsets[0]:
            sums = make("ReduceSum", values[1], constant(np.array([-2])), keepdims=1)
            total = make("Add", total, make("Mul", sums, number(offsets[0] * steps[1])))
        if offsets[1]:
            sums = make(
                "ReduceSum", self.dequantize_operand(left, steps[0], offsets[0]), constant(np.array([-1])), keepdims=1
            )
            total = make("Add", total, make("Mul", sums, number(offsets[1])))
        return total

    def pixel_shuffle(self, x: Value, upscale_factor: int) -> Value:
        """Of values or of codes."""
        return self._keeps_zero(x, make("DepthToSpace", x, blocksize=upscale_factor, mode="CRD"))

    def block_shuffle(self, x: Value, factor: int) -> Value:
        """Of values or of codes; those of the layers around are kept with channels last."""
        return self._keeps_zero(x, shuffle_blocks(x, factor))

    def _weight(self, weight: Value, scale: Value, axis: int) -> Value:
        zeros = constant(np.zeros(len(self.floats.array(scale)), np.int8))
        return make("DequantizeLinear", weight, scale, zeros, axis=axis)

    def _codes(self, shifted: Value, step: float, zero_point: NDArray[Any], first: int, levels: int) -> Value:
        codes = make("QuantizeLinear", shifted, number(step), constant(zero_point))
        if levels < BYTE_LEVELS:
            limits = (constant(np.array(limit, zero_point.dtype)) for limit in (first, first + levels - 1))
            codes = make("Clip", codes, *limits)
        self.zero_points[codes] = zero_point
        return codes

    def _keeps_zero(self, x: Value, moved: Value) -> Value:
        """Codes that were moved have the zero point that they had before."""
        if x in self.zero_points:
            self.zero_points[moved] = self.zero_points[x]
        return moved
