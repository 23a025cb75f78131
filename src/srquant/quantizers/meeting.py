"""Which grids and layers need a common lattice: those whose values meet before anything rounds them.

The values of a layer go through steps that keep them on their lattice (ReLU, pixel shuffle, concatenation, sums) to the
grids that round them. Two layers whose values meet in a sum need one lattice, and so do these grids. A layer behind a
grid starts anew, and so does whatever follows a step that leaves every lattice, such as a sigmoid.
"""

import operator
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from srquant.models.blocks.layers import Add, Matmul, MeanShift
from srquant.models.blocks.window_steps import STEPS
from srquant.models.network import Network, copy_sharing_tensors
from srquant.quantizers.base import InputQuantizer
from srquant.quantizers.layers import QuantAddends, QuantLayer, QuantMatmul, QuantModule, quant_modules

LEAVES = (QuantModule, Add, Matmul, MeanShift, *STEPS)

CURVES = (nn.Sigmoid, nn.SiLU, nn.GELU, nn.Tanh, nn.Softmax, nn.LeakyReLU, nn.PReLU, nn.LayerNorm)
FLOAT_SUMS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, Matmul)
FUNCTIONS = (torch.sigmoid, torch.tanh, torch.softmax, F.silu, F.gelu, F.tanh, F.softmax, F.leaky_relu, F.prelu)
"""Steps after which values are on no lattice."""


@dataclass
class Meeting:
    """What needs a common lattice.

    Attributes:
        quantizers: of activations.
        modules: layers and matrix products, by their results.
    """

    quantizers: list[InputQuantizer] = field(default_factory=list)
    modules: list[QuantLayer | QuantMatmul] = field(default_factory=list)


def meetings(network: Network) -> list[Meeting]:
    """Every quantizer and every layer of a quantized network once; a single group where it can't be traced."""
    modules = quant_modules(network)
    try:
        graph = _Tracer().trace(copy_sharing_tensors(network.module))
    except Exception:  # the network's code runs on symbols, so it can raise any exception
        return [everything(network)]
    groups = _Groups()
    for node in graph.nodes:
        _join(node, network.module, groups)
    found: dict[Hashable, Meeting] = {}
    for module in modules.values():
        for quantizer in module.quantizers().values():
            _add(found.setdefault(groups.first(id(quantizer)), Meeting()).quantizers, quantizer)
        if isinstance(module, QuantLayer | QuantMatmul):
            _add(found.setdefault(groups.first(id(module)), Meeting()).modules, module)
    return list(found.values())


def everything(network: Network) -> Meeting:
    """All quantizers and all layers of a network in one group."""
    result = Meeting()
    for module in quant_modules(network).values():
        for quantizer in module.quantizers().values():
            _add(result.quantizers, quantizer)
        if isinstance(module, QuantLayer | QuantMatmul):
            result.modules.append(module)
    return result


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LEAVES) or super().is_leaf_module(m, module_qualified_name)


class _Groups:
    """Sets of things that have met (union-find)."""

    def __init__(self) -> None:
        self._next: dict[Hashable, Hashable] = {}

    def first(self, thing: Hashable) -> Hashable:
        """What stands for the group of a thing."""
        while thing in self._next:
            thing = self._next[thing]
        return thing

    def join(self, *things: Hashable) -> None:
        """Make one group of those of all things."""
        one, *others = (self.first(thing) for thing in things)
        for other in others:
            if self.first(other) != self.first(one):
                self._next[self.first(other)] = self.first(one)


def _join(node: fx.Node, root: nn.Module, groups: _Groups) -> None:
    module = root.get_submodule(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, QuantModule):
        for source, slot in zip(node.all_input_nodes, _slots(module), strict=False):
            groups.join(source, id(getattr(module, slot)))
        if isinstance(module, QuantLayer | QuantMatmul):
            groups.join(node, id(module))
        else:
            groups.join(node, *(id(quantizer) for quantizer in module.quantizers().values()))
    elif not _leaves_lattice(node, module):
        groups.join(node, *node.all_input_nodes)


def _slots(module: QuantModule) -> Iterator[str]:
    """The attribute with the quantizer that each input meets: those of a sum meet one grid."""
    return iter(module.slots if isinstance(module, QuantLayer | QuantMatmul | QuantAddends) else module.slots * 2)


def _leaves_lattice(node: fx.Node, module: nn.Module | None) -> bool:
    product = node.target in (operator.mul, torch.mul, "mul") and len(node.all_input_nodes) > 1
    return product or isinstance(module, CURVES + FLOAT_SUMS) or node.target in FUNCTIONS


def _add(things: list[Any], thing: Any) -> None:
    if not any(thing is known for known in things):
        things.append(thing)
