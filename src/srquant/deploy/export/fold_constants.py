"""Constant folding: what a network computes only from its parameters is computed once, at export."""

import operator
from typing import Any

from torch import Tensor, fx
from torch.fx.node import map_arg

from srquant.deploy.export.graph_tools import constant, tensor_of


def fold_constants(graph: fx.GraphModule) -> None:
    """Replace calls that read only parameters and buffers by their results; calls with several results by each."""
    several = dict[fx.Node, tuple[Tensor, ...]]()
    for node in list(graph.graph.nodes):
        result = _result(graph, node, several)
        if isinstance(result, Tensor):
            with graph.graph.inserting_before(node):
                folded = constant(graph, result.detach())
            folded.meta = node.meta
            node.replace_all_uses_with(folded)
            graph.graph.erase_node(node)
        elif result is not None:
            several[node] = result


def _result(graph: fx.GraphModule, node: fx.Node, several: dict[fx.Node, tuple[Tensor, ...]]) -> Any:
    """What a call gives; None if the picture enters it."""
    sources = node.all_input_nodes
    if node.target is operator.getitem and node.args[0] in several:
        return several[sources[0]][node.args[1]]  # type: ignore[index]
    if node.op != "call_function" or not sources or any(source.op != "get_attr" for source in sources):
        return None

    def stored(given: Any) -> Any:
        return map_arg(given, lambda source: tensor_of(graph, source))

    function: Any = node.target
    return function(*stored(node.args), **stored(node.kwargs))
