"""The layers of a network's graph, float and frozen ones, made of our operators."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from srquant.deploy.export import operators
from srquant.deploy.export.pair_saturation import INT16_MAX, safe_on_pair_saturation
from srquant.deploy.frozen.channels import ChannelScaling
from srquant.deploy.frozen.dynamic import DynamicLayer, DynamicPoints
from srquant.deploy.frozen.grid import FrozenGrid, GridPoints
from srquant.deploy.frozen.layers import FrozenConv2d, FrozenLinear
from srquant.deploy.frozen.matmul import FrozenMatmul
from srquant.deploy.frozen.plq import PiecewisePoints
from srquant.deploy.frozen.sums import FrozenAdd, FrozenAddends
from srquant.errors import EngineError
from srquant.models.blocks.conv_geometry import ConvGeometry, geometry_of
from srquant.models.blocks.layers import Add, Matmul
from srquant.models.network import copy_sharing_tensors
from srquant.quantizers.dan import SMALLEST_WIDTH

aten: Any = torch.ops.aten

BYTE_LEVELS = 256
SIGNED_MARGIN = 8
"""OpenVINO takes 256 levels as signed bytes where the zero point is close to 128; this is wider than its margin."""


def lowered(graph: fx.GraphModule, pair_saturation: bool) -> fx.GraphModule:
    """A copy of a network's graph, whose tensors are the same, with our operators for its layers.

    Args:
        graph: of a float or frozen network, left unchanged.
        pair_saturation: whether the processor saturates sums of two products at 16 bits (see ``pair_saturation.py``);
            layers that could reach that get float weights.
    """
    result = copy_sharing_tensors(graph)
    for name, node in {str(node.target): node for node in graph.graph.nodes if node.op == "call_module"}.items():
        layer = graph.get_submodule(name)
        call = Call(name, node.all_input_nodes[0].meta["val"].dim(), pair_saturation)
        result.set_submodule(name, LOWERINGS[type(layer)](layer, call))
    return result


@dataclass(frozen=True)
class Call:
    """How a layer is called.

    Attributes:
        name: of the layer.
        rank: number of axes of its input.
        pair_saturation: as ``lowered``.
    """

    name: str
    rank: int
    pair_saturation: bool


def _call(operator: Any, *arguments: Any) -> Tensor:
    result: Tensor = operator(*arguments)
    return result


def _register(module: nn.Module, **tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        module.register_buffer(name, tensor.detach())


def grid_arguments(grid: FrozenGrid) -> tuple[float, float, int, int]:
    """Lower bound, upper bound, levels and zero point, as operators take them."""
    return float(grid.lower), float(grid.upper), grid.levels, grid.zero_point


class Quantize(nn.Module):
    """Values to the integers of a frozen layer's grid."""

    def __init__(self, grid: FrozenGrid, before: nn.Module | None, name: str) -> None:
        super().__init__()
        if not isinstance(before, ChannelScaling | PiecewisePoints | None):
            raise EngineError(f"layer '{name}' has a grid without a form in exports ({before}); engine 'torch' runs it")
        self.arguments = grid_arguments(grid)
        self.before = before
        self.edges = before.edges.tolist() if isinstance(before, PiecewisePoints) else []

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same, or to the padded one."""
        if isinstance(self.before, ChannelScaling):
            vertical, horizontal = self.before.padding
            sides = [horizontal, horizontal, vertical, vertical]
            padded = aten.constant_pad_nd.default(x, sides, 0.0) if any(sides) else x
            return _call(operators.quantize_channels, padded, self.before.lower, self.before.step, *self.arguments)
        if isinstance(self.before, PiecewisePoints):
            x = _call(operators.pieces, x, self.edges, list(self.before.levels))
        return _call(operators.quantize, x, *self.arguments)


class Layer(nn.Module):
    """A frozen convolution or linear layer: its quantizer, then integers; or float, where sums would saturate."""

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, layer: FrozenConv2d | FrozenLinear, name: str, in_float: bool) -> None:
        super().__init__()
        self.quantize = Quantize(layer.grid, layer.before, name)
        scale, bias = layer.output_scale(), layer.corrected_bias()
        geometry = None
        if isinstance(layer, FrozenConv2d):
            geometry = ConvGeometry(layer.stride, layer.padding, layer.dilation, layer.groups)
        weight = layer.weight
        if in_float:
            weight = weight.float() * (scale / layer.grid.step).view(-1, *[1] * (weight.dim() - 1))
        _register(self, weight=weight, scale=scale, bias=bias)
        self.geometry, self.name, self.in_float = geometry, name, in_float

    def forward(self, x: Tensor) -> Tensor:
        """As the frozen layer."""
        integers = self.quantize(x)
        window = () if self.geometry is None else _window(self.geometry)
        if self.in_float:
            values = _call(operators.dequantize, integers, *self.quantize.arguments, 0.0, False)
            layer = operators.linear if self.geometry is None else operators.conv2d
            return _call(layer, values, self.weight, self.bias, *window, self.name)
        integer_layer = operators.integer_linear if self.geometry is None else operators.integer_conv2d
        return _call(integer_layer, integers, self.weight, self.scale, self.bias, *window, self.name)


class FloatLayer(nn.Module):
    """A float convolution (with a geometry) or linear layer (without)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, geometry: ConvGeometry | None, name: str) -> None:
        super().__init__()
        _register(self, weight=weight, bias=torch.zeros(len(weight)) if bias is None else bias)
        self.geometry, self.name = geometry, name

    def forward(self, x: Tensor) -> Tensor:
        """As the float layer."""
        if self.geometry is None:
            return _call(operators.linear, x, self.weight, self.bias, self.name)
        return _call(operators.conv2d, x, self.weight, self.bias, *_window(self.geometry), self.name)


