"""Network -> the graph that engines convert: our operators for frozen layers, rewritten without changing an integer."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram, export
from torch.utils._pytree import tree_leaves

from srquant.deploy.export import rewrites
from srquant.deploy.export.lower import lowered
from srquant.deploy.frozen_leaves import FROZEN_LEAVES
from srquant.errors import EngineError
from srquant.insertion.branched_network import BranchedNetwork
from srquant.models.graph.quiet import quiet
from srquant.models.graph.trace import graph_of, image_of, takes_one, traced_program
from srquant.models.network import Facts, Network


def export_graph(network: Network, pair_saturation: bool = False) -> fx.GraphModule:
    """Trace a network and bring it into the form that engines run fastest.

    Args:
        network: float or frozen.
        pair_saturation: whether the processor saturates sums of two products at 16 bits (see
            ``pair_saturation.py``); layers that could reach that are given float weights.

    Returns:
        A graph of PyTorch's operators and of ours. It takes and returns what the network does, and every integer in
        it is the same.

    Raises:
        EngineError: the network's forward depends on the picture, so it has no fixed graph.
    """
    if isinstance(network, BranchedNetwork):
        raise EngineError("the picture decides which of three branches runs; export each of 'network.branches'")
    layers = lowered(graph_of(network, FROZEN_LEAVES), pair_saturation)
    with fx.traceback.preserve_node_meta():
        graph = fx.symbolic_trace(_InUnitRange(layers, network.facts))
    image_of(graph.graph).meta = image_of(layers.graph).meta
    rewrites.apply_all(graph)
    graph.recompile()
    return graph


def program_of(graph: fx.GraphModule, facts: Facts) -> ExportedProgram:
    """The program that PyTorch's exporters convert."""
    return traced_program(graph, replace(facts, one_by_one=takes_one(graph.graph)))


def program_of_size(graph: fx.GraphModule, height: int, width: int) -> ExportedProgram:
    """The program that takes one picture of this size."""
    with quiet():
        return export(graph, (torch.zeros(1, 3, height, width),), strict=False)


class _Recorder(fx.Interpreter):
    """Runs a graph on symbols; also calls whose only symbols are sizes in lists, which PyTorch would try to compute."""

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a call, or its symbol."""
        symbols = [value for value in tree_leaves((args, kwargs)) if isinstance(value, fx.Proxy)]
        if symbols:
            return symbols[0].tracer.create_proxy("call_function", target, args, kwargs)
        return super().call_function(target, args, kwargs)


class _InUnitRange(nn.Module):
    """As ``Network``: pictures in [0, 1] for a graph that takes [0, ``value_range``].

    It runs the graph node by node, so that each node keeps the line of code that it comes from.
    """

    def __init__(self, module: fx.GraphModule, facts: Facts) -> None:
        super().__init__()
        self.module, self.value_range = module, facts.value_range

    def forward(self, image: Tensor) -> Tensor:
        run = _Recorder(self.module).run
        if self.value_range == 1.0:
            upscaled: Tensor = run(image)
        else:
            scaled = run(torch.ops.aten.mul.Tensor(image, self.value_range))
            upscaled = torch.ops.aten.div.Tensor(scaled, self.value_range)
        return upscaled
