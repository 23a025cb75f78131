"""The graph of a network that no class of srquant describes: in the header of a file, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from srquant.deploy.file.graph_layers import layer_record, read_layers
from srquant.deploy.float_form import float_layer
from srquant.deploy.frozen.freeze import FrozenModel
from srquant.deploy.frozen_leaves import FROZEN_LEAVES
from srquant.insertion.branched_network import representative
from srquant.models.graph import dry_run
from srquant.models.graph.record import from_record, to_record
from srquant.models.graph.trace import graph_of, takes_one
from srquant.models.network import CUSTOM, Facts, Network
from srquant.quantizers.stored import Fields, Json

LARGEST_SCALE = 64
LARGEST_SIDE = 2**12
"""Of ``Facts.smallest`` and ``Facts.multiple_of``, in rows."""


@dataclass(frozen=True)
class GraphRecord:
    """A graph in a header.

    Attributes:
        facts: of the network, the fields that ``_facts`` reads.
        layers: an object of ``graph_layers`` for each layer, by name.
        nodes: of ``models.graph.record``.
    """

    facts: dict[str, Json]
    layers: dict[str, dict[str, Json]]
    nodes: list[Json]


def graph_in_file(model: FrozenModel) -> fx.GraphModule:
    """The graph of a frozen network, or of its middle branch; its layers and tensors are the network's.

    Raises:
        EngineError: what the network does depends on the values in the picture.
    """
    return graph_of(representative(model.network), FROZEN_LEAVES)


def check_form(network: Network) -> None:
    """Check, before any long work, that a float network can be written to a file once it is quantized.

    Raises:
        InputError: it was wrapped, and has an operator or a layer that files have no form for.
        EngineError: it was wrapped, and what it does depends on the values in the picture.
    """
    if network.facts.architecture != CUSTOM:
        return
    graph = graph_of(network)
    for name in {str(node.target) for node in graph.graph.nodes if node.op == "call_module"}:
        layer_record(name, graph.get_submodule(name))
    to_record(graph.graph)


def record_of_graph(model: FrozenModel, graph: fx.GraphModule) -> GraphRecord:
    """What a header says about a graph.

    Args:
        model: that the graph is of.
        graph: from ``graph_in_file``.

    Raises:
        InputError: it has an operator or a layer that files have no form for.
    """
    names = dict.fromkeys(str(node.target) for node in graph.graph.nodes if node.op == "call_module")
    specs = model.specs
    floats = {name: float_layer(specs[name], "meta") if name in specs else graph.get_submodule(name) for name in names}
    layers = {name: layer_record(name, layer) for name, layer in floats.items()}
    facts = model.network.facts
    kept = {field: getattr(facts, field) for field in ("scale", "smallest", "multiple_of")}
    ends = {"head": list(facts.head), "tail": list(facts.tail)}
    flags = {"tiles_exactly": facts.tiles_exactly, "one_by_one": takes_one(graph.graph)}
    numbers = {**kept, "value_range": float(facts.value_range)}
    return GraphRecord({**numbers, **ends, **flags}, layers, to_record(graph.graph))


def read_graph(fields: Fields) -> GraphRecord:
    """Remove the parts of a graph from a header."""
    return GraphRecord(fields.take("facts", dict), fields.take("layers", dict), fields.take("nodes", list))


def network_of(record: GraphRecord, tensors: Mapping[str, Tensor]) -> Network:
    """The float network of a graph, on the ``meta`` device.

    Args:
        record: from a file; not trusted.
        tensors: that belong to no layer, by name; of the file.

    Raises:
        InputError: the record contradicts itself or the tensors.
    """
    layers = read_layers(record.layers)
    places = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    network = Network(from_record(record.nodes, {**places, **layers}), _facts(Fields("graph: facts", record.facts)))
    graph: Any = network.module
    dry_run.check(graph, network.facts)
    return network


def _facts(fields: Fields) -> Facts:
    scale, value_range = fields.integer("scale", 1, LARGEST_SCALE), fields.take("value_range", float)
    if not 0 < value_range <= 2**16:
        raise fields.wrong("value_range", value_range, "a number above 0, at most 65536")
    smallest, multiple_of = (fields.integer(name, 1, LARGEST_SIDE) for name in ("smallest", "multiple_of"))
    head, tail = fields.strings("head"), fields.strings("tail")
    tiles_exactly, one_by_one = fields.take("tiles_exactly", bool), fields.take("one_by_one", bool)
    fields.end()
    return Facts(
        CUSTOM,
        scale,
        value_range,
        head,
        tail,
        tiles_exactly=tiles_exactly,
        smallest=smallest,
        multiple_of=multiple_of,
        one_by_one=one_by_one,
    )