def _window(geometry: ConvGeometry) -> tuple[list[int], list[int], list[int], int]:
    return list(geometry.stride), list(geometry.padding), list(geometry.dilation), geometry.groups


class FloatProduct(nn.Module):
    """A float matrix product of two activations."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """As ``Matmul``."""
        return _call(operators.matmul, a, b, self.name)


class Product(nn.Module):
    """A matrix product of two activations on integers; or float, where sums would saturate."""

    def __init__(self, product: FrozenMatmul, name: str, in_float: bool) -> None:
        super().__init__()
        operands = product.left, product.right
        self.grids = [
            (*grid_arguments(operand.grid)[:3], operand.first, operand is product.left) for operand in operands
        ]
        self.steps = [operand.grid.step for operand in operands]
        self.offsets = [operand.offset for operand in operands]
        self.lattice, self.name, self.in_float = product.product.lattice, name, in_float

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """As ``FrozenMatmul``."""
        integers = [_call(operators.quantize_operand, x, *grid) for x, grid in zip((a, b), self.grids, strict=True)]
        if self.in_float:
            values = map(_call, [operators.dequantize_operand] * 2, integers, self.steps, self.offsets)
            return _call(operators.matmul, *values, self.name)
        return _call(operators.integer_matmul, *integers, self.steps, self.offsets, self.lattice, self.name)


class Points(nn.Module):
    """Values to grid points."""

    def __init__(self, grid: FrozenGrid, apart: bool = False) -> None:
        super().__init__()
        self.arguments, self.offset, self.apart = grid_arguments(grid), grid.offset, apart

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        integers = _call(operators.quantize, x, *self.arguments)
        return _call(operators.dequantize, integers, *self.arguments, self.offset, self.apart)


class Sum(nn.Module):
    """``left(a) + scale * right(b)``, put on a grid.

    Args:
        scale: of the second addend.
        points: put the sum on a grid; None leaves it as it is.
        addends: put each addend on a grid; None leaves them as they are.
    """

    def __init__(
        self, scale: float, points: Points | None = None, addends: tuple[Points, Points] | None = None
    ) -> None:
        super().__init__()
        self.scale, self.points = scale, points
        self.addends = None if addends is None else nn.ModuleList(addends)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to their sum."""
        if self.addends is not None:
            a, b = self.addends[0](a), self.addends[1](b)
        total: Tensor = aten.add.Tensor(a, b if self.scale == 1.0 else aten.mul.Tensor(b, self.scale))
        return total if self.points is None else self.points(total)


