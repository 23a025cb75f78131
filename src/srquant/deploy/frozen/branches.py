"""The branches of a frozen network: they differ only in the number of points of their activation grids.

The file holds the bounds of branch high, which has the most points; the bounds of the other branches are computed from
them, the lattice and the bits.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from srquant.errors import PolicyError
from srquant.insertion.branched_network import PICTURE_BITS, BranchedNetwork
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.grid_spec import GridSpec, UniformSpec
from srquant.quantizers.module_spec import LayerSpec, ModuleSpec
from srquant.quantizers.stored import Fields, Json, StoredTensors


@dataclass(frozen=True)
class BranchesSpec(GridSpec):
    """The grids of one layer in the three branches; ``bits`` are those of branch middle.

    Attributes:
        lower: first grid point in branch high, float32, 0-d.
        upper: its last grid point, 0-d.
        branch_bits: 2..8 in branch low, middle and high.
    """

    lower: Tensor
    upper: Tensor
    branch_bits: tuple[int, ...]
    kind = "branches"

    def of_branch(self, branch: int, lattice: float) -> UniformSpec:
        """The grid of branch 0 (low), 1 (middle) or 2 (high), settled on the lattice."""
        quantizer = ActivationQuantizer(self.lower, self.upper, self.branch_bits[branch]).requires_grad_(False)
        quantizer.settle(lattice)
        return UniformSpec(quantizer.bits, *quantizer.fixed_bounds())

    def settings(self) -> dict[str, Json]:
        """JSON fields beside ``kind``."""
        return {"bits": self.bits, "branch_bits": list(self.branch_bits)}

    def tensors(self) -> dict[str, Tensor]:
        """``bounds`` (2)."""
        return {"bounds": torch.stack([self.lower, self.upper])}

    def must_be_positive(self) -> dict[str, Tensor]:
        """The step of the middle branch."""
        return UniformSpec(self.bits, self.lower, self.upper).must_be_positive()

    @classmethod
    def read(cls, fields: Fields, tensors: StoredTensors, channels: int | None) -> "BranchesSpec":
        """From a file; ``channels`` of a layer's input."""
        bits = fields.bits("bits")
        branch_bits = fields.integers("branch_bits", 2, 8)
        if channels is None or len(branch_bits) != len(PICTURE_BITS):
            raise fields.wrong("branch_bits", branch_bits, f"bits of {len(PICTURE_BITS)} branches, of a layer")
        return cls(bits, *tensors.bounds(), branch_bits)


def merged(branches: Iterable[Mapping[str, ModuleSpec]]) -> dict[str, ModuleSpec]:
    """One spec per module for the branches low, middle, high: that of branch high, with the bits of all three."""
    low, middle, high = branches
    return {name: _merged(low[name], middle[name], spec) for name, spec in high.items()}


def _merged(low: ModuleSpec, middle: ModuleSpec, high: ModuleSpec) -> ModuleSpec:
    if not (isinstance(low, LayerSpec) and isinstance(middle, LayerSpec) and isinstance(high, LayerSpec)):
        return high
    bits = (low.grid.bits, middle.grid.bits, high.grid.bits)
    if len(set(bits)) == 1 or not isinstance(high.grid, UniformSpec):  # AdaBM changes the bits of uniform grids only
        return high
    return replace(high, grid=BranchesSpec(middle.grid.bits, high.grid.lower, high.grid.upper, bits))


def of_branch(spec: ModuleSpec, branch: int) -> ModuleSpec:
    """The spec in branch 0 (low), 1 (middle) or 2 (high)."""
    if not isinstance(spec, LayerSpec) or not isinstance(spec.grid, BranchesSpec):  # others don't differ by branch
        return spec
    if spec.lattice is None:
        raise PolicyError("bits that depend on the picture need a lattice, but it is None; quantize the network again")
    return replace(spec, grid=spec.grid.of_branch(branch, spec.lattice))


def assemble_branches(
    network: Network,
    specs: Mapping[str, ModuleSpec],
    thresholds: Tensor,
    frozen: Callable[[ModuleSpec], nn.Module],
) -> BranchedNetwork:
    """Three copies of ``network`` with the named modules replaced by the frozen ones of each branch."""
    low, middle, high = (_assemble(copy.deepcopy(network), specs, branch, frozen) for branch in range(3))
    return BranchedNetwork((low, middle, high), thresholds)


def _assemble(
    network: Network, specs: Mapping[str, ModuleSpec], branch: int, frozen: Callable[[ModuleSpec], nn.Module]
) -> Network:
    for name, spec in specs.items():
        network.module.set_submodule(name, frozen(of_branch(spec, branch)))
    return network
