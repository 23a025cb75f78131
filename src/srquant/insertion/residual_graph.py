"""The residual sums of a network and the layers that read them or each other, found by tracing the network."""

from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from srquant.models.blocks.layers import Add, Matmul, MeanShift
from srquant.models.blocks.window_steps import STEPS
from srquant.models.network import Network, copy_sharing_tensors

LEAVES = (Add, Matmul, MeanShift, *STEPS)


class LayerTracer(fx.Tracer):
    """Treats the modules that srquant knows as single steps; names are those of ``named_modules``."""

    def __init__(self, leaves: tuple[type[nn.Module], ...] = LEAVES) -> None:
        super().__init__()
        self.leaves = leaves

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the tracer stops at this module."""
        return isinstance(m, self.leaves) or super().is_leaf_module(m, module_qualified_name)


@dataclass
class ResidualGraph:
    """What is connected to the residual adds and layers of a network. All names are those of the network's modules.

    Attributes:
        rectified: adds whose sum is read by ReLUs only.
        last: adds whose sum is the output picture, before the mean colour is added.
        reads: for each layer whose input is always the sum of one add, or the ReLU of a rectified sum, that add.
        addend_readers: for each add whose first addend is also the input of a layer, the first such layer.
        next: for each layer whose outputs go to one place only, directly or through ReLU and pixel shuffle, the layer
            there, or the add whose second addend they are.
    """

    rectified: set[str] = field(default_factory=set)
    last: set[str] = field(default_factory=set)
    reads: dict[str, str] = field(default_factory=dict)
    addend_readers: dict[str, str] = field(default_factory=dict)
    next: dict[str, str] = field(default_factory=dict)


def trace_residual_graph(network: Network) -> ResidualGraph:
    """Find the readers of every sum; an empty graph where the network can't be traced.

    Tracing runs the network's code on symbols instead of tensors, so it can raise any exception, and leave symbols in
    attributes that the code sets: a copy is traced.
    """
    try:
        graph = LayerTracer().trace(copy_sharing_tensors(network.module))
    except Exception:
        return ResidualGraph()
    modules = dict(network.module.named_modules())
    sums = [node for node in graph.nodes if isinstance(_module(node, modules), Add)]
    names = {str(node.target) for node in sums}
    rectified = names - {str(node.target) for node in sums if not _only_rectified(node, modules)}
    last = {str(node.target) for node in sums if _makes_picture(node, modules)}
    addend_readers = {str(node.target): layer for node in sums for layer in _readers(node.args[0], modules)[:1]}
    return ResidualGraph(rectified, last, _reads(graph, modules, rectified), addend_readers, _next(graph, modules))


def inner_sums(network: Network, graph: ResidualGraph) -> list[str]:
    """Names of the adds whose sum is not the output picture, in module order."""
    adds = [name for name, module in network.module.named_modules() if isinstance(module, Add)]
    return [name for name in adds if name not in graph.last]


def _readers(value: Any, modules: dict[str, nn.Module]) -> list[str]:
    """Layers that read a value, in the order of computation."""
    readers = value.users if isinstance(value, fx.Node) else ()
    return [str(reader.target) for reader in readers if isinstance(_module(reader, modules), nn.Conv2d | nn.Linear)]


def _only_rectified(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    return all(isinstance(_module(reader, modules), nn.ReLU) for reader in node.users)


def _makes_picture(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    return any(reader.op == "output" or isinstance(_module(reader, modules), MeanShift) for reader in node.users)


def _reads(graph: fx.Graph, modules: dict[str, nn.Module], rectified: set[str]) -> dict[str, str]:
    """For each layer that reads the same sum in all its calls, that sum."""
    read: dict[str, set[str | None]] = {}
    for node in graph.nodes:
        if isinstance(_module(node, modules), nn.Conv2d | nn.Linear):
            source = _sum_behind(node.all_input_nodes[0], modules, rectified)
            read.setdefault(str(node.target), set()).add(source)
    return {layer: name for layer, names in read.items() for name in names if name is not None and len(names) == 1}


def _sum_behind(node: fx.Node, modules: dict[str, nn.Module], rectified: set[str]) -> str | None:
    if isinstance(_module(node, modules), nn.ReLU):
        node = node.all_input_nodes[0]
        return str(node.target) if str(node.target) in rectified else None
    return str(node.target) if isinstance(_module(node, modules), Add) else None


def _next(graph: fx.Graph, modules: dict[str, nn.Module]) -> dict[str, str]:
    """For each layer whose outputs are read in one place, the same in all its calls, the module there."""
    found: dict[str, set[str | None]] = {}
    for node in graph.nodes:
        if isinstance(_module(node, modules), nn.Conv2d | nn.Linear):
            found.setdefault(str(node.target), set()).update(_places(node, modules))
    return {layer: name for layer, names in found.items() for name in names if name is not None and len(names) == 1}


def _places(node: fx.Node, modules: dict[str, nn.Module]) -> set[str | None]:
    """Layers and sums that read a value, as ``next``; None among them for other readers."""
    found: set[str | None] = set()
    for reader in node.users:
        module = _module(reader, modules)
        added = isinstance(module, Add) and reader.args[1] is node
        if isinstance(module, nn.ReLU | nn.PixelShuffle):
            found |= _places(reader, modules)
        else:
            found.add(str(reader.target) if added or isinstance(module, nn.Conv2d | nn.Linear) else None)
    return found


def _module(node: fx.Node, modules: dict[str, nn.Module]) -> Any:
    return modules[str(node.target)] if node.op == "call_module" else None
