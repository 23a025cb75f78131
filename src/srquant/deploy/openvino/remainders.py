"""Remainders of sizes in a form that OpenVINO knows."""

import operator

from torch import fx


def replace_remainders(graph: fx.GraphModule) -> None:
    """``a % b`` as ``a - a // b * b``, in place: OpenVINO's front end has no rule for remainders of sizes."""
    nodes = graph.graph.find_nodes(op="call_function", target=operator.mod)
    for node in nodes:
        a, b = node.args
        with graph.graph.inserting_before(node):
            quotient = graph.graph.call_function(operator.floordiv, (a, b))
            multiple = graph.graph.call_function(operator.mul, (quotient, b))
            difference = graph.graph.call_function(operator.sub, (a, multiple))
        node.replace_all_uses_with(difference)
        graph.graph.erase_node(node)
