"""Network -> export graph: traced, frozen layers split into nodes, rewritten for speed without changing an integer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from srquant.deploy.export import rewrites
from srquant.deploy.export.fold_constants import fold_constants
from srquant.deploy.export.graph_tools import insert, module_of, replace
from srquant.deploy.export.nodes import (
    Dequantize,
    DequantizeAddend,
    DequantizeOperand,
    Quantize,
    float_layer,
    integer_layer,
)
from srquant.deploy.export.pair_saturation import INT16_MAX, safe_on_pair_saturation
from srquant.deploy.frozen.dynamic import DynamicLayer, DynamicPoints
from srquant.deploy.frozen.grid import FrozenGrid, GridPoints
from srquant.deploy.frozen.layers import FrozenConv2d, FrozenLinear
from srquant.deploy.frozen.matmul import FrozenMatmul
from srquant.deploy.frozen.sums import FrozenAdd, FrozenAddends
from srquant.errors import EngineError
from srquant.insertion.branched_network import BranchedNetwork
from srquant.models.blocks.layers import Add, Matmul, MeanShift
from srquant.models.blocks.window_steps import STEPS
from srquant.models.network import Network
from srquant.quantizers.by_picture import conditional_quantizers

SPLITS = (torch.chunk, torch.split, "chunk", "split")
"""Functions and methods for which the sizes of the parts must be known."""

TRANSPOSITIONS = (torch.transpose, "transpose")
"""Functions and methods for which the number of axes must be known."""

TRACED_SIZE = 32
"""Height and width of the picture with which these sizes are found."""

BYTE_LEVELS = 256
SIGNED_MARGIN = 8
"""OpenVINO takes 256 levels as signed bytes where the zero point is close to 128; this is wider than its margin."""

LEAVES = (
    DynamicLayer,
    FrozenConv2d,
    FrozenLinear,
    FrozenMatmul,
    FrozenAdd,
    FrozenAddends,
    Add,
    Matmul,
    MeanShift,
    *STEPS,
)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LEAVES) or super().is_leaf_module(m, module_qualified_name)


def export_graph(network: Network, pair_saturation: bool = False) -> fx.GraphModule:
    """Trace a network and bring it into the form that engines run fastest.

    Args:
        network: float or frozen.
        pair_saturation: whether the processor saturates sums of two products at 16 bits (see
            ``pair_saturation.py``); layers that could reach that are given float weights.

    Returns:
        A graph of ``lowered`` modules, float modules and functions. It takes and returns what the network does,
        and every integer in it is the same.

    Raises:
        EngineError: the network's forward depends on the picture, so it has no fixed graph.
    """
    if isinstance(network, BranchedNetwork):
        raise EngineError("the picture decides which of three branches runs; export each of 'network.branches'")
    _refuse_conditional(network)
    try:
        graph = _Tracer().trace(network)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise EngineError(
            f"{network.facts.architecture} can't be exported, its steps depend on the picture ({error}); "
            "engine 'torch' runs it"
        ) from error
    lowered = fx.GraphModule(network, graph)
    fold_constants(lowered)
    if any(_needs_shapes(lowered, node) for node in graph.nodes):
        ShapeProp(lowered).propagate(torch.zeros(1, 3, TRACED_SIZE, TRACED_SIZE))
    _split_modules(lowered, pair_saturation)
    rewrites.apply_all(lowered)
    lowered.recompile()
    return lowered


def _refuse_conditional(network: Network) -> None:
    for name, quantizer in conditional_quantizers(network.module).items():
        raise EngineError(
            f"layer '{name.rpartition('.')[0]}' quantizes its input by a grid of its own for every picture "
            f"({quantizer.kind}), which exports have no form for: evaluate and upscale it with --engine torch"
        )


def _needs_shapes(graph: fx.GraphModule, node: fx.Node) -> bool:
    return node.target in (*SPLITS, *TRANSPOSITIONS) or isinstance(module_of(graph, node), DynamicLayer)


def layer_name(node: fx.Node) -> str:
    """Name of a node's layer as ``network.module.named_modules()`` gives it."""
    return str(node.target).removeprefix("module.")


