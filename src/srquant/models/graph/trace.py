"""A network -> a graph, by ``torch.export``: layers with their names, and PyTorch's operators between them."""

import copy
import json
from collections.abc import Hashable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, export
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from srquant.errors import EngineError
from srquant.models.graph.decompose import called, decomposed, drop_assertions, drop_copy
from srquant.models.graph.leaves import LEAVES, Leaves, has_linear, is_leaf, leaf_of
from srquant.models.graph.other_size import check_other_size
from srquant.models.graph.pools import pools_by_ratio
from srquant.models.graph.quiet import quiet
from srquant.models.graph.refusal import not_traced, only_one_size
from srquant.models.load import ARCHITECTURES
from srquant.models.network import CUSTOM, Facts, Network, copy_sharing_tensors

BATCH = 2
"""Of the traced pictures: neither 0 nor 1, for which PyTorch keeps steps of their own."""

EXAMPLE = (33, 41)
"""Rows and columns of the traced pictures before they are extended to a valid size."""

_kept: dict[Hashable, "Kept"] = {}
"""Graphs of native networks by ``structure``, for the life of the process: a trace takes seconds."""

_kept_wrapped: "WeakKeyDictionary[nn.Module, tuple[str, Kept]]" = WeakKeyDictionary()
"""Graphs of wrapped modules, for the life of the module; with the layers that it had."""


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
        return _of_wrapped(network, leaves).graph_of(network.module)
    if key not in _kept:
        _kept[key] = _traced(network, leaves)
    return _kept[key].graph_of(network.module)


def _of_wrapped(network: Network, leaves: Leaves) -> Kept:
    layers = repr(network.module)
    kept = _kept_wrapped.get(network.module)
    if kept is None or kept[0] != layers:
        kept = layers, _traced(network, leaves)
        _kept_wrapped[network.module] = kept
    return kept[1]


def _traced(network: Network, leaves: Leaves) -> Kept:
    module = _with_leaves(network.module, leaves)
    if network.facts.architecture == CUSTOM:
        _give_copies(module)
    traced = traced_program(module, network.facts)
    with quiet():
        program = decomposed(traced).module(check_guards=False)
    graph: fx.Graph = program.graph
    drop_assertions(graph)
    drop_copy(graph)
    _return_one_tensor(graph)
    for node in called(graph):
        if is_leaf(node.target):
            _call_layer(graph, node)
    kept = Kept(graph, constants(graph, program, network.module))
    if network.facts.architecture == CUSTOM:
        check_other_size(kept.graph_of(network.module), network)
    return kept


def _return_one_tensor(graph: fx.Graph) -> None:
    """Instead of what ``torch.export`` writes: a tuple, and code that takes arguments apart."""
    (output,) = (node for node in graph.nodes if node.op == "output")
    (results,) = output.args
    output.args = (results[0],)
    graph.set_codegen(fx.graph.CodeGen())


def _with_leaves(module: nn.Module, leaves: Leaves) -> nn.Module:
    """A copy of a module, whose tensors are the same, with leaves; one for all places of a layer."""
    result = copy_sharing_tensors(module)
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


def _give_copies(module: nn.Module) -> None:
    """Let a module compute in place on a copy of what it is given."""
    forward = module.forward

    def run(image: Tensor) -> Tensor:
        result: Tensor = forward(image.clone())
        return result

    module.forward = run


def _call_layer(graph: fx.Graph, node: fx.Node) -> None:
    """A call of the layer instead of its leaf's operator."""
    values = tuple(value for value in node.args if isinstance(value, fx.Node))
    with graph.inserting_before(node):
        call = graph.create_node("call_module", str(node.args[-1]), values)
    call.meta = node.meta
    node.replace_all_uses_with(call)
    graph.erase_node(node)


def traced_program(module: nn.Module, facts: Facts) -> ExportedProgram:
    """What ``torch.export`` makes of a module that takes pictures of any valid size.

    Where the module's steps depend on the number of pictures, the program takes one at a time. So do wrapped modules
    with linear layers: code for windows usually fixes the number, and a trace takes them long.

    Raises:
        EngineError: its steps depend on the pictures, or on their size.
    """
    one_by_one = facts.one_by_one or (facts.architecture == CUSTOM and has_linear(module))
    program = _exported(module, facts, 1 if one_by_one else BATCH)
    batch, _, height, width = image_of(program.graph).meta["val"].shape
    if is_concrete_int(batch) and batch != 1:
        return traced_program(module, replace(facts, one_by_one=True))
    if is_concrete_int(height) or is_concrete_int(width):
        raise only_one_size(facts.architecture, str(height), str(width))
    return program


def takes_one(graph: fx.Graph) -> bool:
    """Whether a traced graph takes one picture at a time only."""
    batch = image_of(graph).meta["val"].shape[0]
    return is_concrete_int(batch) and bool(batch == 1)


def image_of(graph: fx.Graph) -> fx.Node:
    """The node that is the picture: the last thing that a traced graph takes."""
    images: list[fx.Node] = [node for node in graph.nodes if node.op == "placeholder"]
    return images[-1]


def _exported(module: nn.Module, facts: Facts, batch: int) -> ExportedProgram:
    height, width = (size + facts.padding(size) for size in EXAMPLE)
    sizes: Any = (dict.fromkeys((2, 3) if batch == 1 else (0, 2, 3), Dim.AUTO),)
    try:
        with quiet(), pools_by_ratio():
            return export(module, (torch.zeros(batch, 3, height, width),), dynamic_shapes=sizes, strict=False)
    except EngineError:
        raise
    except Exception as error:
        raise not_traced(facts.architecture, error) from error
