"""Finding, making and changing calls in an exported graph."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx

from srquant.deploy.export import operators
from srquant.models.blocks.conv_geometry import ConvGeometry

ours: Any = getattr(torch.ops, operators.NAMESPACE)
aten: Any = torch.ops.aten


def calls(graph: fx.GraphModule, *targets: Any) -> Iterator[fx.Node]:
    """Nodes that call one of the operators, in order; the graph may change meanwhile."""
    for node in list(graph.graph.nodes):
        if node.target in targets:
            yield node


def argument(node: fx.Node, index: int) -> Any:
    """An argument of a call."""
    return node.args[index]


def only_user(node: fx.Node) -> fx.Node | None:
    """The node that alone reads a value; None if there are several or none."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def tensor_of(graph: fx.GraphModule, node: Any) -> Tensor | None:
    """The constant tensor that a node reads, or None."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    found: Tensor = attrgetter(str(node.target))(graph)
    return found


def constant(graph: fx.GraphModule, values: Tensor) -> fx.Node:
    """A new constant, at the graph's insertion point."""
    number = 0
    while hasattr(graph, f"constant_{number}"):
        number += 1
    graph.register_buffer(f"constant_{number}", values)
    return graph.graph.get_attr(f"constant_{number}")


@dataclass(frozen=True)
class IntegerConv2d:
    """A convolution of integers: ``scale * conv(integers, weight) + bias``.

    Attributes:
        weight: int8 ``C_out x C_in/groups x kH x kW``.
        scale: float32 ``C_out``.
        bias: float32 ``C_out``.
        geometry: of the kernel.
        name: of the layer.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor
    geometry: ConvGeometry
    name: str

    def rescaled(self, factor: float, shift: Tensor) -> "IntegerConv2d":
        """The convolution whose result is ``factor`` times this one's plus ``shift`` (``C_out`` or 0-d)."""
        return replace(self, scale=self.scale * factor, bias=self.bias * factor + shift)

    def with_channels(self, order: Tensor) -> "IntegerConv2d":
        """The convolution whose output channel ``i`` is this one's ``order[i]``; no groups."""
        return replace(self, weight=self.weight[order], scale=self.scale[order], bias=self.bias[order])


def read_conv(graph: fx.GraphModule, node: fx.Node) -> IntegerConv2d | None:
    """The integer convolution that a node calls, if its result is used once; else None."""
    if node.target is not ours.integer_conv2d.default or len(node.users) != 1:
        return None
    weight, scale, bias = (attrgetter(str(argument(node, index).target))(graph) for index in range(1, 4))
    stride, padding, dilation = ((first, second) for first, second in (argument(node, index) for index in range(4, 7)))
    geometry = ConvGeometry(stride, padding, dilation, argument(node, 7))
    return IntegerConv2d(weight, scale, bias, geometry, argument(node, 8))


def write_conv(graph: fx.GraphModule, node: fx.Node, conv: IntegerConv2d) -> None:
    """Make a node call another convolution."""
    with graph.graph.inserting_before(node):
        tensors = [constant(graph, values) for values in (conv.weight, conv.scale, conv.bias)]
    g = conv.geometry
    window = list(g.stride), list(g.padding), list(g.dilation), g.groups
    node.args = (node.args[0], *tensors, *window, conv.name)
