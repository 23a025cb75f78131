"""PyTorch's operators -> the smaller set that all converters know."""

from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram, default_decompositions

from srquant.models.graph.leaves import is_leaf

aten: Any = torch.ops.aten

SIMPLE = (
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.relu.default,
    aten.leaky_relu.default,
    aten.prelu.default,
    aten.sigmoid.default,
    aten.tanh.default,
    aten.view.default,
    aten.cat.default,
    aten.pixel_shuffle.default,
    aten.upsample_nearest2d.vec,
    aten.upsample_bilinear2d.vec,
)
"""A graph of these and of layers stays as it is, which saves half of the time."""

KEPT = (
    aten.prelu.default,
    aten.silu.default,
    aten.hardswish.default,
    aten.hardsigmoid.default,
    aten.roll.default,
    aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default,
    aten.channel_shuffle.default,
    aten.reflection_pad2d.default,
    aten.upsample_nearest2d.vec,
    aten.upsample_bilinear2d.vec,
    aten.upsample_bicubic2d.vec,
)
"""Operators for which engines have one of their own; parts of them would be slower."""

ASSERTIONS = (aten._assert_scalar.default, aten._assert_tensor_metadata.default)


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """The program in PyTorch's core operators, those that are kept, and layers."""
    if all(node.target in SIMPLE or is_leaf(node.target) for node in called(program.graph)):
        return program
    table: dict[Any, Any] = default_decompositions()
    for operator in KEPT:
        table.pop(operator, None)
    result: ExportedProgram = program.run_decompositions(table)
    return result


def called(graph: fx.Graph) -> list[fx.Node]:
    """The nodes that call an operator."""
    return [node for node in graph.nodes if node.op == "call_function"]


def drop_assertions(graph: fx.Graph) -> None:
    """Without checks of shapes and types, which converters don't know; later steps check them again."""
    for node in called(graph):
        if node.target in ASSERTIONS:
            graph.erase_node(node)
    graph.eliminate_dead_code()


def drop_copy(graph: fx.Graph) -> None:
    """Without the copy of the picture: nothing in a decomposed graph computes in place."""
    for node in called(graph):
        if node.target is aten.clone.default and node.all_input_nodes[0].op == "placeholder":
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)
