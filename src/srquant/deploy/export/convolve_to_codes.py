"""A convolution of which only the next grid's integers are needed, as one operation on integers."""

from dataclasses import dataclass

import torch
from torch import Tensor, fx

from srquant.deploy.export.graph_tools import argument, aten, calls, constant, ours, read_conv, tensor_of
from srquant.deploy.export.operators import step_of

WHOLE = 1e-6
"""A bias is whole if it is less than this many units of the accumulator from a whole number of them."""

MOST_UNITS = 2**30
"""In a bias; 32 bits then have room for the sum."""


@dataclass(frozen=True)
class Grid:
    """What a quantizer does to each channel.

    Attributes:
        offset: value of integer 0, float64 ``C`` or 0-d.
        step: distance of grid points, same shape.
        smallest: integer ``k - z``.
        largest: integer.
    """

    offset: Tensor
    step: Tensor
    smallest: int
    largest: int

    def after_relu(self) -> "Grid | None":
        """The grid of values from zero on; None where zero has another integer in each channel."""
        zero = (-self.offset / self.step).round().clamp(self.smallest, self.largest)
        smallest = int(zero.max())
        return Grid(self.offset, self.step, smallest, self.largest) if int(zero.min()) == smallest else None


def convolve_to_codes(graph: fx.GraphModule) -> None:
    """``quantize(conv(q))`` and ``quantize(relu(conv(q)))`` become one operation, if the bias is whole units."""
    for node in calls(graph, ours.quantize.default, ours.quantize_channels.default):
        source, grid = node.all_input_nodes[0], _grid(graph, node)
        if source.target is aten.relu.default and len(source.users) == 1:
            source, grid = source.all_input_nodes[0], None if grid is None else grid.after_relu()
        if grid is not None:
            _join(graph, node, source, grid)
    graph.graph.eliminate_dead_code()


def _join(graph: fx.GraphModule, node: fx.Node, source: fx.Node, grid: Grid) -> None:
    conv = read_conv(graph, source)
    if conv is None:
        return
    units = (conv.bias - grid.offset) / conv.scale.double()
    bias = units.round()
    if bool(((units - bias).abs() > WHOLE).any() or (bias.abs() > MOST_UNITS).any()):
        return
    with graph.graph.inserting_before(node):
        factor, whole = (conv.scale / grid.step).float(), bias.to(torch.int32)
        weight, *tensors = (constant(graph, values) for values in (conv.weight, factor, whole))
        arguments = (source.args[0], weight, *tensors, *source.args[4:], grid.smallest, grid.largest)
        node.replace_all_uses_with(graph.graph.call_function(ours.conv2d_to_codes.default, arguments))


def _grid(graph: fx.GraphModule, node: fx.Node) -> Grid | None:
    """The grid of ``quantize``, or of ``quantize_channels`` with constant bounds."""
    lower, upper, levels, zero_point = (argument(node, index) for index in range(-4, 0))
    step = torch.tensor(step_of(lower, upper, levels), dtype=torch.float64)
    grid = Grid(lower + step * zero_point, step, -zero_point, levels - 1 - zero_point)
    if node.target is ours.quantize.default:
        return grid
    first, width = (tensor_of(graph, argument(node, index)) for index in (1, 2))
    if first is None or width is None:
        return None
    first, width = first.flatten().double(), width.flatten().double()
    return Grid(first + width * grid.offset, width * step, grid.smallest, grid.largest)
