"""Constant folding: what a network computes only from its parameters is computed once, at export."""

from operator import attrgetter
from typing import Any

from torch import fx
from torch.fx.node import map_arg


def fold_constants(graph: fx.GraphModule) -> None:
    """Replace functions and tensor methods that read only parameters and buffers by their results."""
    for node in list(graph.graph.nodes):
        sources = node.all_input_nodes
        if node.op in ("call_function", "call_method") and sources and all(s.op == "get_attr" for s in sources):
            name = f"constant_{node.name}"
            graph.register_buffer(name, _result(graph, node))
            with graph.graph.inserting_before(node):
                node.replace_all_uses_with(graph.graph.get_attr(name))
            graph.graph.erase_node(node)


def _result(graph: fx.GraphModule, node: fx.Node) -> Any:
    def stored(source: fx.Node) -> Any:
        return attrgetter(str(source.target))(graph)

    arguments, options = map_arg(node.args, stored), map_arg(node.kwargs, stored)
    function = getattr(type(arguments[0]), node.target) if isinstance(node.target, str) else node.target
    return function(*arguments, **options).detach()
