"""Finding and making module calls in a traced graph."""

from collections.abc import Iterator
from typing import Any, TypeVar

from torch import fx, nn

M = TypeVar("M", bound=nn.Module)


def insert(graph: fx.GraphModule, module: nn.Module, *arguments: Any) -> fx.Node:
    """A new node that calls a new module, at the graph's insertion point."""
    number = sum(1 for _ in graph.children())
    while hasattr(graph, f"fused_{number}"):
        number += 1
    graph.add_submodule(f"fused_{number}", module)
    return graph.graph.call_module(f"fused_{number}", arguments)


def module_of(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that a node calls."""
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None


def calls(graph: fx.GraphModule, kind: type[M]) -> Iterator[tuple[fx.Node, M]]:
    """Nodes that call a kind of module, in order; the graph may change meanwhile."""
    for node in list(graph.graph.nodes):
        module = module_of(graph, node)
        if isinstance(module, kind):
            yield node, module
