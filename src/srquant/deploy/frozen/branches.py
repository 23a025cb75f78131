"""What the branches of a frozen network share: everything but the number of points of their activation grids.

The file holds the bounds of the branch with the most points; the others' upper bounds follow from them, the lattice
and the bits.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace

from torch import Tensor

from srquant.deploy.frozen.layer_spec import Bounds, LayerParts, Parts, put_together
from srquant.insertion.branched_network import BranchedNetwork
from srquant.insertion.settle_on_lattice import settle_grid
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer


def merged(branches: Iterable[Mapping[str, Parts]]) -> dict[str, Parts]:
    """The parts of branches in the order low, middle, high as one: those of the last, and the bits of all."""
    low, middle, high = branches
    return {name: _merged(low[name], middle[name], part) for name, part in high.items()}


def _merged(low: Parts, middle: Parts, high: Parts) -> Parts:
    if not (isinstance(low, LayerParts) and isinstance(middle, LayerParts) and isinstance(high, LayerParts)):
        return high
    bits = (low.bounds.bits, middle.bounds.bits, high.bounds.bits)
    if len(set(bits)) == 1:
        return high
    return replace(high, bounds=replace(high.bounds, bits=middle.bounds.bits, branch_bits=bits))


def of_branch(parts: Parts, branch: int) -> Parts:
    """The parts of branch 0 (low), 1 (middle) or 2 (high)."""
    if not isinstance(parts, LayerParts) or not parts.bounds.branch_bits:
        return parts
    assert parts.lattice is not None
    bits = parts.bounds.branch_bits[branch]
    quantizer = ActivationQuantizer(parts.bounds.lower, parts.bounds.upper, bits)
    settle_grid(quantizer.requires_grad_(False), parts.lattice)
    return replace(parts, bounds=Bounds(quantizer.lower.detach(), quantizer.upper.detach(), bits))


def assemble_branches(network: Network, parts: Mapping[str, Parts], thresholds: Tensor) -> BranchedNetwork:
    """Three copies of ``network`` with the named layers replaced by what each branch's parts make."""
    low, middle, high = (_assemble(copy.deepcopy(network), parts, branch) for branch in range(3))
    return BranchedNetwork((low, middle, high), thresholds)


def _assemble(network: Network, parts: Mapping[str, Parts], branch: int) -> Network:
    for name, part in parts.items():
        network.module.set_submodule(name, put_together(of_branch(part, branch)))
    return network