class PointsByPicture(nn.Module):
    """Values to points of a grid between smallest and largest value of their channel, as ``DynamicPoints``."""

    def __init__(self, points: DynamicPoints, rank: int) -> None:
        super().__init__()
        self.points = Points(points.grid)
        self.limits = None if points.limits is None else points.limits.tolist()
        self.axes = [axis for axis in range(1, rank) if axis != points.channel_axis % rank]

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        if self.limits is not None:
            x = aten.clamp.default(x, *self.limits)
        smallest = aten.amin.default(x, self.axes, True)
        largest = aten.amax.default(x, self.axes, True)
        width = aten.clamp.default(aten.sub.Tensor(largest, smallest), SMALLEST_WIDTH)
        half = aten.mul.Tensor(width, 0.5)
        middle = aten.add.Tensor(smallest, half)
        points = self.points(aten.div.Tensor(aten.sub.Tensor(x, middle), half))
        restored: Tensor = aten.add.Tensor(aten.mul.Tensor(points, half), middle)
        return restored


def _layer(layer: FrozenConv2d | FrozenLinear, call: Call) -> nn.Module:
    safe = safe_on_pair_saturation(layer.weight, layer.grid.levels) and _unsigned(layer.grid)
    return Layer(layer, call.name, in_float=call.pair_saturation and not safe)


def _unsigned(grid: FrozenGrid) -> bool:
    """Whether engines keep codes unsigned; for signed ones, kernels for processors without VNNI halve the weights."""
    return grid.levels < BYTE_LEVELS or abs(grid.zero_point - BYTE_LEVELS // 2) > SIGNED_MARGIN


def _dynamic(layer: DynamicLayer, call: Call) -> nn.Module:
    if not isinstance(layer.points, DynamicPoints):
        raise EngineError(
            f"layer '{call.name}' quantizes its input by a grid of its own for every picture ({layer.points.kind}), "
            "which exports have no form for: evaluate and upscale it with --engine torch"
        )
    float_layer = FloatLayer(layer.float_weight(), layer.bias, layer.geometry, call.name)
    return nn.Sequential(PointsByPicture(layer.points, call.rank), float_layer)


def _product(product: FrozenMatmul, call: Call) -> nn.Module:
    left, right = product.left, product.right
    largest = operators.LARGEST_CODE if left.first else left.grid.levels - 1  # kernels make signed bytes unsigned
    largest_pair = 2 * largest * max(-right.first, right.first + right.grid.levels - 1)
    return Product(product, call.name, in_float=call.pair_saturation and largest_pair > INT16_MAX)


def _addends(add: FrozenAddends, call: Call) -> nn.Module:
    left, right = (_addend(points, call) for points in (add.left, add.right))
    return Sum(add.scale, addends=(left, right))


def _addend(points: nn.Module, call: Call) -> Points:
    if not isinstance(points, GridPoints):
        raise EngineError(
            f"sum '{call.name}' quantizes an addend by a grid of its own for every picture, which exports have no form "
            "for: evaluate and upscale it with --engine torch"
        )
    return Points(points.grid, apart=True)


LOWERINGS: dict[type[nn.Module], Callable[[Any, Call], nn.Module]] = {
    FrozenConv2d: _layer,
    FrozenLinear: _layer,
    DynamicLayer: _dynamic,
    FrozenMatmul: _product,
    FrozenAdd: lambda add, call: Sum(add.scale, Points(add.grid)),
    FrozenAddends: _addends,
    nn.Conv2d: lambda layer, call: FloatLayer(layer.weight, layer.bias, geometry_of(layer), call.name),
    nn.Linear: lambda layer, call: FloatLayer(layer.weight, layer.bias, None, call.name),
    Matmul: lambda product, call: FloatProduct(call.name),
    Add: lambda add, call: Sum(add.scale),
}
"""By the type of a layer: the function that makes it of our operators."""
