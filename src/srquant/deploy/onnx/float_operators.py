"""What isn't quantized, in ONNX: layers of ours in float, and operators of PyTorch that its exporter can't do."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray
from torch.export import ExportedProgram

from srquant.deploy.export.graph_tools import aten, ours
from srquant.deploy.export.operators import step_of
from srquant.deploy.onnx.integer_conv import window
from srquant.deploy.onnx.nodes import Value, constant, make, number
from srquant.models.blocks.conv_geometry import ConvGeometry


class FloatOperators:
    """Functions that build float operators, for one export.

    Args:
        program: the exported program, whose constants they read.

    Attributes:
        names: of the layer that a node computes.
    """

    def __init__(self, program: ExportedProgram) -> None:
        stored = program.state_dict | program.constants
        inputs = program.graph_signature.input_specs
        self.constants = {one.arg.name: stored[one.target] for one in inputs if one.target in stored}
        self.names: list[tuple[onnx_ir.Node, str]] = []

    def table(self) -> dict[Any, Callable[..., Value]]:
        """By operator: the function that builds it, for ``torch.onnx.export``."""
        library: dict[Any, Callable[..., Value]] = {aten.remainder.Scalar: _remainder, aten.copy.default: _copy}
        own = self.pieces, self.conv2d, self.linear, self.matmul
        return library | {getattr(ours, build.__name__).default: build for build in own}

    def name_layers(self) -> None:
        """Name layers; the exporter takes names from PyTorch's graph."""
        for index, (node, name) in enumerate(self.names):
            node.name = f"layer_{index} {name}"

    def pieces(self, x: Value, edges: Sequence[float], levels: Sequence[int]) -> Value:
        """Sum over regions: a region adds 0 for values below it, its width for values above, else the nearest point."""
        total = number(edges[0])
        for (start, end), count in zip(pairwise(edges), levels, strict=True):
            step = number(step_of(start, end, count))
            position = make("Div", make("Sub", make("Clip", x, number(start), number(end)), number(start)), step)
            total = make("Add", total, make("Mul", make("Round", position), step))
        return total

    def conv2d(
        self,
        x: Value,
        weight: Value,
        bias: Value,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        name: str,
    ) -> Value:
        """A float convolution."""
        return self.named(
            make("Conv", x, weight, bias, **window(geometry_from(stride, padding, dilation, groups))), name
        )

    def linear(self, x: Value, weight: Value, bias: Value, name: str) -> Value:
        """A float linear layer."""
        return make(
            "Add", self.named(make("MatMul", x, constant(np.ascontiguousarray(self.array(weight).T))), name), bias
        )

    def matmul(self, a: Value, b: Value, name: str) -> Value:
        """A float product."""
        return self.named(make("MatMul", a, b), name)

    def array(self, value: Value) -> NDArray[Any]:
        """The values of a constant of the traced graph."""
        return self.constants[value.name].detach().numpy()  # type: ignore[no-any-return]

    def named(self, result: Value, name: str) -> Value:
        """The result of a layer, whose node will get its name."""
        node = result.producer()
        assert node is not None
        self.names.append((node, name))
        return result


def _remainder(x: Value, divisor: Value | int) -> Value:
    """The exporter (PyTorch 2.13) takes constant divisors only."""
    return make("Mod", x, divisor)


def _copy(target: Value, values: Value, non_blocking: bool = False) -> Value:
    """The exporter (PyTorch 2.13) forgets that values are extended to the shape of what they replace."""
    return make("Expand", make("CastLike", values, target), make("Shape", target))


def geometry_from(stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int) -> ConvGeometry:
    """The arguments of an operator."""
    (down, right), (above, left), (rows, columns) = stride, padding, dilation
    return ConvGeometry((down, right), (above, left), (rows, columns), groups)
