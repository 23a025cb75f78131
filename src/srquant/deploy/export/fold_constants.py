"""Constant folding: what a network computes only from its parameters is computed once, at export."""

from typing import Any

from torch import fx
from torch.fx.node import map_arg

from srquant.deploy.export.graph_tools import constant, tensor_of


def fold_constants(graph: fx.GraphModule) -> None:
    """Replace calls that read only parameters and buffers by their results."""
    for node in list(graph.graph.nodes):
        sources = node.all_input_nodes
        if node.op == "call_function" and sources and all(source.op == "get_attr" for source in sources):
            with graph.graph.inserting_before(node):
                folded = constant(graph, _result(graph, node))
            folded.meta = node.meta
            node.replace_all_uses_with(folded)
            graph.graph.erase_node(node)


def _result(graph: fx.GraphModule, node: fx.Node) -> Any:
    def stored(given: Any) -> Any:
        return map_arg(given, lambda source: tensor_of(graph, source))

    function: Any = node.target
    return function(*stored(node.args), **stored(node.kwargs)).detach()
