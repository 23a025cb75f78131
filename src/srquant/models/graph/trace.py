"""A network -> a graph, by ``torch.export``: layers with their names, and PyTorch's operators between them."""

import copy
import json
from collections.abc import Hashable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, export

from srquant.errors import EngineError
from srquant.models.graph.decompose import called, decomposed, drop_assertions
from srquant.models.graph.leaves import LEAVES, Leaves, is_leaf, leaf_of
from srquant.models.graph.quiet import quiet
from srquant.models.graph.refusal import not_traced
from srquant.models.load import ARCHITECTURES
from srquant.models.network import Facts, Network

EXAMPLE = (2, 3, 33, 41)
"""Shape of the traced batch before it is extended to a valid size: all different, and none 0 or 1."""

_kept: dict[Hashable, "Kept"] = {}
"""Graphs of native networks by ``structure``, for the life of the process: a trace takes seconds."""


@dataclass(frozen=True)
class Kept:
    """The graph of all networks of one structure.

    Attributes:
        graph: its layers and tensors are names.
        constants: tensors that belong to no layer, by name.
    """

    graph: fx.Graph
    constants: dict[str, Tensor]

    def graph_of(self, module: nn.Module) -> fx.GraphModule:
        """The graph with the layers and tensors of a module."""
        graph, parts = copy.deepcopy(self.graph), dict[str, Any]()
        for node in graph.nodes:
            name = str(node.target)
            if node.op == "call_module":
                parts[name] = module.get_submodule(name)
            elif node.op == "get_attr":
                parts[name] = self.constants[name] if name in self.constants else attrgetter(name)(module)
        return fx.GraphModule(parts, graph)


def structure(network: Network) -> Hashable | None:
    """What the graph of a native network depends on; None for other networks."""
    if network.facts.architecture not in ARCHITECTURES:
        return None
    arguments = json.dumps(network.facts.arguments, sort_keys=True)
    return type(network.module), network.facts.architecture, arguments, repr(network.module)


def constants(graph: fx.Graph, program: nn.Module, module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a traced program that are not tensors of the module."""
    own = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    names = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    return {name: attrgetter(name)(program).detach().clone() for name in names - own}


def graph_of(network: Network, leaves: Leaves = LEAVES) -> fx.GraphModule:
    """The graph of a network; it computes the same bits, for pictures of any size that the network takes.

    Args:
        network: left unchanged; its layers and tensors are the graph's too.
        leaves: which modules stay whole.

    Raises:
        EngineError: what the network does depends on the values in the picture.
    """
    if isinstance(network.module, fx.GraphModule):
        return network.module
    key = structure(network)
    if key is None:
        return _traced(network, leaves).graph_of(network.module)
    if key not in _kept:
        _kept[key] = _traced(network, leaves)
    return _kept[key].graph_of(network.module)


def _traced(network: Network, leaves: Leaves) -> Kept:
    traced = traced_program(_with_leaves(network.module, leaves), network.facts)
    with quiet():
        program = decomposed(traced).module(check_guards=False)
    graph: fx.Graph = program.graph
    drop_assertions(graph)
    _return_one_tensor(graph)
    for node in called(graph):
        if is_leaf(node.target):
            _call_layer(graph, node)
    return Kept(graph, constants(graph, program, network.module))


def _return_one_tensor(graph: fx.Graph) -> None:
    """Instead of what ``torch.export`` writes: a tuple, and code that takes arguments apart."""
    (output,) = (node for node in graph.nodes if node.op == "output")
    (results,) = output.args
    output.args = (results[0],)
    graph.set_codegen(fx.graph.CodeGen())


def _with_leaves(module: nn.Module, leaves: Leaves) -> nn.Module:
    """A copy of a module, whose tensors are the same, with leaves; one for all places of a layer."""
    result = copy.deepcopy(module, {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())})
    root = nn.ModuleDict({"image": result})
    made: dict[int, nn.Module] = {}
    inside: tuple[str, ...] = ()
    for name, part in list(result.named_modules(remove_duplicate=False)):
        leaf = None if name.startswith(inside) else made.get(id(part)) or leaf_of(part, name, leaves)
        if leaf is not None:
            made[id(part)] = leaf
            root.set_submodule(f"image.{name}" if name else "image", leaf)
            inside += (f"{name}." if name else "",)
    return root["image"]


def _call_layer(graph: fx.Graph, node: fx.Node) -> None:
    """A call of the layer instead of its leaf's operator."""
    values = tuple(value for value in node.args if isinstance(value, fx.Node))
    with graph.inserting_before(node):
        call = graph.create_node("call_module", str(node.args[-1]), values)
    call.meta = node.meta
    node.replace_all_uses_with(call)
    graph.erase_node(node)


def traced_program(module: nn.Module, facts: Facts) -> ExportedProgram:
    """What ``torch.export`` makes of a module that takes a picture of any valid size."""
    batch, channels, height, width = EXAMPLE
    image = torch.zeros(batch, channels, height + facts.padding(height), width + facts.padding(width))
    sizes: Any = (dict.fromkeys((0, 2, 3), Dim.AUTO),)
    try:
        with quiet():
            return export(module, (image,), dynamic_shapes=sizes, strict=False)
    except EngineError:
        raise
    except Exception as error:
        raise not_traced(facts.architecture, error) from error
