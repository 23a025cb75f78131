"""What the order of computation tells a policy: where sums go, and which layers read a sum directly."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from srquant.models.layers import Add, MeanShift
from srquant.models.network import Network

LEAVES = (Add, MeanShift)


class LayerTracer(fx.Tracer):
    """Traces down to the modules that srquant knows; names stay those of ``named_modules``."""

    def __init__(self, leaves: tuple[type[nn.Module], ...] = LEAVES) -> None:
        super().__init__()
        self.leaves = leaves

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the tracer stops at this module."""
        return isinstance(m, self.leaves) or super().is_leaf_module(m, module_qualified_name)


@dataclass
class Flow:
    """Facts about the residual adds of a network.

    Attributes:
        rectified: adds whose sum goes through a ReLU and nowhere else.
        last: adds that make the picture itself.
        reads: for each layer that reads a sum (or its ReLU) directly, the name of the add.
    """

    rectified: set[str] = field(default_factory=set)
    last: set[str] = field(default_factory=set)
    reads: dict[str, str] = field(default_factory=dict)


def trace_flow(network: Network) -> Flow:
    """Follow each sum to its readers; empty where the network can't be traced."""
    try:
        graph = LayerTracer().trace(network.module)
    except (fx.proxy.TraceError, TypeError):
        return Flow()
    flow = Flow()
    modules = dict(network.module.named_modules())
    for node in graph.nodes:
        if isinstance(_module(node, modules), Add):
            _follow(node, modules, flow)
    return flow


def inner_sums(network: Network, flow: Flow) -> list[str]:
    """Names of the adds whose sums stay inside the network."""
    adds = [name for name, module in network.module.named_modules() if isinstance(module, Add)]
    return [name for name in adds if name not in flow.last]


def _follow(add: fx.Node, modules: dict[str, nn.Module], flow: Flow) -> None:
    readers = list(add.users)
    if any(reader.op == "output" or isinstance(_module(reader, modules), MeanShift) for reader in readers):
        flow.last.add(str(add.target))
    if all(isinstance(_module(reader, modules), nn.ReLU) for reader in readers):
        flow.rectified.add(str(add.target))
        readers = [after for reader in readers for after in reader.users]
    flow.reads.update((name, str(add.target)) for name in _layers(readers, modules))


def _layers(nodes: list[fx.Node], modules: dict[str, nn.Module]) -> Iterator[str]:
    for node in nodes:
        if isinstance(_module(node, modules), nn.Conv2d | nn.Linear):
            yield str(node.target)


def _module(node: fx.Node, modules: dict[str, nn.Module]) -> Any:
    return modules[str(node.target)] if node.op == "call_module" else None