def _split_modules(graph: fx.GraphModule, pair_saturation: bool) -> None:
    layers: dict[str, nn.Module] = {}
    for node in list(graph.graph.nodes):
        if node.op != "call_module":
            continue
        module = layers.setdefault(node.target, graph.get_submodule(node.target))
        split = SPLITTERS.get(type(module))
        if split is not None:
            split(graph, node, module, pair_saturation)


def _split_layer(
    graph: fx.GraphModule, node: fx.Node, layer: FrozenConv2d | FrozenLinear, pair_saturation: bool
) -> None:
    integer = integer_layer(layer)
    fits = not pair_saturation or (safe_on_pair_saturation(layer.weight, layer.grid.levels) and _unsigned(layer.grid))
    with graph.graph.inserting_before(node):
        operand = insert(graph, Quantize(layer.grid, layer.before), node.args[0])
        operand = operand if fits else insert(graph, Dequantize(layer.grid, 0.0), operand)
    node.args = (operand,)
    replace(graph, node, integer if fits else float_layer(integer, layer.grid.step))


def _split_dynamic(graph: fx.GraphModule, node: fx.Node, layer: DynamicLayer, pair_saturation: bool) -> None:
    assert isinstance(layer.points, DynamicPoints)  # others were refused before tracing
    source = node.all_input_nodes[0]
    with graph.graph.inserting_before(node):
        rank = len(node.meta["tensor_meta"].shape)
        points = DynamicPoints(layer.points.grid, layer.points.channel_axis, rank)
        node.args = (insert(graph, points, source),)
    replace(graph, node, layer.float_layer())


def _split_matmul(graph: fx.GraphModule, node: fx.Node, matmul: FrozenMatmul, pair_saturation: bool) -> None:
    operands = (matmul.left, matmul.right)
    largest_pair = 2 * (matmul.left.grid.levels - 1) * -matmul.right.first
    fits = not pair_saturation or largest_pair <= INT16_MAX
    with graph.graph.inserting_before(node):
        integers = [insert(graph, o, value) for o, value in zip(operands, node.args, strict=True)]
        if not fits:
            pairs = zip(operands, integers, strict=True)
            integers = [insert(graph, DequantizeOperand(operand), codes) for operand, codes in pairs]
    node.args = tuple(integers)
    replace(graph, node, matmul.product if fits else Matmul())


def _unsigned(grid: FrozenGrid) -> bool:
    """Whether engines keep codes unsigned; for signed ones, kernels for processors without VNNI halve the weights."""
    return grid.levels < BYTE_LEVELS or abs(grid.zero_point - BYTE_LEVELS // 2) > SIGNED_MARGIN


def _split_add(graph: fx.GraphModule, node: fx.Node, add: FrozenAdd, pair_saturation: bool) -> None:
    with graph.graph.inserting_after(node):
        integers = insert(graph, Quantize(add.grid), node)
    with graph.graph.inserting_after(integers):
        values = insert(graph, Dequantize(add.grid, add.grid.offset), integers)
    node.replace_all_uses_with(values, delete_user_cb=lambda user: user is not integers)
    replace(graph, node, Add(add.scale))


def _split_addends(graph: fx.GraphModule, node: fx.Node, add: FrozenAddends, pair_saturation: bool) -> None:
    values = [_addend(graph, node, *pair) for pair in zip((add.left, add.right), node.args, strict=True)]
    node.args = tuple(values)
    replace(graph, node, Add(add.scale))


def _addend(graph: fx.GraphModule, node: fx.Node, points: nn.Module, value: Any) -> fx.Node:
    assert isinstance(points, GridPoints)  # others were refused before tracing
    grid = points.grid
    with graph.graph.inserting_before(node):
        return insert(graph, DequantizeAddend(grid, grid.offset), insert(graph, Quantize(grid), value))


SPLITTERS: dict[type[nn.Module], Callable[[fx.GraphModule, fx.Node, Any, bool], None]] = {
    DynamicLayer: _split_dynamic,
    FrozenConv2d: _split_layer,
    FrozenLinear: _split_layer,
    FrozenAdd: _split_add,
    FrozenAddends: _split_addends,
    FrozenMatmul: _split_matmul,
}
"""How each kind of frozen module is split into nodes that quantize, compute and dequantize."""
