"""Finding and making module calls in an export graph."""

from collections.abc import Iterator
from typing import Any, TypeVar

from torch import fx, nn

from srquant.deploy.export.nodes import IntegerConv2d

M = TypeVar("M", bound=nn.Module)


def insert(graph: fx.GraphModule, module: nn.Module, *arguments: Any) -> fx.Node:
    """A new node that calls a new module, at the graph's insertion point."""
    number = sum(1 for _ in graph.children())
    while hasattr(graph, f"lowered_{number}"):
        number += 1
    graph.add_submodule(f"lowered_{number}", module)
    return graph.graph.call_module(f"lowered_{number}", arguments)


def replace(graph: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """Call another module under the same name."""
    graph.set_submodule(str(node.target), module)


def module_of(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that a node calls."""
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None


def calls(graph: fx.GraphModule, kind: type[M]) -> Iterator[tuple[fx.Node, M]]:
    """Nodes that call a kind of module, in order; the graph may change meanwhile."""
    for node in list(graph.graph.nodes):
        module = module_of(graph, node)
        if isinstance(module, kind):
            yield node, module


def exclusive_conv(graph: fx.GraphModule, node: fx.Node) -> IntegerConv2d | None:
    """The convolution that a node calls, if no other node calls it and its result is used once; else None."""
    module = module_of(graph, node)
    if not isinstance(module, IntegerConv2d) or len(node.users) != 1:
        return None
    return module if sum(other.target == node.target for other in graph.graph.nodes) == 1 else None
