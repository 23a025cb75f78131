"""Our operators as TensorRT takes them: QuantizeLinear and DequantizeLinear side by side, int8, zero point 0.

So what stands for an integer is its value, ``step * integer``. Layers are ``Conv`` and ``MatMul`` of such values, with
constant float biases. Grids with fewer points than a byte end before QuantizeLinear: nothing stands between the two.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.export import ExportedProgram

from srquant.deploy.export.graph_tools import aten, ours
from srquant.deploy.export.operators import step_of
from srquant.deploy.onnx.float_operators import FloatOperators
from srquant.deploy.onnx.nodes import Value, constant, make, number
from srquant.deploy.tensorrt.signed_codes import LARGEST, SMALLEST


class SignedOperators:
    """Functions that build our operators, for one export.

    Args:
        program: made of a graph after ``sign_codes``.

    Attributes:
        floats: build what isn't quantized.
        steps: of the values that stand for integers.
    """

    def __init__(self, program: ExportedProgram) -> None:
        self.floats = FloatOperators(program)
        self.steps: dict[Value, float] = {}

    def table(self) -> dict[Any, Callable[..., Value]]:
        """By operator: the function that builds it, for ``torch.onnx.export``."""
        own = (
            self.quantize,
            self.dequantize,
            self.integer_conv2d,
            self.integer_linear,
            self.quantize_operand,
            self.integer_matmul,
            self.block_shuffle,
        )
        built: dict[Any, Callable[..., Value]] = {getattr(ours, build.__name__).default: build for build in own}
        return self.floats.table() | built | {aten.pixel_shuffle.default: self.pixel_shuffle}

    def quantize(self, x: Value, lower: float, upper: float, levels: int, zero_point: int) -> Value:
        """Integers ``k - zero_point``."""
        return self._points(x, lower, upper, levels, -zero_point)

    def quantize_operand(self, x: Value, lower: float, upper: float, levels: int, first: int, unsigned: bool) -> Value:
        """Integers from ``first`` on, signed for either operand."""
        return self._points(x, lower, upper, levels, first)

    def dequantize(
        self, points: Value, lower: float, upper: float, levels: int, zero_point: int, offset: float, apart: bool
    ) -> Value:
        """They are values already."""
        return make("Add", points, number(offset)) if offset else points

    def integer_conv2d(self, points: Value, weight: Value, scale: Value, bias: Value, *rest: Any) -> Value:
        """A convolution whose operands runtimes see as bytes."""
        return self.floats.conv2d(points, self._weight(points, self.floats.array(weight), scale, 0), bias, *rest)

    def integer_linear(self, points: Value, weight: Value, scale: Value, bias: Value, name: str) -> Value:
        """A linear layer whose operands runtimes see as bytes."""
        transposed = np.ascontiguousarray(self.floats.array(weight).T)
        return make("Add", self.floats.matmul(points, self._weight(points, transposed, scale, 1), name), bias)

    def integer_matmul(
        self,
        left: Value,
        right: Value,
        steps: Sequence[float],
        offsets: Sequence[float],
        lattice: float | None,
        name: str,
    ) -> Value:
        """``(a + o)(b + p) = a b + o sum(b) + p sum(a + o)``; terms of offsets that are zero are left out."""
        total = self.floats.matmul(left, right, name)
        for offset, points, axis in ((offsets[0], right, -2), (offsets[1], make("Add", left, number(offsets[0])), -1)):
            if offset:
                sums = make("ReduceSum", points, constant(np.array([axis])), keepdims=1)
                total = make("Add", total, make("Mul", sums, number(offset)))
        return total

    def pixel_shuffle(self, x: Value, upscale_factor: int) -> Value:
        """ONNX has it."""
        return make("DepthToSpace", x, blocksize=upscale_factor, mode="CRD")

    def block_shuffle(self, x: Value, factor: int) -> Value:
        """ONNX has it, as another order of channels."""
        return make("DepthToSpace", x, blocksize=factor, mode="DCR")

    def _points(self, x: Value, lower: float, upper: float, levels: int, first: int) -> Value:
        step, last = step_of(lower, upper, levels), first + levels - 1
        offset = lower - step * first
        values = make("Sub", x, number(offset)) if offset else x
        if (first, last) != (SMALLEST, LARGEST):
            values = make("Clip", values, number(step * first), number(step * last))
        points = number(step), constant(np.array(0, np.int8))
        result = make("DequantizeLinear", make("QuantizeLinear", values, *points), *points)
        self.steps[result] = step
        return result

    def _weight(self, points: Value, weight: NDArray[np.int8], scale: Value, axis: int) -> Value:
        """Weights as values; ``scale``, that of sums of integers, is divided by the step of the points."""
        scales = (self.floats.array(scale) / np.float64(self.steps[points])).astype(np.float32)
        zeros = constant(np.zeros(len(scales), np.int8))
        return make("DequantizeLinear", constant(weight), constant(scales), zeros, axis=axis)
