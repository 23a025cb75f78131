"""Join each convolution with what follows it: the residual sum, ReLU, and the quantization for the next layer."""

import operator
from typing import Any

from torch import fx, nn
from torch.nn import functional as F

from srquant.deploy.export.graph_tools import only_user
from srquant.deploy.frozen.sums import FrozenAdd
from srquant.deploy.triton.code_grid import CodeGrid
from srquant.deploy.triton.convolution import Convolution, SumPoints
from srquant.deploy.triton.module_calls import calls, insert, module_of
from srquant.models.blocks.layers import Add

RELUS = (F.relu, "relu", "relu_")


def fuse(graph: fx.GraphModule) -> None:
    """Rewrite all convolutions of a graph, in place, without changing a bit of the result."""
    for node, convolution in calls(graph, Convolution):
        _fuse_one(graph, node, convolution)
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.recompile()


def _fuse_one(graph: fx.GraphModule, node: fx.Node, convolution: Convolution) -> None:
    last, residual, points = node, None, None
    total = only_user(last)
    if total is not None and _is_sum(module_of(graph, total)) and len(total.all_input_nodes) == 2:
        add = module_of(graph, total)
        residual = next(source for source in total.all_input_nodes if source is not last)
        points = SumPoints(add) if isinstance(add, FrozenAdd) else None
        last = total
    rectified = only_user(last)
    relu = rectified is not None and _is_relu(graph, rectified)
    if relu:
        assert rectified is not None
        last = rectified
    settled = convolution.packed.lattice is not None and (residual is None or _is_settled(graph, residual, convolution))
    encoders = _encoders(graph, last)
    grid = None if not encoders else _grid(graph, encoders[0])
    values_too = len(encoders) < len(last.users) or not encoders
    fused = Convolution(convolution.packed, relu, points, grid, values_too, settled)
    with graph.graph.inserting_before(last):
        sources = [node.args[0]] if residual is None else [node.args[0], residual]
        result = insert(graph, fused, *sources)
        values, codes = _outputs(graph, result, fused)
    for encoder in encoders:
        encoder.replace_all_uses_with(codes)
        graph.graph.erase_node(encoder)
    if values_too:
        last.replace_all_uses_with(values)


def _outputs(graph: fx.GraphModule, result: fx.Node, fused: Convolution) -> tuple[fx.Node, fx.Node]:
    """Nodes of the values and of the codes; where there is one of them only, it stands for both."""
    if fused.next_grid is None or not fused.keeps_values:
        return result, result
    values, codes = (graph.graph.call_function(operator.getitem, (result, i)) for i in range(2))
    return values, codes


def _encoders(graph: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """The users of a node that quantize it to the grid of the first such user."""
    users = [user for user in node.users if isinstance(module_of(graph, user), CodeGrid)]
    return [user for user in users if _grid(graph, user).same(_grid(graph, users[0]))]


def _grid(graph: fx.GraphModule, node: fx.Node) -> CodeGrid:
    grid = module_of(graph, node)
    assert isinstance(grid, CodeGrid)
    return grid


def _is_sum(module: nn.Module | None) -> bool:
    return isinstance(module, Add | FrozenAdd) and module.scale == 1.0


def _is_relu(graph: fx.GraphModule, node: fx.Node) -> bool:
    target: Any = node.target
    return isinstance(module_of(graph, node), nn.ReLU) or (node.op != "call_module" and target in RELUS)


def _is_settled(graph: fx.GraphModule, node: fx.Node, convolution: Convolution) -> bool:
    """Whether a node's values are on the lattice of a convolution."""
    if node.target is operator.getitem:
        node = node.all_input_nodes[0]
    source = module_of(graph, node)
    return isinstance(source, Convolution) and source.settled and source.packed.lattice == convolution.packed.lattice
